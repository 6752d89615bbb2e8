"""CIFAR-10's own batches, in their python or binary version."""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, cast

import numpy as np

from nvmc.data.files import Pixels, content, first_file, first_line
from nvmc.data.sources import Found, Source
from nvmc.errors import DataError

__all__ = ["binary_records", "python_batch", "read_cifar10"]


def read_cifar10(source: Source) -> Found:
    """Images (N, 3, 32, 32) and labels (N,) from the python or the binary batches."""
    numbers = {"train": (1, 2, 3, 4), "validation": (5,), "test": ()}[source.split]
    stems = [f"data_batch_{number}" for number in numbers] or ["test_batch"]
    places = ("", "cifar-10-batches-py", "cifar-10-batches-bin")
    batches = [_batch(first_file(source.folder, places, [stem, f"{stem}.bin"])) for stem in stems]
    x = np.concatenate([images for images, _ in batches]).reshape(-1, 3, 32, 32)
    return Found(x, np.concatenate([labels for _, labels in batches]))


def _batch(path: Path) -> tuple[Pixels, Pixels]:
    """Images (N, 3072) and labels (N,) of one file."""
    if path.suffix != ".bin":
        return python_batch(path, b"labels")
    labels, images = binary_records(path, 1)
    return images, labels[:, 0]


def binary_records(path: Path, labels: int) -> tuple[Pixels, Pixels]:
    """Labels (N, labels) and images (N, 3072) of a file of so many label bytes before the pixels.

    Raises:
        DataError: It is damaged.
    """
    raw, size = content(path), 3072 + labels
    if not raw or len(raw) % size:
        raise DataError(
            f"{path} has {len(raw)} bytes, expected a multiple of {size}; download it again"
        )
    records = np.frombuffer(raw, np.uint8).reshape(-1, size)
    return records[:, :labels], records[:, labels:]


def python_batch(path: Path, key: bytes) -> tuple[Pixels, Pixels]:
    """A pickled dictionary with b"data", (N, 3072) bytes, and N numbers under a key.

    Returns:
        Images (N, 3072) and labels (N,).

    Raises:
        DataError: It is none.
    """
    raw = content(path)
    try:
        _check_memo(raw)
        batch: Any = _BatchUnpickler(io.BytesIO(raw), encoding="bytes").load()
    except Exception as error:  # a damaged pickle may raise anything
        raise DataError(
            f"{path} is no CIFAR batch ({first_line(error)}); download it again"
        ) from error
    found = cast("dict[object, object]", batch) if isinstance(batch, dict) else {}
    data, labels = found.get(b"data"), found.get(key)
    pixels = data.pixels if isinstance(data, _PickledBytes) else None
    numbers = cast("list[object]", labels) if isinstance(labels, list) else []
    known = [n for n in numbers if isinstance(n, int) and 0 <= n < 256]
    if pixels is None or len(known) < len(numbers) or pixels.shape != (len(known), 3072):
        raise DataError(
            f"{path} does not hold data of N x 3072 bytes and N {key.decode()}, as a CIFAR batch "
            "does; download it again"
        )
    return pixels, np.array(known, dtype=np.uint8)


def _check_memo(raw: bytes) -> None:
    """Make sure that no number of a memo is larger than the file: the memo is a table.

    Raises:
        pickle.UnpicklingError: One is, which would take any amount of memory.
        ValueError: The file is no pickle.
    """
    for operation, number, _ in pickletools.genops(raw):
        if operation.name not in ("PUT", "BINPUT", "LONG_BINPUT"):
            continue
        if not (isinstance(number, int) and 0 <= number < len(raw)):
            raise pickle.UnpicklingError(f"entry {number} of its memo")


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
