"""What calibration data show at an array: the reach of its inputs and of its currents."""

from __future__ import annotations

import math
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.devices import ArrayRange
from nvmc.runtime.crossbar.adc import Adc, top_code
from nvmc.runtime.crossbar.dac import Pulse
from nvmc.runtime.crossbar.least_error import least_error_range

__all__ = [
    "CURRENT_SHARE",
    "RangeObserver",
    "WeighingObserver",
    "counted",
    "ends_of_bins",
    "upper_end",
]

Real = NDArray[np.floating[Any]]

CURRENT_SHARE = 0.9999
"""Share of the currents that a calibrated ADC has in range."""

_BINS_AN_OCTAVE = 64
_OCTAVES = (-40, 40)


def _bins(some: Real) -> NDArray[np.int64]:
    low, high = _OCTAVES
    octave = np.clip(np.log2(some.astype(np.float64)), low, math.nextafter(high, low))
    return ((octave - low) * _BINS_AN_OCTAVE).astype(np.int64)


def counted(some: Real, counts: Any = None) -> NDArray[Any]:
    """How many of some numbers above 0, or what they count for, lie in each bin."""
    low, high = _OCTAVES
    return np.bincount(_bins(some), counts, minlength=(high - low) * _BINS_AN_OCTAVE)


def _upper(number: int) -> float:
    return 2.0 ** (_OCTAVES[0] + (number + 1) / _BINS_AN_OCTAVE)


def ends_of_bins() -> NDArray[np.float64]:
    """Lower ends of all bins, and the upper end of the last."""
    low, high = _OCTAVES
    count = (high - low) * _BINS_AN_OCTAVE
    return 2.0 ** (low + np.arange(count + 1) / _BINS_AN_OCTAVE)


def upper_end(current: float) -> float:
    """The upper end of the histogram's bin in which a current above 0 lies."""
    return _upper(int(_bins(np.asarray([current]))[0]))


class RangeObserver:
    """Watches one array; currents go into a histogram whose bins are 1.1 % wide.

    Several threads may show it what they see.
    """

    def __init__(self) -> None:
        self._largest = 0.0
        self._counts = counted(np.zeros(0))
        self._most = 0.0
        self._zeros = 0
        self._lock = Lock()

    def inputs(self, x: Real) -> None:
        """See the inputs of whole entries."""
        largest = float(np.max(np.abs(x), initial=0.0))
        with self._lock:
            self._largest = max(self._largest, largest)

    def drives(self, rows: slice, pulse: Pulse) -> None:
        """See what is put on rows, of which ranges know enough from the inputs."""

    def currents(self, currents: Real, adc: Adc, counts: Real) -> None:
        """See what one ADC is about to convert."""
        del adc
        size = np.abs(currents).ravel()
        most = float(size.max(initial=0.0))
        some = size[size > 0]
        found = counted(some)
        with self._lock:
            self._most = max(self._most, most)
            self._zeros += size.size - some.size
            self._counts += found

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


class WeighingObserver(RangeObserver):
    """Also knows what each current counts for in the result: for the ranges of least error.

    An error e of a current is an error counts * e of the result, so squared errors are added with
    counts squared: the top slice of a weight decides more than the lowest one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._inputs = counted(np.zeros(0))
        self._weights = counted(np.zeros(0)).astype(np.float64)
        self._signed = self._negative = False

    def inputs(self, x: Real) -> None:
        """See the inputs of whole entries."""
        super().inputs(x)
        size = np.abs(x).ravel()
        found = counted(size[size > 0])
        with self._lock:
            self._inputs += found
            self._negative = self._negative or bool(np.any(x < 0))

    def currents(self, currents: Real, adc: Adc, counts: Real) -> None:
        """See what one ADC is about to convert."""
        super().currents(currents, adc, counts)
        size = np.abs(currents)
        weights = np.broadcast_to(np.square(counts.astype(np.float64)), size.shape)
        found = counted(size[size > 0], weights[size > 0])
        with self._lock:
            self._weights += found
            self._signed = self._signed or adc.signed

    def input_range(self, top: int | None, offset_top: int | None) -> float:
        """The range of a DAC at which the squared error of the inputs is least.

        Args:
            top: Its largest code; None where codes are real numbers.
            offset_top: The largest where an entry has negative inputs, if that is another.
        """
        chosen = offset_top if self._negative and offset_top is not None else top
        return self._least(self._inputs, self._largest, chosen)

    def current_range(self, bits: int) -> float:
        """The range of an ADC at which the squared error of the results is least."""
        return self._least(self._weights, self._most, top_code(bits, self._signed))

    @staticmethod
    def _least(weights: NDArray[Any], most: float, top: int | None) -> float:
        seen = np.flatnonzero(weights)
        if not len(seen) or top is None:
            return most
        ends = ends_of_bins()
        lows, highs = ends[seen], np.minimum(ends[seen + 1], most)
        return least_error_range(lows, highs, weights[seen].astype(np.float64), top)
