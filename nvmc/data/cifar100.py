"""CIFAR-100's own files, in their python or binary version."""

from __future__ import annotations

import numpy as np

from nvmc.data.cifar10 import binary_records, python_batch
from nvmc.data.files import first_file
from nvmc.data.sources import Found, Source
from nvmc.errors import DataError

__all__ = ["read_cifar100"]

HELD_OUT = 10_000
"""Images at the end of the training set that are kept for validation, as many as CIFAR-10's."""
_LABELS = {"fine": 1, "coarse": 0}


def read_cifar100(source: Source) -> Found:
    """Images (N, 3, 32, 32) and labels (N,): the 100 classes, or `labels=coarse`, the 20."""
    kind = source.options.get("labels", "fine")
    if kind not in _LABELS:
        raise DataError(f"labels of cifar100 is {kind!r}; expected {' or '.join(_LABELS)}")
    stem = "test" if source.split == "test" else "train"
    places = ("", "cifar-100-python", "cifar-100-binary")
    path = first_file(source.folder, places, [stem, f"{stem}.bin"])
    if path.suffix == ".bin":
        labels, images = binary_records(path, 2)
        y = labels[:, _LABELS[kind]]
    else:
        images, y = python_batch(path, f"{kind}_labels".encode())
    part = slice(None)
    if source.split != "test":
        held_out = min(HELD_OUT, len(y) // 5)
        part = slice(-held_out, None) if source.split == "validation" else slice(None, -held_out)
    return Found(np.ascontiguousarray(images[part]).reshape(-1, 3, 32, 32), y[part])
