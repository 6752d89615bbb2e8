"""Codes of least squared error: where they lie, and what each stands for.

For currents of a known distribution the best thresholds lie half way between levels, and the best
level of a code is the mean of the currents that get it. Lloyd's method takes the two in turn, and
never makes the error larger (Lloyd, IEEE Trans. Information Theory 28(2), 1982, method I; Max, IRE
Trans. Information Theory 6(1), 1960).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["lloyd_max"]

Float = NDArray[np.float64]

_MOST = 500
"""Turns; what is left to gain is then far below what a histogram's bins resolve."""


def lloyd_max(values: Float, weights: Float, count: int) -> Float:
    """The levels of codes.

    It begins with levels that the same number of values lie between, half of them, and evenly
    spaced ones, whichever errs less after each has settled.

    Args:
        values: Currents, ascending, shape (values,).
        weights: What the squared error of each counts for, at least 0.
        count: Levels.

    Returns:
        Ascending, shape (count,); of fewer distinct values the highest is repeated.
    """
    seen = weights > 0
    values, weights = values[seen], weights[seen]
    if len(values) <= count:
        filled = values if len(values) else np.zeros(1)
        return np.concatenate([filled, np.repeat(filled[-1:], count - len(filled))])
    cumulated = np.cumsum(weights) / weights.sum()
    shares = (np.arange(count) + 0.5) / count
    alike: Float = values[np.searchsorted(cumulated, shares).clip(max=len(values) - 1)]
    even: Float = values[0] + (values[-1] - values[0]) * (np.arange(count) / max(1, count - 1))
    starts: list[Float] = [alike, even]
    settled: list[Float] = [_settled(values, weights, start) for start in starts]
    errors = [_error(values, weights, levels) for levels in settled]
    return settled[int(np.argmin(errors))]


def _owners(values: Float, levels: Float) -> NDArray[np.intp]:
    return np.searchsorted((levels[1:] + levels[:-1]) / 2, values, side="right")


def _error(values: Float, weights: Float, levels: Float) -> float:
    return float(np.sum(weights * (values - levels[_owners(values, levels)]) ** 2))


def _settled(values: Float, weights: Float, levels: Float) -> Float:
    for _ in range(_MOST):
        owner = _owners(values, levels)
        mass = np.bincount(owner, weights, len(levels))
        means = np.bincount(owner, weights * values, len(levels)) / np.where(mass > 0, mass, 1)
        moved = np.where(mass > 0, means, levels)
        if np.array_equal(moved, levels):
            break
        levels = moved
    return levels
