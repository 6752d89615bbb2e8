"""What calibration shows where ranges are not one magnitude for an array.

By lane (a slice, or one of its polarities) and sign there are histograms, and of every column the
largest current is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.runtime.crossbar.adc import Adc
from nvmc.runtime.crossbar.least_error import least_error_range
from nvmc.runtime.crossbar.lloyd_max import lloyd_max
from nvmc.runtime.crossbar.ranges import CURRENT_SHARE, WeighingObserver, counted, ends_of_bins

__all__ = ["SplitObserver"]

Real = NDArray[np.floating[Any]]


class _Seen:
    """Magnitudes, and what their squared errors count for, in the bins of `ranges`."""

    def __init__(self) -> None:
        self.counts = counted(np.zeros(0))
        self.weights = counted(np.zeros(0)).astype(np.float64)
        self.zeros, self.zero_weight, self.most = 0, 0.0, 0.0

    def add(self, size: Real, weights: Real) -> None:
        """See magnitudes of at least 0."""
        some = size > 0
        self.counts += counted(size[some])
        self.weights += counted(size[some], weights[some])
        self.zeros += size.size - int(np.count_nonzero(some))
        self.zero_weight += float(weights[~some].sum())
        self.most = max(self.most, float(size.max(initial=0.0)))

    def join(self, other: _Seen) -> None:
        """See all that another has seen."""
        self.counts += other.counts
        self.weights += other.weights
        self.zeros += other.zeros
        self.zero_weight += other.zero_weight
        self.most = max(self.most, other.most)

    @property
    def total(self) -> int:
        """How many there are."""
        return self.zeros + int(self.counts.sum())

    def reach(self, share: float) -> float:
        """The magnitude that such a share does not exceed, to the width of a bin."""
        seen = self.zeros + np.cumsum(self.counts)
        if not self.counts.any() or self.zeros >= share * self.total:
            return self.most
        found = int(np.searchsorted(seen, share * self.total))
        return min(float(ends_of_bins()[found + 1]), self.most)

    def least_error(self, top: int) -> float:
        """The range of least squared error for codes up to `top`."""
        held = np.flatnonzero(self.weights)
        if not len(held):
            return self.most
        ends = ends_of_bins()
        highs = np.minimum(ends[held + 1], self.most)
        return least_error_range(ends[held], highs, self.weights[held], top)


class SplitObserver(WeighingObserver):
    """Watches one array; see the module."""

    def __init__(self) -> None:
        super().__init__()
        self._sides: dict[tuple[int, bool], _Seen] = {}
        self._of_columns: dict[tuple[int, ...], NDArray[np.float64]] = {}

    def currents(self, currents: Real, adc: Adc, counts: Real) -> None:
        """See what one ADC is about to convert."""
        super().currents(currents, adc, counts)
        most = np.abs(currents).max(axis=(0, 2), initial=0.0).astype(np.float64)
        lanes = np.split(currents, adc.lanes, axis=-1)
        worth = np.split(np.broadcast_to(counts, currents.shape), adc.lanes, axis=-1)
        with self._lock:
            self._of_columns.setdefault(most.shape, most)
            np.maximum(self._of_columns[most.shape], most, out=self._of_columns[most.shape])
            for lane, (part, each) in enumerate(zip(lanes, worth, strict=True)):
                for negative in (False, True):
                    side = self._sides.setdefault((lane, negative), _Seen())
                    size = -part if negative else part
                    some = size > 0 if negative else size >= 0
                    side.add(size[some], np.square(each[some].astype(np.float64)))

    def _joined(self, lane: int | None = None, negative: bool | None = None) -> _Seen:
        """What was seen of a lane (None: of all) and of one sign (None: of both)."""
        found = _Seen()
        for (which, sign), side in self._sides.items():
            if lane in (None, which) and negative in (None, sign):
                found.join(side)
        return found

    def ranges_of_slices(self, top: int | None) -> tuple[float, ...]:
        """The range of every lane: of least error for codes to `top`, else of `CURRENT_SHARE`."""
        lanes = 1 + max((lane for lane, _ in self._sides), default=-1)
        every = [self._joined(lane) for lane in range(lanes)]
        return tuple(
            seen.reach(CURRENT_SHARE) if top is None else seen.least_error(top) for seen in every
        )

    @property
    def ranges_of_columns(self) -> tuple[float, ...] | None:
        """The largest current of every column, as (groups, lanes * cols) in C order.

        None where reads were not all of the same columns, as those of a GRU.
        """
        found = list(self._of_columns.values())
        return tuple(found[0].ravel().tolist()) if len(found) == 1 else None

    @property
    def signed(self) -> bool:
        """Whether ADCs expect currents of both signs."""
        return self._signed

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest current, half of what `CURRENT_SHARE` leaves beyond each."""
        total = self._joined().total
        ends: list[float] = []
        for negative in (True, False):
            side = self._joined(negative=negative)
            beyond = (1 - CURRENT_SHARE) / 2 * total
            ends.append(side.reach(1 - beyond / side.total) if side.total > beyond else 0.0)
        return -ends[0], ends[1]

    def levels(self, count: int, weighed: bool) -> tuple[float, ...]:
        """Levels of least squared error of the currents, or weighed of the results."""
        sides = [self._joined(negative=True), self._joined(negative=False)]
        below, above = (side.weights if weighed else side.counts for side in sides)
        ends = ends_of_bins()
        middles = (ends[1:] + ends[:-1]) / 2
        at_zero = [side.zero_weight if weighed else side.zeros for side in sides]
        values = np.concatenate([-middles[::-1], [0.0], middles])
        weights = np.concatenate([below[::-1], [sum(at_zero)], above]).astype(np.float64)
        return tuple(lloyd_max(values, weights, count).tolist())
