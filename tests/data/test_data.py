"""Data sets by name, in their own formats, whole and damaged."""

import gzip
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from nvmc.data import Dataset, check_labels, check_shape, digits, load_data
from nvmc.errors import DataError, OptionError

SPLITS = ("train", "validation", "test")


def some(count: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


# digits


def test_digits_has_the_stated_shape_and_range() -> None:
    sizes = {"train": 1087, "validation": 179, "test": 531}
    for split in SPLITS:
        data = load_data("digits", split)
        assert data.y is not None
        assert data.x.shape == (sizes[split], 1, 28, 28) and data.x.dtype == np.float32
        assert data.y.shape == (sizes[split],) and data.y.dtype == np.int64
        assert data.x.min() == 0 and data.x.max() == 1
    assert sum(sizes.values()) == 1797


def test_digits_splits_are_a_stratified_partition() -> None:
    labels = load_digits().target
    for label in range(10):
        count = int(np.count_nonzero(labels == label))
        found = [int(np.count_nonzero(load_data("digits", split).y == label)) for split in SPLITS]
        ranks = np.arange(count) % 10
        assert found == [np.sum(ranks < 6), np.sum(ranks == 6), np.sum(ranks > 6)]
    images = np.concatenate([load_data("digits", split).x for split in SPLITS])
    originals = load_digits().images
    assert len(np.unique(images, axis=0)) == len(np.unique(originals, axis=0))


def test_digits_resampling_equals_a_slow_loop() -> None:
    labels, images = load_digits().target, load_digits().images
    first = next(i for i in range(len(labels)) if np.sum(labels[:i] == labels[i]) % 10 == 7)
    source, slow = images[first] / 16, np.zeros((28, 28))
    for i in range(28):
        for j in range(28):
            row, column = ((c + 0.5) * 8 / 28 - 0.5 for c in (i, j))
            top, left = int(np.floor(row)), int(np.floor(column))
            for a, weight in ((top, 1 - (row - top)), (top + 1, row - top)):
                for b, other in ((left, 1 - (column - left)), (left + 1, column - left)):
                    slow[i, j] += weight * other * source[np.clip(a, 0, 7), np.clip(b, 0, 7)]
    # One rounding to float32 of numbers up to 1 (half a unit, 2^-25), and the loop's float64.
    assert np.abs(load_data("digits", "test").x[0, 0] - slow).max() <= 2**-25 + 1e-12


def test_digits_never_change() -> None:
    digests = {split: load_data("digits", split).sha256 for split in SPLITS}
    assert digests == {
        "train": "927c0286795aeb1ccef121256a2d8a6eb2d2a83b3abdb87b0a64157f79b944a6",
        "validation": "dd8230c5b1b1a91404e2772e0599abee52ea2e016d5db111eadf0a8563149687",
        "test": "49ad37c108282c67982331d8bc9e0d3bd9293e573ab8589ac8d6871a0714bcd2",
    }


def test_digits_that_were_changed_are_read_as_they_were() -> None:
    first = load_data("digits")
    expected = first.sha256
    for array in (first.x, first.y):
        assert array is not None
        array[:] = 0
    assert load_data("digits").sha256 == expected


def test_digits_need_scikit_learn_but_not_the_place_of_its_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = load_data("digits").sha256
    monkeypatch.setattr(digits, "_digits", digits._digits.__wrapped__)  # it keeps what it has read
    monkeypatch.setattr(
        digits, "find_spec", lambda _: SimpleNamespace(submodule_search_locations=[])
    )
    assert load_data("digits").sha256 == expected
    monkeypatch.setattr(digits, "find_spec", lambda _: None)
    with pytest.raises(DataError, match="pip install scikit-learn"):
        load_data("digits")


@pytest.mark.parametrize("split", SPLITS)
def test_limit_takes_the_first_and_mixes_the_classes(split: Any) -> None:
    whole, part = load_data("digits", split), load_data("digits", split, limit=50)
    assert whole.y is not None and part.y is not None
    assert np.array_equal(part.x, whole.x[:50]) and np.array_equal(part.y, whole.y[:50])
    assert len(np.unique(part.y)) == 10
    assert len(load_data("digits", split, limit=10**9).x) == len(whole.x)


def test_importing_the_module_loads_no_sklearn() -> None:
    code = "import sys, nvmc.data; assert not {'sklearn', 'torch', 'scipy'} & set(sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


# names


@pytest.mark.parametrize("spec", ["", "digit", "imagenet:.", "data.npy", "digits:."])
def test_unknown_name_lists_the_choices(spec: str) -> None:
    with pytest.raises(
        DataError, match="unknown data set .* expected FILE.npz, next:FILE.*digits, mnist:DIR"
    ):
        load_data(spec)


def test_a_folder_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a folder; expected images:"):
        load_data(str(tmp_path))


def test_wrong_split_and_limit() -> None:
    with pytest.raises(OptionError, match="split is 'dev'; expected 'train' or 'validation'"):
        load_data("digits", "dev")  # pyright: ignore[reportArgumentType]
    for limit in (0, -5):
        with pytest.raises(DataError, match=f"limit is {limit}, expected at least 1"):
            load_data("digits", limit=limit)


# npz


def test_npz_gives_its_arrays_back(tmp_path: Path) -> None:
    x, y = some(5, (3, 4)), np.array([4, 0, 1, 1, 2], dtype=np.uint8)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", x=x, y=y, other=np.zeros(2))
        data = load_data(str(tmp_path / "a.npz"))
        assert data.y is not None
        assert np.array_equal(data.x, x) and data.x.dtype == np.float32
        assert np.array_equal(data.y, y) and data.y.dtype == np.int64
        assert len(load_data(str(tmp_path / "a.npz"), limit=2).x) == 2


def test_npz_may_lack_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=some(3, (2,)))
    data = load_data(str(tmp_path / "a.npz"))
    assert data.y is None
    with pytest.raises(DataError, match="has no labels; accuracy needs them"):
        check_labels(data, 10)


def test_npz_labels_may_be_maps(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=some(3, (1, 4, 4)), y=np.ones((3, 4, 4), dtype=int))
    data = load_data(str(tmp_path / "a.npz"))
    assert data.y is not None and data.y.shape == (3, 4, 4)


GOOD = np.ones((2, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "holds no arrays, expected an array x"),
        ({"x": np.array(["a", "b"])}, "expected numbers"),
        ({"x": np.ones(2, dtype=complex)}, "expected numbers"),
        ({"x": np.float32(1)}, "of rank 0, expected"),
        ({"x": np.array([1, np.nan])}, "holds NaN or infinite"),
        ({"x": np.array([1, -np.inf])}, "holds NaN or infinite"),
        ({"x": np.array([1e300])}, "holds NaN or infinite float32"),
        ({"x": np.empty((0, 3))}, "holds nothing"),
        ({"x": GOOD, "y": [0, 1, 2]}, "has 2 samples but 3 labels"),
        ({"x": GOOD, "y": 1}, "has 2 samples but one labels"),
        ({"x": GOOD, "y": ["a", "b"]}, "y of .* is <U1, expected class numbers"),
        ({"x": GOOD, "y": [0, -1]}, "has label -1, expected 0 and up"),
        (
            {"x": GOOD, "y": np.array([2**63, 1], dtype=np.uint64)},
            "has label 9223372036854775808, expected",
        ),
        ({"x": np.array([{}, None], dtype=object)}, "cannot be read as .npz"),
    ],
)
def test_npz_that_is_no_data(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        load_data(str(tmp_path / "a.npz"))


def test_npz_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file .*; expected an .npz file with arrays x and y"):
        load_data(str(tmp_path / "a.npz"))
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(DataError, match="no file"):
        load_data(str(tmp_path / "folder.npz"))


def test_npz_that_is_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with path.open("wb") as file:
        np.save(file, GOOD)
    with pytest.raises(DataError, match="cannot be read as .npz"):
        load_data(str(path))
    path.write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(DataError, match="cannot be read as .npz"):
        load_data(str(path))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_truncated_or_garbled_anywhere(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / "a.npz"
    save(path, x=some(4, (5,)), y=np.zeros(4, dtype=int))
    whole, intact = path.read_bytes(), load_data(str(path))
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="cannot be read as .npz"):
            load_data(str(path))
    for place in range(0, len(whole), 5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        try:  # contents carry checksums; only the name of y can change unnoticed
            data = load_data(str(path))
            assert np.array_equal(data.x, intact.x)
            assert data.y is None or np.array_equal(data.y, intact.y)
        except DataError as error:
            assert "\n" not in str(error)


# mnist


def write_idx(path: Path, array: np.ndarray) -> None:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    raw = bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(raw, 1) if path.suffix == ".gz" else raw)


def write_mnist(folder: Path, suffix: str = "", dash: str = "-", train: int = 10_003) -> None:
    for stem, count in (("train", train), ("t10k", 7)):
        labels = np.arange(count) % 10
        images = np.zeros((count, 28, 28), dtype=np.uint8)
        images[:, 0, :2] = np.stack([np.arange(count) % 256, np.arange(count) // 256], 1)
        write_idx(folder / f"{stem}-images{dash}idx3-ubyte{suffix}", images)
        write_idx(folder / f"{stem}-labels{dash}idx1-ubyte{suffix}", labels)


@pytest.mark.parametrize(("suffix", "dash", "place"), [("", "-", "."), (".gz", ".", "MNIST/raw")])
def test_mnist(tmp_path: Path, suffix: str, dash: str, place: str) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    write_mnist(tmp_path / place, suffix, dash)
    starts = {"train": (0, 3), "validation": (3, 10_000), "test": (0, 7)}
    for split, (start, count) in starts.items():
        data = load_data(f"mnist:{tmp_path}", split)  # pyright: ignore[reportArgumentType]
        index = np.arange(start, start + count)
        assert data.x.shape == (count, 1, 28, 28) and data.x.dtype == np.float32
        assert np.array_equal(data.y, index % 10)
        assert np.array_equal(
            data.x[:, 0, 0, 0], (index % 256).astype(np.float32) / np.float32(255)
        )
    assert load_data(f"mnist:{tmp_path}", "validation", limit=4).x.shape == (4, 1, 28, 28)


def test_mnist_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder .*; name the one that holds"):
        load_data(f"mnist:{tmp_path}/nowhere")
    with pytest.raises(DataError, match="no folder ''"):
        load_data("mnist:")
    with pytest.raises(DataError, match="has no t10k-images-idx3-ubyte or"):
        load_data(f"mnist:{tmp_path}")
    write_mnist(tmp_path, train=20)
    with pytest.raises(DataError, match="holds nothing in split train"):
        load_data(f"mnist:{tmp_path}", "train")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist_truncated(tmp_path: Path, suffix: str) -> None:
    write_mnist(tmp_path, suffix, train=1)
    path = tmp_path / f"t10k-images-idx3-ubyte{suffix}"
    whole = path.read_bytes()
    for size in (0, 3, 4, 9, 15, 16, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="download it again"):
            load_data(f"mnist:{tmp_path}")


def test_mnist_of_another_kind(tmp_path: Path) -> None:
    write_mnist(tmp_path, train=1)
    labels = tmp_path / "t10k-labels-idx1-ubyte"
    write_idx(labels, np.zeros(6))
    with pytest.raises(DataError, match="has 7 images but .* has 6 labels"):
        load_data(f"mnist:{tmp_path}")
    write_idx(labels, np.zeros((7, 1)))
    with pytest.raises(DataError, match="starts with 00000802, expected 00000801"):
        load_data(f"mnist:{tmp_path}")


# cifar10


def python2_batch(data: np.ndarray, labels: list[int], module: str) -> bytes:
    """The pickle that Python 2 wrote for a CIFAR-10 batch, in its text protocol's opcodes."""

    def text(raw: bytes) -> bytes:
        return b"T" + len(raw).to_bytes(4, "little") + raw  # BINSTRING

    def number(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)  # BININT

    array = (
        f"c{module}\n_reconstruct\ncnumpy\nndarray\n".encode()
        + (number(0) + b"\x85" + text(b"b") + b"\x87R")
        + (b"(" + number(1) + number(data.shape[0]) + number(data.shape[1]) + b"\x86")
        + (b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R")
        + (b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb")
        + (b"I00\n" + text(data.tobytes()) + b"tb")
    )
    items = text(b"data") + array
    items += text(b"labels") + b"](" + b"".join(map(number, labels)) + b"e"
    items += text(b"batch_label") + text(b"testing batch 1 of 1")
    return b"\x80\x02}(" + items + b"u."


def write_cifar(folder: Path, kind: str) -> dict[str, tuple[np.ndarray, list[int]]]:
    content = {}
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    for place, name in enumerate(names):
        data, labels = some(3 + place, (3072,)), [(place + i) % 10 for i in range(3 + place)]
        content[name] = data, labels
        if kind == "binary":
            records = np.concatenate([np.array(labels, dtype=np.uint8)[:, None], data], axis=1)
            (folder / f"{name}.bin").write_bytes(records.tobytes())
        elif kind == "python3":
            batch = {b"data": data, b"labels": labels, b"filenames": [b"a.png"] * len(labels)}
            (folder / name).write_bytes(pickle.dumps(batch, protocol=4))
        else:
            (folder / name).write_bytes(python2_batch(data, labels, "numpy.core.multiarray"))
    return content


@pytest.mark.parametrize("kind", ["binary", "python2", "python3"])
@pytest.mark.parametrize("nested", [False, True])
def test_cifar10(tmp_path: Path, kind: str, nested: bool) -> None:
    folder = tmp_path
    if nested:
        folder = tmp_path / ("cifar-10-batches-bin" if kind == "binary" else "cifar-10-batches-py")
        folder.mkdir()
    content = write_cifar(folder, kind)
    parts = {
        "train": [f"data_batch_{number}" for number in range(1, 5)],
        "validation": ["data_batch_5"],
        "test": ["test_batch"],
    }
    for split, names in parts.items():
        data = load_data(f"cifar10:{tmp_path}", split)  # pyright: ignore[reportArgumentType]
        pixels = np.concatenate([content[name][0] for name in names]).reshape(-1, 3, 32, 32)
        assert np.array_equal(data.x, pixels.astype(np.float32) / np.float32(255))
        assert np.array_equal(data.y, np.concatenate([content[name][1] for name in names]))


class Harmful:
    """Unpickled the usual way, this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("where", ["whole", "item"])
def test_cifar10_pickles_run_nothing(tmp_path: Path, where: str) -> None:
    harmful = Harmful(tmp_path / "harm")
    batch = harmful if where == "whole" else {b"data": harmful, b"labels": []}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch))
    with pytest.raises(DataError, match="it names .*mkdir, which is not admitted"):
        load_data(f"cifar10:{tmp_path}")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "batch",
    [
        [],
        {},
        {b"data": some(2, (3072,))},
        {b"data": some(2, (3072,)), b"labels": [1]},
        {b"data": some(2, (3072,)), b"labels": [1, "cat"]},
        {b"data": some(2, (3072,)), b"labels": [1, -1]},
        {b"data": some(2, (100,)), b"labels": [1, 1]},
        {b"data": some(2, (3072,)).astype(float), b"labels": [1, 1]},
        {b"data": np.array([{}, {}], dtype=object), b"labels": [1, 1]},
        {b"data": b"abc", b"labels": [1, 1]},
    ],
)
def test_cifar10_pickles_of_something_else(tmp_path: Path, batch: object) -> None:
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch, protocol=4))
    with pytest.raises(DataError, match="CIFAR batch .*download it again"):
        load_data(f"cifar10:{tmp_path}")


@pytest.mark.parametrize("kind", ["binary", "python2", "python3"])
def test_cifar10_truncated(tmp_path: Path, kind: str) -> None:
    write_cifar(tmp_path, kind)
    path = tmp_path / ("test_batch.bin" if kind == "binary" else "test_batch")
    whole = path.read_bytes()
    for size in (0, 1, 2, 10, 100, len(whole) // 2 + 1, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="download it again"):
            load_data(f"cifar10:{tmp_path}")


def test_cifar10_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no test_batch or test_batch.bin"):
        load_data(f"cifar10:{tmp_path}")


# checks


def labelled(*labels: int) -> Dataset:
    y = np.array(labels, dtype=np.int64)
    return Dataset("mine", np.zeros((len(y), 1, 28, 28), dtype=np.float32), y)


def test_labels_in_range_pass() -> None:
    check_labels(labelled(0, 9), 10)


def test_labels_out_of_range() -> None:
    with pytest.raises(DataError, match="mine has label 10, but the model tells 0 to 9 apart"):
        check_labels(labelled(3, 10), 10)
    with pytest.raises(DataError, match="mine has label -2"):
        check_labels(labelled(-2, 10), 10)


@pytest.mark.parametrize("shape", [("N", 1, 28, 28), (1, 1, 28, 28), (None, None, "h", 28)])
def test_shapes_that_fit(shape: tuple[int | str | None, ...]) -> None:
    check_shape(labelled(0), shape)


@pytest.mark.parametrize("shape", [("N", 3, 28, 28), ("N", 784), ("N", 1, 28, 28, 1), ("N",)])
def test_shapes_that_do_not_fit(shape: tuple[int | str | None, ...]) -> None:
    with pytest.raises(DataError, match="mine holds samples of 1 x 28 x 28, but the model takes"):
        check_shape(labelled(0), shape)


def test_digest_tells_contents_apart_not_names() -> None:
    one = labelled(1, 2)
    assert Dataset("other", one.x.copy(), one.y).sha256 == one.sha256
    others = [
        Dataset("mine", one.x + 1, one.y),
        Dataset("mine", one.x, None),
        Dataset("mine", one.x.reshape(2, 784), one.y),
        labelled(2, 1),
    ]
    assert len({data.sha256 for data in [one, *others]}) == 5
