"""Shift-and-add: what slices, polarities and input bits count for, summed digitally."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["shift_add"]

Real = NDArray[np.floating[Any]]


def shift_add(codes: Real, coefficients: Real) -> Real:
    """The lanes of one conversion added up, in place.

    Args:
        codes: Lane after lane, shape (..., lanes * cols); overwritten.
        coefficients: What a code of each lane counts for, shape (lanes,); the first is positive.

    Returns:
        The sum over lanes, shape (..., cols), a part of `codes`.
    """
    cols = codes.shape[-1] // len(coefficients)
    total = codes[..., :cols]
    for lane, coefficient in enumerate(coefficients.tolist()):
        part = codes[..., lane * cols : (lane + 1) * cols]
        if coefficient not in (1, -1):
            part *= part.dtype.type(abs(coefficient))
        if lane and coefficient > 0:
            total += part
        elif lane:
            total -= part
    return total
