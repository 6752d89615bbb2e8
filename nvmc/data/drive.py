"""DRIVE: digital retinal images for vessel extraction, in its own folders.

J. Staal et al., Ridge-based vessel segmentation in color images of the retina, IEEE Transactions
on Medical Imaging 23 (2004).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nvmc.data.dataset import IGNORED
from nvmc.data.pictures import mask, pictures
from nvmc.data.sources import Found, Source, positive
from nvmc.errors import DataError

__all__ = ["read_drive"]

HELD_OUT = ("37", "38", "39", "40")
"""Training images that are kept for validation."""


def read_drive(source: Source) -> Found:
    """Images (N, channels, rows, columns) and maps (N, rows, columns): 1 is a vessel.

    Pixels outside the field of view (the set's own mask) count neither way, nor do those that the
    option `pad=K` adds at the bottom and on the right so that rows and columns are multiples of K.
    """
    part = "test" if source.split == "test" else "training"
    images = sorted((source.folder / part / "images").glob(f"*_{part}.tif"))
    if source.split != "test":
        held_out = source.split == "validation"
        images = [path for path in images if (path.name[:2] in HELD_OUT) == held_out]
    images = images[: source.limit]
    if not images:
        raise DataError(
            f"{source.folder / part / 'images'} has no NUMBER_{part}.tif; unpack DRIVE's own files "
            "(https://drive.grand-challenge.org) there"
        )
    multiple = positive(source, "pad", 1)
    x = pictures(source, images)
    rows, columns = (-(-size // multiple) * multiple for size in x.shape[2:])
    padded = np.zeros((len(x), x.shape[1], rows, columns), np.uint8)
    padded[:, :, : x.shape[2], : x.shape[3]] = x
    y = np.full((len(x), rows, columns), IGNORED, np.int64)
    for label, path in zip(y, images, strict=True):
        vessels = _map(path, "1st_manual", f"{path.name[:2]}_manual1.gif", x.shape[2:])
        seen = _map(path, "mask", f"{path.stem}_mask.gif", x.shape[2:])
        inside = label[: x.shape[2], : x.shape[3]]
        inside[seen] = vessels[seen]
    return Found(padded, y)


def _map(image: Path, folder: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Where a map that belongs to an image is not 0."""
    path = image.parent.parent / folder / name
    if not path.is_file():
        raise DataError(
            f"no file {str(path)!r} for {image.name}; DRIVE's test set has maps in its first "
            "edition only: unpack its own files there"
        )
    found = mask(path) != 0
    if found.shape != shape:
        sizes = ("x".join(map(str, one)) for one in (found.shape, shape))
        raise DataError("{} has {} pixels, its image {}; unpack both again".format(path, *sizes))
    return found
