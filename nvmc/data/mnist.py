"""MNIST's own files, or those of a set in the same format."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from nvmc.data.files import Pixels, content, first_file
from nvmc.data.sources import Found, Source
from nvmc.errors import DataError

__all__ = ["read_mnist"]

HELD_OUT = 10_000
"""Images at the end of the training set that are kept for validation."""


def read_mnist(source: Source) -> Found:
    """Images (N, 1, rows, columns) and labels (N,) from the data set's four idx files."""
    folder, split = source.folder, source.split
    stem = "t10k" if split == "test" else "train"
    images_path = first_file(folder, ("", "raw", "MNIST/raw"), _idx_names(stem, "images", 3))
    labels_path = first_file(folder, ("", "raw", "MNIST/raw"), _idx_names(stem, "labels", 1))
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
    return Found(images[part, None], labels[part])


def _idx_names(stem: str, what: str, rank: int) -> list[str]:
    """The names under which an idx file is published, plain and compressed."""
    plain = [f"{stem}-{what}{dot}idx{rank}-ubyte" for dot in "-."]
    return plain + [f"{name}.gz" for name in plain]


def _idx(path: Path, rank: int) -> Pixels:
    """An idx file of unsigned bytes (Y. LeCun's format: magic 0x08, rank, big-endian sizes)."""
    start = 4 + 4 * rank
    raw = content(path, start)
    magic = bytes((0, 0, 8, rank))
    if raw[:4] != magic:
        raise DataError(
            f"{path} starts with {raw[:4].hex() or 'nothing'}, expected {magic.hex()} of an idx "
            f"file of {rank} dimensions; download it again"
        )
    sizes = [int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4)]
    wanted = math.prod(sizes)
    raw = content(path, start + wanted + 1)
    found = len(raw) - start
    if found != wanted:
        told = "more" if found > wanted else max(found, 0)
        raise DataError(
            f"{path} holds {told} values, but its header says {wanted}; it is damaged: download it "
            "again"
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(sizes)
