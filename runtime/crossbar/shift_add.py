"""Shift-and-add: what slices, polarities and input bits count for, summed digitally."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CodeSum", "shift_add"]

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


class CodeSum:
    """A sum of codes, each with what it counts for; a single one is scaled by whoever uses it."""

    def __init__(self) -> None:
        self._total: Real | None = None
        self._factor = 1.0

    def add(self, codes: Real, weight: float) -> None:
        """Add codes that count for `weight`; overwrites them. The first have the sum's shape."""
        # The first codes stay as they are: where one pulse or tile is all, nothing is multiplied,
        # and the factor goes into the scale that every column gets anyway.
        if self._total is None:
            self._total, self._factor = codes, weight
            return
        total = self.settled()
        if weight != 1:
            np.multiply(codes, codes.dtype.type(weight), out=codes)
        np.add(total, codes, out=total)

    def settled(self) -> Real:
        """The sum itself; something must have been added."""
        if self._total is None:
            raise ValueError("nothing was added up")
        if self._factor != 1:
            np.multiply(self._total, self._total.dtype.type(self._factor), out=self._total)
            self._factor = 1.0
        return self._total

    def result(
        self, shape: tuple[int, ...], dtype: np.dtype[np.floating[Any]]
    ) -> tuple[Real, float]:
        """The sum and what it counts for; zeros of that shape where nothing was added."""
        if self._total is None:
            nothing: Real = np.zeros(shape, dtype)
            return nothing, 1.0
        return self._total, self._factor
