"""Shift-and-add: what slices, polarities and input bits count for, summed digitally."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["shift_add"]

Real = NDArray[np.floating[Any]]


def shift_add(total: Real, codes: Real, weights: Real) -> None:
    """Add the lanes of one conversion to a running total.

    Args:
        total: Shape (..., cols).
        codes: Lane after lane, shape (..., lanes * cols); overwritten.
        weights: What a code of each lane counts for, shape (lanes,).
    """
    cols = total.shape[-1]
    for lane, weight in enumerate(weights.tolist()):
        part = codes[..., lane * cols : (lane + 1) * cols]
        if weight != 1:
            part *= part.dtype.type(weight)
        total += part
