"""Data sets: scikit-learn's digits, the own files of MNIST and CIFAR-10, and .npz files.

A data set is named by a text such as `digits`, `FILE.npz`, `mnist:DIR` or `cifar10:DIR`. Nothing
is drawn at random: a text, a split and a limit always name the same images in the same order.

A data set of one's own is a reader in a file here and a row of `FOLDERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from nvmc.data.cifar10 import read_cifar10
from nvmc.data.dataset import Dataset, check_labels, check_shape
from nvmc.data.digits import read_digits
from nvmc.data.files import SPLITS, Pixels, Split
from nvmc.data.mnist import read_mnist
from nvmc.data.npz import read_npz
from nvmc.errors import DataError

__all__ = ["Dataset", "Split", "check_labels", "check_shape", "load_data"]

FOLDERS: dict[str, Callable[[Path, Split], tuple[Pixels, Pixels]]] = {
    "mnist": read_mnist,
    "cifar10": read_cifar10,
}
"""Data sets in a folder of their own files, named KIND:DIR -> what reads images and labels."""


def load_data(spec: str, split: Split = "test", limit: int | None = None) -> Dataset:
    """Read a data set by name.

    Args:
        spec: `digits`; `FILE.npz` with members `x`, or the network's inputs by name, and, where
            they are wanted, `y`: classes or values to be met (taken as they are, whatever the
            split); `mnist:DIR` (idx files, plain
            or .gz; the last 10,000 of train are `validation`; 1x28x28, / 255); `cifar10:DIR`
            (python or binary batches; the fifth is `validation`; 3x32x32, / 255).
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
        found = Dataset(spec, *read_digits(split))
    elif colon and kind in FOLDERS:
        pixels, labels = FOLDERS[kind](_folder(folder), split)
        x = np.divide(pixels[:limit], 255, dtype=np.float32)
        found = Dataset(spec, x, labels[:limit].astype(np.int64))
    elif spec.endswith(".npz"):
        found = read_npz(spec)
    else:
        folders = " or ".join(f"{name}:DIR" for name in FOLDERS)
        raise DataError(f"unknown data set {spec!r}, expected digits, FILE.npz, {folders}")
    if len(found.x) == 0:
        raise DataError(f"{spec} holds no images in split {split}, expected at least one")
    return found.of(slice(limit))


def _folder(text: str) -> Path:
    """An existing folder."""
    path = Path(text)
    if not text or not path.is_dir():
        raise DataError(f"no folder {text!r}; name the one that holds the data set's files")
    return path
