"""What the cells of a file were aimed for: the target of every reading, and how even levels are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nvmc.errors import DeviceError
from nvmc.hardware.fit.measurements import Measurements

__all__ = ["MIN_READINGS", "earliest", "evenness", "targets_of"]

Float = NDArray[np.floating[Any]]

MIN_READINGS = 20
"""Fewest readings a level, or a group of neighbouring targets, may have."""


def earliest(read: Measurements) -> Measurements:
    """The readings at the earliest time: what programming left behind."""
    if read.time is None:
        return read
    times = np.unique(read.time)
    if len(times) < 2:
        raise DeviceError(
            f"{read.file}: time_s is {times[0]:g} on every line; retention needs two times or "
            "more: measure again later, or leave the column out"
        )
    first = read.rows(read.time == times[0])
    if read.level is not None and first.level is not None:
        late = np.setdiff1d(read.level, first.level)
        if late.size:
            raise DeviceError(
                f"{read.file}: level {late[0]} has no reading at the earliest time, "
                f"{times[0]:g} s; expected {MIN_READINGS} or more of every level"
            )
    return first


def targets_of(read: Measurements, first: Measurements) -> Float:
    """The target of every reading in µS.

    Levels without targets lie where they are at the `first` time: on a line through the lowest and
    the highest, or each at its mean where the means are off that line by more than chance.
    """
    if read.target is not None:
        return read.target
    assert read.level is not None and first.level is not None
    level, top = first.level, int(first.level.max())
    if top == 0 or not np.any(level == 0):
        raise DeviceError(
            f"{read.file}: levels are {int(level.min())} to {top}; expected level 0 and at least "
            "one more, or a column target_us"
        )
    low, high = np.mean(first.measured[level == 0]), np.mean(first.measured[level == top])
    line = low + (high - low) * np.arange(top + 1) / top
    if np.bincount(level).min() >= MIN_READINGS:
        means = np.bincount(level, first.measured) / np.bincount(level)
        if np.all(np.diff(means) > 0) and _off_line(first, means - line, top):
            return np.asarray(means[read.level])
    return np.asarray(low + (high - low) * read.level / top)


def _off_line(first: Measurements, off: Float, top: int) -> bool:
    """Whether means are off the line through the ends by more than chance: p < 0.01 over all.

    The variance of mean - line is v_l + (1 - l/top)^2 v_0 + (l/top)^2 v_top, v those of the means;
    its degrees of freedom are those of Satterthwaite (Biometrics Bulletin 2, 1946).
    """
    if top < 2:
        return False
    share = np.arange(top + 1) / top
    readings = [first.measured[first.level == i] for i in range(top + 1)]
    own = np.array([np.var(r, ddof=1) / len(r) for r in readings])
    parts = np.array([own, (1 - share) ** 2 * own[0], share**2 * own[-1]])
    free = np.array([len(r) - 1 for r in readings])
    freedom = np.array([free, np.full(top + 1, free[0]), np.full(top + 1, free[-1])])
    inner = (parts.sum(axis=0) > 0) & (share > 0) & (share < 1)
    total = parts.sum(axis=0)[inner]
    degrees = total**2 / np.sum(parts**2 / freedom, axis=0)[inner]
    chances = 2 * stats.t.sf(np.abs(off[inner]) / np.sqrt(total), degrees)
    return float(np.min(chances, initial=1.0)) < 0.01 / (top - 1)


def evenness(distinct: Float) -> float:
    """Largest distance, in steps, of sorted targets from even spacing."""
    low, high = float(distinct[0]), float(distinct[-1])
    step = (high - low) / (len(distinct) - 1)
    even = low + step * np.arange(len(distinct))
    return float(np.max(np.abs(distinct - even)) / step)
