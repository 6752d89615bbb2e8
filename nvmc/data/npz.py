"""Arrays of one's own in an .npz file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.data.dataset import Dataset, Floats, Labels
from nvmc.data.files import first_line
from nvmc.errors import DataError

__all__ = ["read_npz"]


def read_npz(spec: str) -> Dataset:
    """Arrays of an .npz file, checked: x or inputs by their names, and y.

    Beside x, arrays that cannot be inputs are passed over: texts, and those of another length.
    """
    path = Path(spec)
    arrays = _members(path)
    y = arrays.pop("y", None)
    alone = "x" in arrays
    given = {name: a for name, a in arrays.items() if not alone or name == "x" or _fits(a, arrays)}
    if not given:
        raise DataError(
            f"{path} holds {'y' if y is not None else 'no arrays'}, expected an array x, or one "
            "for each input by its name (and y); save it with savez"
        )
    inputs = {name: _input(path, name, array) for name, array in given.items()}
    first = next(iter(inputs.values()))
    for name, array in inputs.items():
        if len(array) != len(first):
            raise DataError(
                f"{path} has {len(first)} rows of {next(iter(inputs))!r} but {len(array)} of "
                f"{name!r}; give one row an image"
            )
    classes, targets = (None, None) if y is None else _known(path, y, len(first))
    x = _finite(path, "x", inputs["x"]) if alone else first
    return Dataset(spec, x, classes, targets, {} if alone and len(inputs) == 1 else inputs)


def _fits(array: NDArray[Any], arrays: dict[str, NDArray[Any]]) -> bool:
    """Whether an array beside x may be an input."""
    return array.dtype.kind in "biuf" and array.ndim > 0 and len(array) == len(arrays["x"])


def _input(path: Path, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """The array of an input: whole numbers as they are, real ones as float32."""
    if array.dtype.kind not in "biuf" or array.ndim < 1:
        raise DataError(
            f"{name} of {path} is {array.dtype} of rank {array.ndim}, expected numbers with the "
            f"images along the first axis; save {name} as float32"
        )
    return _finite(path, name, array) if array.dtype.kind == "f" else array


def _members(path: Path) -> dict[str, NDArray[Any]]:
    """An .npz file's arrays in their order, read without pickle.

    Beside x, what pickle alone can read is passed over.
    """
    if not path.is_file():
        raise DataError(f"no file {str(path)!r}; expected an .npz file with arrays x and y")
    damage = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, KeyError, MemoryError)
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as file:
            found: dict[str, NDArray[Any]] = {}
            for name in file.files:
                try:
                    found[name] = file[name]
                except ValueError:
                    if name in ("x", "y") or "x" not in file.files:
                        raise
            return found
    except (*damage, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"{path} cannot be read as .npz ({first_line(error)}); save it again with numpy.savez"
        ) from error


def _known(path: Path, y: NDArray[Any], count: int) -> tuple[Labels | None, Floats | None]:
    """Classes as int64, or values to be met as float32; one entry along the first axis an image."""
    if y.dtype.kind not in "iuf":
        raise DataError(
            f"y of {path} is {y.dtype}, expected class numbers or values; save y as int64 or as "
            "float32, or leave it out to compare with the ideal chip"
        )
    if y.ndim < 1 or len(y) != count:
        found = len(y) if y.ndim else "one"
        raise DataError(f"{path} has {count} images but {found} labels; give one label per image")
    if y.dtype.kind == "f":
        return None, _finite(path, "y", y)
    if y.size and (int(y.min()) < 0 or int(y.max()) > np.iinfo(np.int64).max):
        raise DataError(
            f"y of {path} has label {y.min()}, expected 0 and up; renumber the classes, or save "
            "values to be met as float32"
        )
    return y.astype(np.int64), None


def _finite(path: Path, name: str, array: NDArray[Any]) -> Floats:
    """An array as float32."""
    with np.errstate(over="ignore"):
        floats = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(floats).all():
        raise DataError(
            f"{name} of {path} holds NaN or infinite float32 values; remove those images"
        )
    return floats
