"""Arrays of one's own in an .npz file."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nvmc.budget import check_room
from nvmc.data.dataset import IGNORED, Dataset, Floats, Labels
from nvmc.data.files import MOST_DEFLATED, Split, first_line
from nvmc.data.stored import OfObjects, stored_array
from nvmc.errors import DataError

__all__ = ["holds_split", "read_arrays", "read_npz", "read_pair"]

T = TypeVar("T")
_ENDINGS: dict[Split, tuple[str, ...]] = {
    "train": ("_train",),
    "validation": ("_validation", "_valid", "_val"),
    "test": ("_test",),
}
"""What the names of a split's arrays end in."""


def read_npz(spec: str, split: Split = "test") -> Dataset:
    """Arrays of an .npz file: x, or inputs by their names, and y.

    What cannot be an input, a text or an array of another length, is passed over. Arrays beside x
    are looked at once a network wants them. Where the file holds splits, `x_train` and the like,
    those of the split are taken, by their names without it.
    """
    return _dataset(spec, _members(Path(spec), split))


def holds_split(spec: str, split: Split) -> bool:
    """Whether an .npz file, which is there, holds arrays of its own for a split."""
    with zipfile.ZipFile(spec) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
    return _holds_splits(names) and any(name.endswith(_ENDINGS[split]) for name in names)


def _holds_splits(names: Iterable[str]) -> bool:
    """Whether names are those of splits: x_train, say, and no x."""
    told = {f"{which}_{end}" for which in "xy" for end in ("train", "test")}
    return bool(told.intersection(names)) and "x" not in names


def _of_split(path: Path, members: dict[str, T], split: Split) -> dict[str, T]:
    """Members of a split, by their names without it; all where the names say no splits.

    Raises:
        DataError: There are splits, but not this one, or not its y.
    """
    if not _holds_splits(members):
        return members
    found = {
        name.removesuffix(end): member
        for name, member in members.items()
        for end in _ENDINGS[split]
        if name.endswith(end)
    }
    if not found:
        raise DataError(
            f"{path} holds {', '.join(members)}, nothing of split {split}; save x_{split} and "
            f"y_{split}, too"
        )
    if "y" not in found and any(name.startswith("y_") for name in members):
        raise DataError(f"{path} holds {', '.join(members)}, but no y_{split}; save it, too")
    return found


def read_pair(pair: Sequence[Any]) -> Dataset:
    """Two arrays of one's own, x and y, as an .npz file holds them; y is None where unknown.

    Raises:
        DataError: They are no such pair.
    """
    if len(pair) != 2:
        raise DataError(f"{len(pair)} arrays are given as data; expected a pair (x, y)")
    return read_arrays(dict(zip("xy", pair, strict=True)))


def read_arrays(given: Mapping[str, Any]) -> Dataset:
    """Arrays of one's own by the names that they would have in an .npz file; None is left out.

    Raises:
        DataError: They are no data.
    """
    named = {str(name): value for name, value in given.items() if value is not None}
    try:
        arrays = {name: np.asarray(_detached(value)) for name, value in named.items()}
    except (TypeError, ValueError, RuntimeError) as error:  # such as lists of different lengths
        raise DataError(
            f"the data are no arrays ({first_line(error)}); give (x, y), or for several inputs a "
            "dict by their names, {'ids': …, 'mask': …, 'y': …}"
        ) from error
    return _dataset("your data", arrays)


def _detached(value: Any) -> Any:
    """A torch tensor without its gradient, on the CPU; anything else as it is."""
    return value.detach().cpu() if hasattr(value, "detach") else value


def _dataset(path: str, arrays: dict[str, NDArray[Any]]) -> Dataset:
    """Arrays by name as a data set; `path` is where they are from."""
    y = arrays.pop("y", None)
    able = {name: a for name, a in arrays.items() if a.dtype.kind in "biuf" and a.ndim > 0}
    if "x" in arrays and "x" not in able:
        raise DataError(
            f"x of {path} is {arrays['x'].dtype} of rank {arrays['x'].ndim}, expected numbers "
            "with the samples along the first axis; save x as float32"
        )
    if not able:
        found = ", ".join([*arrays, *(["y"] if y is not None else [])]) or "no arrays"
        raise DataError(
            f"{path} holds {found}, expected an array x, or one for each input by its name (and "
            "y); save them with savez"
        )
    rows = [len(able["x"])] if "x" in able else [len(a) for a in able.values()]
    count = len(y) if y is not None and y.ndim and len(y) in rows else rows[0]
    classes, targets = (None, None) if y is None else _known(path, y, count)
    inputs = {name: array for name, array in able.items() if len(array) == count}
    x = _floats(path, inputs["x"]) if "x" in inputs else next(iter(inputs.values()))
    alone = list(inputs) == ["x"]
    return Dataset(path, x, classes, targets, {} if alone else inputs)


def _floats(path: str, x: NDArray[Any]) -> Floats:
    """The array of whatever input a network has, as float32."""
    floats = _finite(path, "x", x)
    with np.errstate(invalid="ignore"):  # rounded up, the greatest whole number is none
        differ = x.dtype.kind in "iu" and bool((floats.astype(x.dtype) != x).any())
    if differ:
        raise DataError(
            f"x of {path} holds whole numbers that float32 does not; give the array the name of "
            "the network's input instead of x"
        )
    return floats


def _members(path: Path, split: Split) -> dict[str, NDArray[Any]]:
    """An .npz file's arrays of a split in their order, read without pickle.

    Beside x, what pickle alone can read is passed over, and members that are no arrays are always.
    """
    if not path.is_file():
        raise DataError(f"no file {str(path)!r}; expected an .npz file with arrays x and y")
    damage = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, KeyError)
    found: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {one.filename.removesuffix(".npy"): one for one in archive.infolist()}
            if len(members) < len(archive.infolist()):
                raise ValueError("two of its members have one name")
            members = _of_split(path, members, split)
            check_room(f"the arrays of {path}", sum(one.file_size for one in members.values()))
            for name, member in members.items():
                try:
                    array = _array(archive, member)
                except OfObjects:
                    if name in ("x", "y") or "x" not in members:
                        raise
                    continue
                if array is not None:
                    found[name] = array
    except (*damage, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"{path} cannot be read as .npz ({first_line(error)}); save it again with numpy.savez"
        ) from error
    return found


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any] | None:
    """One array of the file; None for what is none.

    Raises:
        ValueError: It is damaged, or of Python objects.
        OutOfMemoryError: It does not fit into memory.
    """
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is compressed as numpy does not")
    if member.file_size > MOST_DEFLATED * (member.compress_size + 1):
        raise ValueError(f"{member.filename} is too short for the size that is written for it")
    return stored_array(lambda: archive.open(member), member.file_size, member.filename)


def _known(path: str, y: NDArray[Any], count: int) -> tuple[Labels | None, Floats | None]:
    """Classes as int64, or target values as float32; one entry along the first axis an image."""
    if y.dtype.kind not in "iuf":
        raise DataError(
            f"y of {path} is {y.dtype}, expected class numbers or values; save y as int64 or as "
            "float32, or leave it out to compare with the ideal chip"
        )
    if y.ndim < 1 or len(y) != count or (count and not y.size):
        found = len(y) if y.ndim and y.size else "one" if y.size else "no"
        raise DataError(f"{path} has {count} samples but {found} labels; give one label per sample")
    if y.dtype.kind == "f":
        return None, _finite(path, "y", y)
    counted = y if y.dtype.kind == "u" else y[y != IGNORED]
    low, high = (int(end(initial=0)) for end in (counted.min, counted.max))
    if low < 0 or high > np.iinfo(np.int64).max:
        raise DataError(
            f"y of {path} has label {low if low < 0 else high}, expected 0 and up, or {IGNORED} "
            "where a decision does not count; renumber the classes, or save target values as "
            "float32"
        )
    if y.size and not counted.size:
        raise DataError(
            f"all of y of {path} is {IGNORED}, which says that no decision counts; give labels"
        )
    return y.astype(np.int64), None


def _finite(path: str, name: str, array: NDArray[Any]) -> Floats:
    """An array as float32."""
    with np.errstate(over="ignore"):
        floats = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(floats).all():
        raise DataError(
            f"{name} of {path} holds NaN or infinite float32 values; remove those samples"
        )
    return floats
