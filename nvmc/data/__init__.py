"""Data sets: scikit-learn's digits, sets in their own files, image folders, and .npz files.

A data set is named by a text such as `digits`, `FILE.npz`, `mnist:DIR` or `images:DIR,size=32x32`.
Nothing is drawn at random: a text, a split and a limit always name the same images in the same
order.

A data set of one's own is a reader in a file here and a row of `READERS`. What can be typed is
that table and `FILES`, which every help and message lists.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nvmc.arguments import checked
from nvmc.data.cifar10 import read_cifar10
from nvmc.data.cifar100 import read_cifar100
from nvmc.data.co2 import read_co2
from nvmc.data.coco import read_coco
from nvmc.data.dataset import IGNORED, Dataset, check_labels, check_shape
from nvmc.data.digits import read_digits
from nvmc.data.drive import read_drive
from nvmc.data.files import Split
from nvmc.data.first_rows import first_rows_note
from nvmc.data.folders import is_whole, read_folders
from nvmc.data.gtsrb import read_gtsrb
from nvmc.data.mnist import read_mnist
from nvmc.data.npz import holds_split, read_arrays, read_npz, read_pair
from nvmc.data.penn_fudan import read_penn_fudan
from nvmc.data.samples import Samples, collected, labels_of
from nvmc.data.sources import SCALED, Kind, Source
from nvmc.data.speech_commands import read_speech_commands
from nvmc.errors import DataError, nearest

__all__ = [
    "FILES",
    "FORMS",
    "IGNORED",
    "NAMED",
    "READERS",
    "Data",
    "Dataset",
    "Split",
    "check_labels",
    "check_shape",
    "has_split",
    "load_data",
    "without_folder",
]

Data = str | Path | Dataset | Sequence[Any] | Samples | Iterable[Any]
"""A data set by name, one that is at hand, a pair of arrays (x, y), a sequence of samples (x, y),
or an iterable of batches of them."""

_log = logging.getLogger(__name__)
_OPTION = re.compile("[a-z]+=[^,=]*")
_PIXELS = (*SCALED, "size", "colour")
READERS: dict[str, Kind] = {
    "digits": Kind(read_digits, has_folder=False),
    "mnist": Kind(read_mnist, SCALED),
    "cifar10": Kind(read_cifar10, SCALED),
    "cifar100": Kind(read_cifar100, (*SCALED, "labels")),
    "images": Kind(read_folders, _PIXELS, whole=is_whole),
    "gtsrb": Kind(read_gtsrb, _PIXELS),
    "speech-commands": Kind(read_speech_commands, ("rate",)),
    "drive": Kind(read_drive, (*SCALED, "colour", "pad")),
    "penn-fudan": Kind(read_penn_fudan, _PIXELS),
    "coco": Kind(read_coco, (*_PIXELS, "labels"), whole=lambda _: True),
    "co2": Kind(read_co2, ("window",), has_folder=False),
}
"""What can be named: KIND:DIR of a set in a folder of its own files, or KIND, each with options."""

FILES: dict[str, Callable[[str, Split], Dataset]] = {
    "": read_npz,
    "next:": lambda file, split: read_npz(file, split).with_next_tokens(),
}
"""What stands before the name of an .npz file -> how the file is read."""

FORMS = (
    *(f"{prefix}FILE.npz" for prefix in FILES),
    *(f"{name}:DIR" if kind.has_folder else name for name, kind in READERS.items()),
)
"""Every form of a data set's name."""

NAMED = ", ".join(FORMS)
"""The same, for people."""


@checked
def load_data(spec: Data, split: Split = "test", limit: int | None = None) -> Dataset:
    """Read a data set by name; or take one that is at hand, which has no splits.

    Args:
        spec: A text (docs/data.md): `FILE.npz` with members `x`, or the network's inputs by name,
            and, where they are wanted, `y`: classes or target values, taken as they are; or such
            members for each split, `x_train` and the like; `next:FILE.npz`, such a file without
            `y`, whose labels are the next tokens of `input_ids`; a kind of `READERS`, as
            `KIND:DIR,OPTION=VALUE`. Or one that is at hand, which is every split: a `Dataset`; a
            tuple of two arrays or tensors (x, y), y None where unknown; a mapping of arrays by the
            names of the network's inputs, and y; a sequence of samples (x, y), such as a torch
            `Dataset`; an iterable of batches of them, such as a `DataLoader`, in its order.
        split: Which part.
        limit: At most so many images, the first of the split in the data set's own order, in
            which the classes of all named sets are mixed; None takes all. Where the classes of
            these images are not like those of all, as in a file that is sorted by class, the
            data set's `note` says so.

    Raises:
        DataError: The name is unknown, a file is missing or damaged, or its content is no data.
    """
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}, expected at least 1; leave it out to take all")
    found = _at_hand(spec, limit) or _read(str(spec), split, limit)
    if len(found.x) == 0:
        raise DataError(f"{found.name} holds nothing in split {split}, expected at least one")
    note = found.note or first_rows_note(found.name, found.y, limit)
    found = replace(found.of(slice(limit)), note=note)
    _log.debug("data %s, split %s: %d samples", found.name, split, len(found.x))
    return found


def has_split(spec: Data, split: Split) -> bool:
    """Whether a data set says itself which images are of a split; else it is every split.

    Raises:
        DataError: By name, it is none.
    """
    if not isinstance(spec, str | Path):
        return False
    text = str(spec)
    if (prefix := _prefix_of(text)) is not None:
        return holds_split(text.removeprefix(prefix), split)
    name, source = _named(text, split, None)
    return not READERS[name].whole(source.folder)


def _at_hand(spec: Data, limit: int | None) -> Dataset | None:
    """The data that are given; None of a name."""
    if isinstance(spec, str | Path):
        return None
    if isinstance(spec, Dataset):
        return spec
    if isinstance(spec, Mapping):
        return read_arrays(cast("Mapping[str, Any]", spec))
    listed = cast("Sequence[Any]", spec) if isinstance(spec, list) else ()
    pairs = [isinstance(one, tuple) and len(cast("Sequence[Any]", one)) == 2 for one in listed]
    if isinstance(spec, tuple) or (len(pairs) == 2 and not all(pairs)):
        return read_pair(cast("Sequence[Any]", spec))
    found = read_pair(collected(spec, limit))
    labels = labels_of(spec)
    return replace(found, note=first_rows_note(found.name, labels, limit))


def _read(spec: str, split: Split, limit: int | None) -> Dataset:
    """The data set of a name."""
    if (prefix := _prefix_of(spec)) is not None:
        return FILES[prefix](spec.removeprefix(prefix), split)
    name, source = _named(spec, split, limit)
    found = READERS[name].read(source)
    spec += "".join(f",{k}={v}" for k, v in found.used.items() if k not in source.options)
    x = _scaled(found.x[:limit], source)
    y, note = found.y[:limit], first_rows_note(spec, found.y, limit)
    if y.dtype.kind == "f":
        return Dataset(spec, x, targets=y.astype(np.float32))
    return Dataset(spec, x, y.astype(np.int64), note=note)


def _named(spec: str, split: Split, limit: int | None) -> tuple[str, Source]:
    """The kind of a data set, and where it is, from its text."""
    head, parts = _head_of(spec)
    name, colon, folder = head.partition(":")
    options = dict(part.split("=", 1) for part in parts)
    if name not in READERS or (colon and not READERS[name].has_folder):
        raise DataError(_unknown(spec, name))
    kind = READERS[name]
    if kind.has_folder and (not folder or not Path(folder).is_dir()):
        raise DataError(
            f"no folder {folder!r}; name the one that holds the data set's files: {name}:DIR"
        )
    if len(options) < len(parts):
        raise DataError(f"data set is {spec!r}, which gives an option twice; give it once")
    source = Source(name, Path(folder), split, limit, options)
    kind.check(source)
    return name, source


def without_folder(spec: str) -> str:
    """A set of `READERS` by its kind and options alone: `gtsrb,size=32` of `gtsrb:DIR,size=32`.

    Args:
        spec: As `load_data` takes it. A text that names no such set comes back as it is.
    """
    head, parts = _head_of(spec)
    name = head.partition(":")[0]
    return ",".join([name, *sorted(parts)]) if name in READERS else spec


def _prefix_of(spec: str) -> str | None:
    """What stands before an .npz file's name, a key of `FILES`; None of what names no file.

    Raises:
        DataError: Such a word stands before another thing.
    """
    for prefix in filter(None, FILES):
        if spec.startswith(prefix) and not spec.endswith(".npz"):
            raise DataError(f"data set is {spec!r}; expected {prefix}FILE.npz")
        if spec.startswith(prefix):
            return prefix
    return "" if spec.endswith(".npz") else None


def _head_of(spec: str) -> tuple[str, list[str]]:
    """A set's kind and folder, and its options; a folder's name may hold commas."""
    head, *parts = spec.split(",")
    while parts and not _OPTION.fullmatch(parts[0]):
        head += f",{parts.pop(0)}"
    return head, parts


def _unknown(spec: str, name: str) -> str:
    """That there is no such data set, and which there are."""
    if spec and Path(spec).is_dir():
        return (
            f"data set is {spec!r}, a folder; expected images:{spec} for one folder per class, "
            f"or another of {NAMED}"
        )
    guess = nearest(name, READERS)
    hint = "" if guess is None else f"; did you mean {guess!r}?"
    return f"unknown data set {spec!r}, expected {NAMED}{hint}"


def _scaled(x: NDArray[Any], source: Source) -> NDArray[np.float32]:
    """Pixels from 0 to 1, less the option `mean`, divided by `std`: one number, or a channel's."""
    if x.dtype != np.uint8:
        return x
    scaled = np.divide(x, 255, dtype=np.float32)
    for name in SCALED:
        if name not in source.options:
            continue
        text = source.options[name]
        try:
            numbers = np.array([float(part) for part in text.split("/")], np.float32)
        except ValueError:
            numbers = np.array([], np.float32)
        channels = x.shape[1]
        if len(numbers) not in (1, channels) or not np.isfinite(numbers).all():
            raise DataError(
                f"{name} of {source.kind} is {text!r}; expected a number, or {channels} with "
                "slashes between them, one for each channel"
            )
        if name == "std" and not (numbers > 0).all():
            raise DataError(f"std of {source.kind} is {text!r}; expected numbers above 0")
        values = numbers.reshape(-1, *[1] * (x.ndim - 2))
        scaled = scaled - values if name == "mean" else scaled / values
    return scaled
