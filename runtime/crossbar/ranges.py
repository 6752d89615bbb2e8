"""What calibration data show at an array: the reach of its inputs and of its currents."""

from __future__ import annotations

import math
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.devices import ArrayRange

__all__ = ["CURRENT_SHARE", "RangeObserver", "upper_end"]

Real = NDArray[np.floating[Any]]

CURRENT_SHARE = 0.9999
"""Share of the currents that a calibrated ADC has in range."""

_BINS_AN_OCTAVE = 64
_OCTAVES = (-40, 40)


def _bins(some: Real) -> NDArray[np.int64]:
    low, high = _OCTAVES
    octave = np.clip(np.log2(some.astype(np.float64)), low, math.nextafter(high, low))
    return ((octave - low) * _BINS_AN_OCTAVE).astype(np.int64)


def _upper(number: int) -> float:
    return 2.0 ** (_OCTAVES[0] + (number + 1) / _BINS_AN_OCTAVE)


def upper_end(current: float) -> float:
    """The upper end of the histogram's bin in which a current above 0 lies."""
    return _upper(int(_bins(np.asarray([current]))[0]))


class RangeObserver:
    """Watches one array; currents go into a histogram whose bins are 1.1 % wide.

    Several threads may show it what they see.
    """

    def __init__(self) -> None:
        self._largest = 0.0
        low, high = _OCTAVES
        self._counts = np.zeros((high - low) * _BINS_AN_OCTAVE, np.int64)
        self._most = 0.0
        self._zeros = 0
        self._lock = Lock()

    def inputs(self, x: Real) -> None:
        """See the inputs of whole entries."""
        largest = float(np.max(np.abs(x), initial=0.0))
        with self._lock:
            self._largest = max(self._largest, largest)

    def currents(self, currents: Real) -> None:
        """See what one ADC is about to convert."""
        size = np.abs(currents).ravel()
        most = float(size.max(initial=0.0))
        some = size[size > 0]
        counts = np.bincount(_bins(some), minlength=len(self._counts))
        with self._lock:
            self._most = max(self._most, most)
            self._zeros += size.size - some.size
            self._counts += counts

    @property
    def current(self) -> float:
        """The current that `CURRENT_SHARE` of those seen do not exceed, to the width of a bin."""
        total = self._zeros + int(self._counts.sum())
        seen = self._zeros + np.cumsum(self._counts)
        if not self._counts.any() or self._zeros >= CURRENT_SHARE * total:
            return self._most
        found = int(np.searchsorted(seen, CURRENT_SHARE * total))
        return min(_upper(found), self._most)

    def range_of(self, array: str, currents: bool) -> ArrayRange:
        """What was seen at the array of that name."""
        return ArrayRange(
            array=array, input=self._largest, current=self.current if currents else None
        )
