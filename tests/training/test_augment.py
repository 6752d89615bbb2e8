"""What `--augment` does to images and to maps of labels, against slow loops."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nvmc.data import IGNORED  # noqa: E402
from nvmc.models.augment import Moves  # noqa: E402


def moved(moves: Moves, images: np.ndarray, labels: np.ndarray | None, seed: int = 0):  # noqa: ANN201
    y = None if labels is None else torch.from_numpy(labels)
    generator = torch.Generator().manual_seed(seed)
    x, y = moves(torch.from_numpy(images), generator, y, IGNORED)
    return x.numpy(), None if y is None else y.numpy()


def numbered(count: int = 200, rows: int = 5, columns: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Images whose pixels tell where they were, and the same as labels."""
    places = np.arange(1, rows * columns + 1).reshape(1, 1, rows, columns)
    images = np.broadcast_to(places, (count, 1, rows, columns)).astype(np.float32)
    return np.concatenate([images, 2 * images], axis=1), images[:, 0].astype(np.int64)


def test_crops_and_flips_are_those_of_a_loop() -> None:
    images, labels = numbered()
    x, y = moved(Moves(crop=2, flip=0.5), images, labels)
    assert y is not None
    wide = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    marked = np.pad(labels, ((0, 0), (2, 2), (2, 2)), constant_values=IGNORED)
    seen: set[tuple[int, int, int]] = set()
    for n in range(len(images)):
        fits = [
            (row, column, mirrored)
            for row in range(5)
            for column in range(5)
            for mirrored in (1, -1)
            if np.array_equal(x[n], wide[n, :, row : row + 5, column : column + 7][..., ::mirrored])
            and np.array_equal(y[n], marked[n, row : row + 5, column : column + 7][:, ::mirrored])
        ]
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) > 45  # of 50 possible ones
    mirrored = sum(place[2] == -1 for place in seen)
    assert 15 < mirrored < 35


def test_maps_move_with_their_images() -> None:
    """A class is that of the pixel next to where the bilinear image comes from."""
    images, labels = numbered(50, 9, 9)
    x, y = moved(Moves(turn=30, scale=0.2, shift=2), images, labels)
    assert y is not None and y.dtype == np.int64
    assert set(np.unique(y)) <= {IGNORED, *range(1, 82)}
    assert (y == IGNORED).any()
    inner = (slice(None), slice(3, 6), slice(3, 6))
    both = y[inner] != IGNORED
    # A step to a neighbour changes the number by at most 9 + 1, and half a step each way is moved.
    assert np.abs(x[:, 0][inner] - y[inner])[both].max() <= 5 + 1e-3
    assert not np.array_equal(y, labels)


def test_labels_of_images_stay() -> None:
    images, _ = numbered()
    x, y = moved(Moves(flip=1.0), images, None)
    assert y is None and np.array_equal(x, images[..., ::-1])
    x, _ = moved(Moves(), images, None)
    assert np.array_equal(x, images)


def test_the_same_draws_give_the_same_moves() -> None:
    images, labels = numbered(20)
    moves = Moves(turn=5, crop=1, flip=0.5)
    first, second = moved(moves, images, labels, 3), moved(moves, images, labels, 3)
    assert np.array_equal(first[0], second[0])
    assert not np.array_equal(first[0], moved(moves, images, labels, 4)[0])


@pytest.mark.parametrize(
    ("y", "targets", "refuses"),
    [
        (np.zeros((2, 5, 7), np.int64), None, False),
        (np.zeros(2, np.int64), None, False),
        (np.zeros((2, 4), np.int64), None, False),
        (np.zeros((2, 4, 4), np.int64), None, True),
        (None, np.zeros((2, 1), np.float32), False),
        (None, np.zeros((2, 1, 5, 7), np.float32), True),
    ],
)
def test_maps_that_cannot_move_are_refused(y: object, targets: object, refuses: bool) -> None:
    from nvmc.data import Dataset
    from nvmc.errors import OptionError
    from nvmc.training import Settings
    from nvmc.training.preparation import _check_augment  # type: ignore[reportPrivateUsage]

    class Given:
        train = Dataset("mine", np.zeros((2, 1, 5, 7), np.float32), y, targets)  # type: ignore[arg-type]
        settings = Settings.model_validate({"augment": {"flip": 0.5}})

    if not refuses:
        return _check_augment(Given(), 1)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="moves classes of as many pixels"):
        _check_augment(Given(), 1)  # type: ignore[arg-type]
    return None
