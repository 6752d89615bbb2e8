"""The range of a converter at which its squared error is least, from a histogram.

A converter of range R and top code T has steps R/T. It rounds what lies below R and gives R for
all that lies above:

    e(x) = x - round(x / step) step     x <= R
           x - R                        x >  R

Its square has a closed integral. With u = x / step and f = u - round(u),

    int_0^x e^2 = step^3 (round(u) / 12 + f^3 / 3)            x <= R
                  that at R + (x - R)^3 / 3                    x >  R

so the error over a bin of the histogram, which is taken as filled evenly, is exact: it is step^2/12
where bins are wider than steps, and what rounding does to the very values where they are narrow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["least_error_range", "squared_error"]

Float = NDArray[np.float64]

_OCTAVES = 8
"""How far below the largest value ranges are looked for."""
_AN_OCTAVE = 64


def squared_error(x: Float, reach: float, top: int) -> Float:
    """The integral of a converter's squared error from 0 to `x`.

    Args:
        x: Magnitudes, any shape.
        reach: The range R, above 0.
        top: The top code T.
    """
    step = reach / top
    inside = np.minimum(x, reach) / step
    whole = np.rint(inside)
    rounded = step**3 * (whole / 12 + (inside - whole) ** 3 / 3)
    return rounded + np.maximum(x - reach, 0) ** 3 / 3


def least_error_range(lows: Float, highs: Float, weights: Float, top: int) -> float:
    """The range, of 64 an octave below the largest magnitude, of least weighted squared error.

    Cost: 513 passes over the bins.

    Args:
        lows: Lower ends of the bins, of magnitudes above 0, shape (bins,).
        highs: Their upper ends; the last is the largest magnitude.
        weights: What the squared errors of a bin's magnitudes count for in all.
        top: The top code.

    Returns:
        The range; of several that are equally good, the largest.
    """
    most = float(highs.max())
    ranges = most * 2.0 ** (-np.arange(_OCTAVES * _AN_OCTAVE + 1) / _AN_OCTAVE)
    highs = np.maximum(highs, lows * (1 + 1e-6))  # a bin may hold a single value
    density = weights / (highs - lows)
    errors = [
        float(np.sum(density * (squared_error(highs, r, top) - squared_error(lows, r, top))))
        for r in ranges.tolist()
    ]
    return float(ranges[int(np.argmin(errors))])
