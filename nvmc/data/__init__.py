"""Data sets: scikit-learn's digits, the own files of MNIST and CIFAR-10, and .npz files.

A data set is named by a text such as `digits`, `FILE.npz`, `mnist:DIR` or `cifar10:DIR`. Nothing
is drawn at random: a text, a split and a limit always name the same images in the same order.

A data set of one's own is a reader in a file here and a row of `FOLDERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nvmc.arguments import checked
from nvmc.data.cifar10 import read_cifar10
from nvmc.data.dataset import IGNORED, Dataset, check_labels, check_shape
from nvmc.data.digits import read_digits
from nvmc.data.files import Pixels, Split
from nvmc.data.mnist import read_mnist
from nvmc.data.npz import read_npz, read_pair
from nvmc.errors import DataError

__all__ = [
    "IGNORED",
    "NAMED",
    "Data",
    "Dataset",
    "Split",
    "check_labels",
    "check_shape",
    "load_data",
]

Data = str | Path | Dataset | Sequence[Any]
"""A data set by name, one that is at hand, or a pair of arrays (x, y)."""

FOLDERS: dict[str, Callable[[Path, Split], tuple[Pixels, Pixels]]] = {
    "mnist": read_mnist,
    "cifar10": read_cifar10,
}
"""Data sets in a folder of their own files, named KIND:DIR -> what reads images and labels."""

NAMED = " or ".join(f"{kind}:DIR" for kind in FOLDERS)
"""Their names, for people."""


@checked
def load_data(spec: Data, split: Split = "test", limit: int | None = None) -> Dataset:
    """Read a data set by name; or take one that is at hand, which has no splits.

    Args:
        spec: `digits`; `FILE.npz` with members `x`, or the network's inputs by name, and, where
            they are wanted, `y`: classes or values to be met (taken as they are, whatever the
            split); `next:FILE.npz`, such a file without `y`, whose labels are the next tokens of
            `input_ids`; `mnist:DIR` (idx files, plain
            or .gz; the last 10,000 of train are `validation`; 1x28x28, / 255); `cifar10:DIR`
            (python or binary batches; the fifth is `validation`; 3x32x32, / 255); a `Dataset`; a
            pair of arrays (x, y), as `FILE.npz` holds them.
        split: Which part.
        limit: At most so many images, the first of the split in the data set's own order, in
            which the classes of all named sets are mixed; None takes all.

    Raises:
        DataError: The name is unknown, a file is missing or damaged, or its content is no data.
    """
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}, expected at least 1; leave it out to take every image")
    found = _at_hand(spec) or _read(str(spec), split, limit)
    if len(found.x) == 0:
        raise DataError(f"{found.name} holds no images in split {split}, expected at least one")
    return found.of(slice(limit))


def _at_hand(spec: Data) -> Dataset | None:
    if isinstance(spec, Dataset):
        return spec
    return None if isinstance(spec, str | Path) else read_pair(spec)


def _read(spec: str, split: Split, limit: int | None) -> Dataset:
    """The data set of a name."""
    kind, colon, folder = spec.partition(":")
    if spec == "digits":
        return Dataset(spec, *read_digits(split))
    if colon and kind in FOLDERS:
        pixels, labels = FOLDERS[kind](_folder(folder), split)
        x = np.divide(pixels[:limit], 255, dtype=np.float32)
        return Dataset(spec, x, labels[:limit].astype(np.int64))
    if colon and kind == "next":
        if not folder.endswith(".npz"):
            raise DataError(f"data set is {spec!r}; expected next:FILE.npz, a file with input_ids")
        return read_npz(folder).with_next_tokens()
    if spec.endswith(".npz"):
        return read_npz(spec)
    if spec and Path(spec).is_dir():
        raise DataError(f"data set is {spec!r}, a folder; expected FILE.npz, {NAMED}")
    raise DataError(f"unknown data set {spec!r}, expected digits, FILE.npz, next:FILE.npz, {NAMED}")


def _folder(text: str) -> Path:
    """An existing folder."""
    path = Path(text)
    if not text or not path.is_dir():
        raise DataError(f"no folder {text!r}; name the one that holds the data set's files")
    return path
