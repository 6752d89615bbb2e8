"""Distributions of what passes through an array, gathered piece by piece.

Bins are powers of two wide and begin at 0, so that two of them make one of twice the width: what
comes out does not depend on the order in which values are seen, or in how many pieces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Gathered", "Histogram"]

Real = NDArray[np.floating[Any]]

SIDE = 128
"""Bins on each side of 0."""


@dataclass(frozen=True)
class Histogram:
    """How values are spread.

    Attributes:
        low: The smallest.
        high: The largest.
        values: How many there were.
        zeros: How many of them were exactly 0.
        first: Lower edge of the first bin that holds any.
        width: Of every bin.
        counts: Values in each bin, from the first to the last that holds any.
    """

    low: float
    high: float
    values: int
    zeros: int
    first: float
    width: float
    counts: tuple[int, ...]

    def merged(self, most: int) -> Histogram:
        """The same in at most `most` bins, a power of two of the old ones in each.

        Bins still begin at a multiple of their width, so one more than needed may be left empty.
        """
        width, first, counts = self.width, round(self.first / self.width), list(self.counts)
        while len(counts) > most:
            counts = [0] * (first % 2) + counts
            counts = [sum(counts[i : i + 2]) for i in range(0, len(counts), 2)]
            first, width = first // 2, 2 * width
        told = (self.low, self.high, self.values, self.zeros)
        return Histogram(*told, first * width, width, tuple(counts))

    def to_json(self) -> dict[str, Any]:
        """As `nvmc inspect --json` prints it."""
        return {
            "low": self.low,
            "high": self.high,
            "values": self.values,
            "zeros": self.zeros,
            "first_edge": self.first,
            "bin_width": self.width,
            "counts": list(self.counts),
        }


class Gathered:
    """Values seen so far; those that are no finite numbers are left out."""

    def __init__(self) -> None:
        self._low, self._high = math.inf, -math.inf
        self._values = self._zeros = 0
        self._reach = 0.0  # a power of two that all magnitudes are below
        self._counts = np.zeros(2 * SIDE, np.int64)

    def add(self, values: Real) -> None:
        """See more of them, of any shape."""
        some = values[np.isfinite(values)].astype(np.float64)
        if not some.size:
            return
        low, high = float(some.min()), float(some.max())
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._values += some.size
        self._zeros += int(np.count_nonzero(some == 0))
        self._widen(max(high, -low))
        reach = self._reach or 1.0
        bins = np.floor(some * (SIDE / reach)).astype(np.int64) + SIDE
        self._counts += np.bincount(bins, minlength=2 * SIDE)

    def _widen(self, most: float) -> None:
        if most == 0:
            return
        wanted = 2.0 ** math.frexp(most)[1]  # above `most`
        if not self._reach:  # zeros alone so far, which lie in the first bin from 0 on
            self._reach = wanted
        while self._reach < wanted:
            half = self._counts.reshape(SIDE, 2).sum(axis=1)
            self._counts[:] = 0
            self._counts[SIDE // 2 : SIDE // 2 + SIDE] = half
            self._reach *= 2

    @property
    def histogram(self) -> Histogram | None:
        """What was seen; None where there was nothing."""
        if not self._values:
            return None
        held = np.flatnonzero(self._counts)
        first, last = int(held[0]), int(held[-1])
        width = (self._reach or 1.0) / SIDE
        return Histogram(
            self._low,
            self._high,
            self._values,
            self._zeros,
            (first - SIDE) * width,
            width,
            tuple(self._counts[first : last + 1].tolist()),
        )
