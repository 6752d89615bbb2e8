"""Masks as COCO's JSON writes them: polygons, or run lengths down the columns.

T.-Y. Lin et al., Microsoft COCO: common objects in context, ECCV (2014); the format of run lengths
is that of cocodataset.org's API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nvmc.budget import check_room

__all__ = ["BITS", "mask_of"]

BITS = 24
"""Pixels of a mask that a float32 holds exactly, as a whole number below 2^24."""

Flags = NDArray[np.bool_]


def mask_of(said: Any, shape: tuple[int, int], scale: tuple[float, float]) -> Flags:
    """The pixels of an object, shape `shape` (rows, columns).

    A pixel is in a polygon where its centre is, by the even-odd rule (pycocotools rounds corners to
    a fifth of a pixel first, so pixels on the edge may differ). Run lengths of an image of another
    size are read at the nearest pixel.

    Args:
        said: `segmentation`: polygons as lists of x, y, x, y, …; or `size` and `counts`, a list or
            a text.
        shape: Of the image here.
        scale: Pixels here per pixel of the JSON, along x and y.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(said, Mapping):
        return _resized(_of_runs(cast("Mapping[str, Any]", said)), shape)
    mask = np.zeros(shape, np.bool_)
    for polygon in cast("Sequence[Sequence[float]]", said):
        corners = np.asarray(polygon, np.float64).reshape(-1, 2) * scale
        if len(corners) < 3 or not np.isfinite(corners).all():
            raise ValueError("a polygon has fewer than three corners")
        mask |= _inside(corners, shape)
    return mask


def _inside(corners: NDArray[np.float64], shape: tuple[int, int]) -> Flags:
    """Pixels whose centre lies inside a polygon."""
    x0, y0 = corners.T
    x1, y1 = np.roll(corners, -1, axis=0).T
    mask, centres = np.zeros(shape, np.bool_), np.arange(shape[1]) + 0.5
    for row in range(shape[0]):
        y = row + 0.5
        crossed = (y0 <= y) != (y1 <= y)
        left, right, low, high = x0[crossed], x1[crossed], y0[crossed], y1[crossed]
        places = np.sort(left + (y - low) / (high - low) * (right - left))
        mask[row] = np.searchsorted(places, centres, side="right") % 2 == 1
    return mask


def _of_runs(said: Mapping[str, Any]) -> Flags:
    """The mask of run lengths: of zeros first, then of ones, and so on, column after column."""
    rows, columns = (int(size) for size in said["size"])
    counts: Any = said["counts"]
    runs = _numbers(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if rows < 1 or columns < 1 or any(run < 0 for run in runs) or sum(runs) != rows * columns:
        raise ValueError("counts of a segmentation do not add up to its size")
    check_room("a mask", rows * columns)
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(columns, rows).T


def _numbers(text: str) -> list[int]:
    """Run lengths of COCO's text: six bits a character, from the fourth on as differences."""
    found, at = list[int](), 0
    while at < len(text):
        value, shift, more = 0, 0, True
        while more:
            if at == len(text):
                raise ValueError("counts of a segmentation end within a number")
            digit = ord(text[at]) - 48
            if not 0 <= digit < 64:
                raise ValueError("counts of a segmentation hold a strange character")
            value |= (digit & 31) << shift
            shift, more, at = shift + 5, bool(digit & 32), at + 1
            if not more and digit & 16:
                value -= 1 << shift
        found.append(value + found[-2] if len(found) > 2 else value)
    return found


def _resized(mask: Flags, shape: tuple[int, int]) -> Flags:
    """The mask at the nearest pixels of another size."""
    if mask.shape == shape:
        return mask
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64)
        for new, old in zip(shape, mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)]
