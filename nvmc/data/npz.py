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
    """Arrays x and y of an .npz file, checked."""
    path = Path(spec)
    names, members = _members(path)
    if "x" not in members:
        found = ", ".join(names) or "no arrays"
        raise DataError(f"{path} holds {found}, expected an array x (and y); save it with savez")
    x = members["x"]
    if x.dtype.kind not in "biuf" or x.ndim < 1:
        raise DataError(
            f"x of {path} is {x.dtype} of rank {x.ndim}, expected numbers with the images along "
            "the first axis; save x as float32"
        )
    y, targets = _known(path, members["y"], len(x)) if "y" in members else (None, None)
    return Dataset(spec, _finite(path, "x", x), y, targets)


def _members(path: Path) -> tuple[list[str], dict[str, NDArray[Any]]]:
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
