"""Data sets: scikit-learn's digits, the own files of MNIST and CIFAR-10, and .npz files.

A data set is named by a text such as `digits`, `FILE.npz`, `mnist:DIR` or `cifar10:DIR`. Nothing
is drawn at random: a text, a split and a limit always name the same images in the same order.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import DataError
from nvmc.rng import stream

__all__ = ["Dataset", "Split", "check_labels", "check_shape", "load_data"]

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
CHOICES = "digits, FILE.npz, mnist:DIR or cifar10:DIR"
HELD_OUT = 10_000  # images at the end of MNIST's training set kept for validation

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs and labels of one split.

    Attributes:
        name: The text that named the data set.
        x: Inputs, float32 (N, ...), finite, N >= 1.
        y: Labels, int64 (N,) or (N, ...), none negative; None when the file has none, which
            leaves agreement, not accuracy, to be measured.
    """

    name: str
    x: Floats
    y: Labels | None

    @property
    def sha256(self) -> str:
        """Digest of the content, in hexadecimal: shapes and values of x and y, not the name."""
        digest = hashlib.sha256()
        for array in (self.x, self.y):
            if array is None:
                digest.update(b"none")
                continue
            little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"{little.dtype.str}{little.shape}".encode())
            digest.update(little.data)
        return digest.hexdigest()

    def shuffled(self) -> Dataset:
        """The same images in the order that chips run them: any first ones are a random sample."""
        order = stream(0, 0, "order of images").permutation(len(self.x))
        return replace(self, x=self.x[order], y=None if self.y is None else self.y[order])


def load_data(spec: str, split: Split = "test", limit: int | None = None) -> Dataset:
    """Read a data set by name.

    Args:
        spec: `digits`; `FILE.npz` with members `x` and, where accuracy is wanted, `y` (taken as
            they are, whatever the split); `mnist:DIR` (idx files, plain or .gz; the last 10,000
            of train are `validation`; 1x28x28, / 255); `cifar10:DIR` (python or binary batches;
            the fifth is `validation`; 3x32x32, / 255).
        split: Which part.
        limit: At most so many images, the first of the split in the data set's own order, in
            which the classes of all named sets are mixed; None takes all.

    Raises:
        DataError: The name is unknown, a file is missing or damaged, or its content is no data.
    """
    if split not in SPLITS:
        raise DataError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}, expected at least 1; leave it out to take every image")
    kind, colon, folder = spec.partition(":")
    if spec == "digits":
        x, y = _digits(split)
    elif colon and kind == "mnist":
        x, y = _scaled(*_mnist(_folder(folder), split), limit)
    elif colon and kind == "cifar10":
        x, y = _scaled(*_cifar10(_folder(folder), split), limit)
    elif spec.endswith(".npz"):
        x, y = _npz(Path(spec))
    else:
        raise DataError(f"unknown data set {spec!r}, expected {CHOICES}")
    if len(x) == 0:
        raise DataError(f"{spec} holds no images in split {split}, expected at least one")
    return Dataset(spec, x[:limit], None if y is None else y[:limit])


def check_labels(dataset: Dataset, classes: int) -> None:
    """Make sure that every label names one of the model's classes.

    Raises:
        DataError: There are no labels, or one is not in 0 ... classes - 1.
    """
    if dataset.y is None:
        raise DataError(f"{dataset.name} has no labels; accuracy needs them: add an array y")
    low, high = int(dataset.y.min()), int(dataset.y.max())
    if low < 0 or high >= classes:
        raise DataError(
            f"{dataset.name} has label {low if low < 0 else high}, but the model tells 0 to "
            f"{classes - 1} apart; give it data of its own {classes} classes"
        )


def check_shape(dataset: Dataset, input_shape: Sequence[int | str | None]) -> None:
    """Make sure that the inputs fit the model's input, batch aside.

    Args:
        dataset: The data.
        input_shape: The model input's shape with its batch dimension first; a name or None fits
            any size. The batch dimension is not compared.

    Raises:
        DataError: The rank or a fixed size differs.
    """
    wanted, found = tuple(input_shape[1:]), dataset.x.shape[1:]
    fits = len(wanted) == len(found) and all(
        not isinstance(want, int) or want == size for want, size in zip(wanted, found, strict=True)
    )
    if not fits:
        want = " x ".join(str(size) if isinstance(size, int) else "any" for size in wanted)
        have = " x ".join(map(str, found))
        raise DataError(
            f"{dataset.name} holds images of {have or 'a single number'}, but the model takes "
            f"{want or 'a single number'}; transpose or resize the data, or name another set"
        )


def _digits(split: Split) -> tuple[Floats, Labels]:
    """scikit-learn's 1,797 real handwritten digits, resampled to 1x28x28.

    The r-th image of its class, in the set's order, is test when r % 10 is 7 to 9, validation
    when it is 6 and train otherwise.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(
            "digits comes with scikit-learn, which is not installed; pip install scikit-learn"
        ) from error
    load: Any = load_digits
    bunch = load()
    images, y = np.asarray(bunch.images), np.asarray(bunch.target, dtype=np.int64)
    rank = np.empty(len(y), dtype=np.int64)
    for label in np.unique(y):
        rank[y == label] = np.arange(np.count_nonzero(y == label))
    part = np.array([SPLITS[0]] * 6 + [SPLITS[1]] + [SPLITS[2]] * 3)[rank % 10]
    chosen = part == split
    return _resample(images[chosen].astype(np.int64)), y[chosen]


def _resample(images: NDArray[np.int64]) -> Floats:
    """Bilinear 8x8 -> 28x28 with pixel centres aligned and edges repeated; values 0..16 -> 0..1.

    Output pixel i has its centre at (4 i - 5) / 14 input pixels, so every weight is a multiple
    of 1 / 14: the sums are exact integers, rounded once, and equal on every machine.
    """
    weights = np.zeros((28, 8), dtype=np.int64)
    for i in range(28):
        below, part = divmod(4 * i - 5, 14)
        weights[i, np.clip(below, 0, 7)] += 14 - part
        weights[i, np.clip(below + 1, 0, 7)] += part
    sums = weights @ images @ weights.T
    return (sums / (14 * 14 * 16)).astype(np.float32)[:, None]


def _npz(path: Path) -> tuple[Floats, Labels | None]:
    """Arrays x and y of an .npz file, checked."""
    names, members = _npz_members(path)
    if "x" not in members:
        found = ", ".join(names) or "no arrays"
        raise DataError(f"{path} holds {found}, expected an array x (and y); save it with savez")
    x = members["x"]
    if x.dtype.kind not in "biuf" or x.ndim < 1:
        raise DataError(
            f"x of {path} is {x.dtype} of rank {x.ndim}, expected numbers with the images along "
            "the first axis; save x as float32"
        )
    with np.errstate(over="ignore"):
        floats = np.ascontiguousarray(x, dtype=np.float32)
    if not np.isfinite(floats).all():
        raise DataError(f"x of {path} holds NaN or infinite float32 values; remove those images")
    return floats, _npz_labels(path, members["y"], len(x)) if "y" in members else None


def _npz_members(path: Path) -> tuple[list[str], dict[str, NDArray[Any]]]:
    """Names of an .npz file's arrays, and its x and y, read without pickle."""
    if not path.is_file():
        raise DataError(f"no file {str(path)!r}; expected an .npz file with arrays x and y")
    damage = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, KeyError, MemoryError)
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as file:
            names = sorted(file.files)
            return names, {name: file[name] for name in ("x", "y") if name in names}
    except (*damage, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"{path} cannot be read as .npz ({_line(error)}); save it again with numpy.savez"
        ) from error


def _npz_labels(path: Path, y: NDArray[Any], count: int) -> Labels:
    """Labels as int64, one entry along the first axis per image."""
    if y.dtype.kind not in "iu":
        raise DataError(
            f"y of {path} is {y.dtype}, expected class numbers; save y as int64, or leave it out "
            "to compare with the ideal chip"
        )
    if y.ndim < 1 or len(y) != count:
        found = len(y) if y.ndim else "one"
        raise DataError(f"{path} has {count} images but {found} labels; give one label per image")
    if y.size and (int(y.min()) < 0 or int(y.max()) > np.iinfo(np.int64).max):
        raise DataError(f"y of {path} has label {y.min()}, expected 0 and up; renumber the classes")
    return y.astype(np.int64)


def _mnist(folder: Path, split: Split) -> tuple[Pixels, Pixels]:
    """Images (N, 1, rows, columns) and labels (N,) from the data set's four idx files."""
    stem = "t10k" if split == "test" else "train"
    images_path = _first(folder, ("", "raw", "MNIST/raw"), _idx_names(stem, "images", 3))
    labels_path = _first(folder, ("", "raw", "MNIST/raw"), _idx_names(stem, "labels", 1))
    images, labels = _idx(images_path, 3), _idx(labels_path, 1)
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} has {len(images)} images but {labels_path} has {len(labels)} labels; "
            "download both again"
        )
    if split == "test":
        part = slice(None)
    else:
        part = slice(-HELD_OUT, None) if split == "validation" else slice(None, -HELD_OUT)
    return images[part, None], labels[part]


def _idx_names(stem: str, what: str, rank: int) -> list[str]:
    """The names under which an idx file is published, plain and compressed."""
    plain = [f"{stem}-{what}{dot}idx{rank}-ubyte" for dot in "-."]
    return plain + [f"{name}.gz" for name in plain]


def _idx(path: Path, rank: int) -> Pixels:
    """An idx file of unsigned bytes (Y. LeCun's format: magic 0x08, rank, big-endian sizes)."""
    raw = _bytes(path)
    magic = bytes((0, 0, 8, rank))
    if raw[:4] != magic:
        raise DataError(
            f"{path} starts with {raw[:4].hex() or 'nothing'}, expected {magic.hex()} of an idx "
            f"file of {rank} dimensions; download it again"
        )
    start = 4 + 4 * rank
    sizes = [int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4)]
    wanted = int(np.prod(sizes, dtype=object))
    if len(raw) - start != wanted:
        raise DataError(
            f"{path} holds {max(len(raw) - start, 0)} values, but its header says {wanted}; "
            "it is damaged: download it again"
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(sizes)


def _cifar10(folder: Path, split: Split) -> tuple[Pixels, Pixels]:
    """Images (N, 3, 32, 32) and labels (N,) from the python or the binary batches."""
    numbers = {"train": (1, 2, 3, 4), "validation": (5,), "test": ()}[split]
    stems = [f"data_batch_{number}" for number in numbers] or ["test_batch"]
    places = ("", "cifar-10-batches-py", "cifar-10-batches-bin")
    batches = [
        _cifar_binary(path) if path.suffix == ".bin" else _cifar_python(path)
        for path in (_first(folder, places, [stem, f"{stem}.bin"]) for stem in stems)
    ]
    x = np.concatenate([images for images, _ in batches]).reshape(-1, 3, 32, 32)
    return x, np.concatenate([labels for _, labels in batches])


def _cifar_binary(path: Path) -> tuple[Pixels, Pixels]:
    """Records of one label byte and 3,072 pixel bytes."""
    raw = _bytes(path)
    if not raw or len(raw) % 3073:
        raise DataError(
            f"{path} has {len(raw)} bytes, expected a multiple of 3073; download it again"
        )
    records = np.frombuffer(raw, np.uint8).reshape(-1, 3073)
    return records[:, 1:], records[:, 0]


def _cifar_python(path: Path) -> tuple[Pixels, Pixels]:
    """A pickled dictionary with b"data", (N, 3072) bytes, and b"labels", N numbers."""
    file = io.BytesIO(_bytes(path))
    try:
        batch: Any = _BatchUnpickler(file, encoding="bytes").load()
    except Exception as error:  # a damaged pickle may raise anything
        raise DataError(
            f"{path} is no CIFAR-10 batch ({_line(error)}); download it again"
        ) from error
    found = cast("dict[object, object]", batch) if isinstance(batch, dict) else {}
    data, labels = found.get(b"data"), found.get(b"labels")
    pixels = data.pixels if isinstance(data, _PickledBytes) else None
    numbers = cast("list[object]", labels) if isinstance(labels, list) else []
    known = [n for n in numbers if isinstance(n, int) and 0 <= n < 256]
    if pixels is None or len(known) < len(numbers) or pixels.shape != (len(known), 3072):
        raise DataError(
            f"{path} does not hold data of N x 3072 bytes and N labels, as a CIFAR-10 batch does; "
            "download it again"
        )
    return pixels, np.array(known, dtype=np.uint8)


class _PickledType:
    """Stands for numpy.dtype in a pickle; admits unsigned bytes only."""

    def __init__(self, name: Any, *_: Any) -> None:
        if name not in (b"u1", "u1"):
            raise pickle.UnpicklingError(f"array of type {name!r}, expected u1")

    def __setstate__(self, state: Any) -> None:
        """Byte order, alignment and the like do not matter to bytes."""


class _PickledBytes:
    """Stands for a numpy array in a pickle; holds its bytes without running numpy's own code."""

    pixels: Pixels | None = None

    def __init__(self, *_: Any) -> None:
        """Type, shape and kind are placeholders; the content comes with the state."""

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, raw = state
        if not isinstance(kind, _PickledType):
            raise pickle.UnpicklingError("array without a type")
        order = "F" if fortran else "C"
        self.pixels = np.frombuffer(raw, np.uint8).reshape(shape, order=order)


class _BatchUnpickler(pickle.Unpickler):
    """Admits builtin containers and arrays of bytes; every other name is refused, never run."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name of numpy's array pickles.

        Raises:
            pickle.UnpicklingError: Any other name.
        """
        if (module, name) == ("numpy", "dtype"):
            return _PickledType
        arrays = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
        if module in arrays and name in ("_reconstruct", "ndarray"):
            return _PickledBytes
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is not admitted")


def _scaled(x: Pixels, y: Pixels, limit: int | None) -> tuple[Floats, Labels]:
    """The first images as float32 in [0, 1], with their labels."""
    return np.divide(x[:limit], 255, dtype=np.float32), y[:limit].astype(np.int64)


def _folder(text: str) -> Path:
    """An existing folder."""
    path = Path(text)
    if not text or not path.is_dir():
        raise DataError(f"no folder {text!r}; name the one that holds the data set's files")
    return path


def _first(folder: Path, places: Sequence[str], names: Sequence[str]) -> Path:
    """The first of the named files in the folder or its usual subfolders."""
    for path in (folder / place / name for place in places for name in names):
        if path.is_file():
            return path
    raise DataError(f"{folder} has no {' or '.join(names)}; download the data set's own files")


def _bytes(path: Path) -> bytes:
    """The content of a file, decompressed when its name ends in .gz."""
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({_line(error)}); download it again") from error


def _line(error: BaseException) -> str:
    """An error's first line, or its kind."""
    return str(error).partition("\n")[0] or type(error).__name__
