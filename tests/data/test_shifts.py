"""Images moved away from the data."""

from __future__ import annotations

import numpy as np
import pytest

from nvmc.data import IGNORED
from nvmc.data.shifts import Shift, shifted, shifted_labels, shifts_for
from nvmc.errors import DataError, OptionError

IMAGES = np.random.default_rng(0).random((3, 2, 9, 9), dtype=np.float32)


def test_the_papers_rotations_and_growing_noise() -> None:
    found = shifts_for(IMAGES)
    assert found[0] == Shift("none", 0.0)
    angles = [shift.strength for shift in found if shift.kind == "rotation"]
    assert angles == [7.0 * i for i in range(1, 13)]
    strengths = [shift.strength for shift in found if shift.kind == "noise"]
    assert strengths == sorted(strengths) and strengths[-1] == 1.0
    assert [s.kind for s in shifts_for(IMAGES[:, 0, 0])] == ["none"] + ["noise"] * 10
    assert {s.kind for s in shifts_for(IMAGES, ["rotation"])} == {"none", "rotation"}


def test_a_quarter_turn_goes_counterclockwise() -> None:
    turned = shifted(IMAGES, Shift("rotation", 90.0))
    # the grid falls on itself, up to cos(90 degrees) = 6e-17 in the interpolation
    np.testing.assert_allclose(turned, np.rot90(IMAGES, axes=(2, 3)), atol=1e-6)


def test_turns_are_bilinear_and_bring_in_the_smallest_value() -> None:
    """Against the definition, pixel by pixel."""
    images = IMAGES[:1, :1] + 5
    angle = 21.0
    turned, c = shifted(images, Shift("rotation", angle))[0, 0], 4.0
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    source, low = images[0, 0].astype(float), float(images.min())
    for row in range(9):
        for column in range(9):
            y = cos * (row - c) + sin * (column - c) + c
            x = -sin * (row - c) + cos * (column - c) + c
            if not (0 <= x <= 8 and 0 <= y <= 8):
                assert turned[row, column] == np.float32(low)
                continue
            i, j = min(int(y), 7), min(int(x), 7)
            v, u = y - i, x - j
            expected = (1 - v) * ((1 - u) * source[i, j] + u * source[i, j + 1])
            expected += v * ((1 - u) * source[i + 1, j] + u * source[i + 1, j + 1])
            assert abs(turned[row, column] - expected) < 1e-5


def test_noise_is_uniform_and_grows_in_proportion() -> None:
    images = np.random.default_rng(1).random((400, 1, 8, 8), dtype=np.float32)
    span = float(images.max() - images.min())
    half = (shifted(images, Shift("noise", 0.5)) - images) / span
    whole = (shifted(images, Shift("noise", 1.0)) - images) / span
    np.testing.assert_allclose(whole, 2 * half, atol=1e-6)
    # Kolmogorov-Smirnov against U(-0.5, 0.5): 1.95 / sqrt(n) is exceeded once in a thousand.
    ordered, n = np.sort(half.ravel()), half.size
    assert np.max(np.abs(ordered + 0.5 - (np.arange(n) + 0.5) / n)) < 1.95 / np.sqrt(n)
    assert not np.array_equal(shifted(images, Shift("noise", 0.5), seed=1), half)


def test_an_image_has_its_own_noise() -> None:
    """The first images of more have the same noise, where the range is the same."""
    images = np.concatenate([np.zeros((2, 4)), np.ones((2, 4)), np.full((3, 4), 0.5)])
    images = images.astype(np.float32)
    few = shifted(images[:4], Shift("noise", 0.3))
    assert np.array_equal(few, shifted(images, Shift("noise", 0.3))[:4])


def test_what_cannot_be_shifted() -> None:
    with pytest.raises(DataError, match="cannot be turned"):
        shifts_for(IMAGES[:, 0], ["rotation"])
    with pytest.raises(OptionError, match="blur"):
        shifts_for(IMAGES, ["blur"])
    assert shifted(IMAGES, Shift("noise", 0.0)) is IMAGES


@pytest.mark.parametrize("shape", [(6, 9), (6, 1, 9), (1, 12, 18)])
def test_label_maps_turn_with_their_images(shape: tuple[int, ...]) -> None:
    """To the nearest pixel; what was outside counts for nothing, and half a turn brings none in."""
    images = np.zeros((2, 1, 6, 9), np.float32)
    labels = np.random.default_rng(1).integers(1, 5, (2, *shape))
    turned = shifted_labels(labels, Shift("rotation", 180.0))
    flat = labels.reshape(2, *(size for size in shape if size != 1))
    assert np.array_equal(turned.reshape(flat.shape), flat[:, ::-1, ::-1])
    tilted = shifted_labels(labels, Shift("rotation", 21.0))
    assert tilted.shape == labels.shape and set(np.unique(tilted)) <= {IGNORED, 1, 2, 3, 4}
    assert (tilted == IGNORED).any()
    assert {shift.kind for shift in shifts_for(images, y=labels)} == {"none", "rotation", "noise"}
    assert shifted_labels(labels, Shift("noise", 0.5)) is labels


def test_a_turned_map_is_the_turned_image_of_it() -> None:
    """Where an image says its labels by steps of one, both turn alike but at the steps."""
    bars = np.zeros((1, 32, 32), np.int64)
    bars[0, 10:15] = 1
    shift = Shift("rotation", 84.0)
    turned, picture = shifted_labels(bars, shift), shifted(bars[:, None].astype(np.float32), shift)
    counted = turned != IGNORED
    assert np.array_equal(turned[counted] == 1, picture[:, 0][counted] > 0.5)


@pytest.mark.parametrize("shape", [(4,), (9, 6), (2, 3, 4)])
def test_other_labels_cannot_be_turned(shape: tuple[int, ...]) -> None:
    images, labels = np.zeros((2, 1, 6, 9), np.float32), np.ones((2, *shape), np.int64)
    with pytest.raises(DataError, match="labels of shape .* per image cannot be turned"):
        shifts_for(images, ["rotation"], labels)
    assert {shift.kind for shift in shifts_for(images, None, labels)} == {"none", "noise"}
