"""Penn-Fudan pedestrians: images with a mask each, whose numbers are persons.

L. Wang et al., Object detection combining recognition and segmentation, ACCV (2007).
"""

from __future__ import annotations

import numpy as np

from nvmc.data.pictures import mask, pictures
from nvmc.data.sources import Found, Source, by_thing
from nvmc.errors import DataError

__all__ = ["read_penn_fudan"]


def read_penn_fudan(source: Source) -> Found:
    """Images (N, channels, rows, columns) and maps (N, rows, columns): 1 is a pedestrian.

    The set has no splits; see `nvmc.data.sources.by_thing`. Images differ in size, so `size` is
    needed; a map's pixel is the nearest of its mask.
    """
    root = source.folder
    root = root / "PennFudanPed" if (root / "PennFudanPed").is_dir() else root
    images = sorted((root / "PNGImages").glob("*.png"))
    if not images:
        raise DataError(
            f"{root} has no PNGImages/*.png; unpack PennFudanPed.zip "
            "(https://www.cis.upenn.edu/~jshi/ped_html) there"
        )
    images = [images[index] for index in by_thing(len(images), source.split)[: source.limit]]
    x = pictures(source, images)
    y = np.zeros((len(x), *x.shape[2:]), np.int64)
    for index, path in enumerate(images):
        beside = root / "PedMasks" / f"{path.stem}_mask.png"
        if not beside.is_file():
            raise DataError(f"no file {str(beside)!r} for {path.name}; unpack the set again")
        persons = mask(beside)
        rows, columns = (
            (2 * np.arange(new) + 1) * old // (2 * new)
            for new, old in zip(y.shape[1:], persons.shape, strict=True)
        )
        y[index] = persons[rows[:, None], columns] != 0
    return Found(x, y)
