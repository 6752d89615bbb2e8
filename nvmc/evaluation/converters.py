"""What the converters of an array are given, and what they make of it."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.evaluation.distribution import Gathered, Histogram
from nvmc.runtime.crossbar.adc import Adc
from nvmc.runtime.crossbar.dac import Pulse

__all__ = ["ArrayInspection", "ArrayWatch", "Codes"]

Real = NDArray[np.floating[Any]]

MOST_BINS = 256


@dataclass(frozen=True)
class Codes:
    """What an array's ADCs put out.

    Attributes:
        low: The lowest code that there is.
        high: The highest.
        lowest: The lowest that was seen.
        highest: The highest that was seen.
        used: How many different ones were seen.
        below: Share of the conversions that were clipped at the low end.
        above: Share clipped at the high end.
        conversions: How many there were.
        spread: How often each code was seen.
    """

    low: int
    high: int
    lowest: int
    highest: int
    used: int
    below: float
    above: float
    conversions: int
    spread: Histogram

    @property
    def available(self) -> int:
        """How many codes there are."""
        return self.high - self.low + 1

    @property
    def reached(self) -> float:
        """Share of the codes that lie between the lowest and the highest that were seen."""
        return (self.highest - self.lowest + 1) / self.available

    def to_json(self) -> dict[str, Any]:
        """As `nvmc inspect --json` prints it."""
        return {
            "low": self.low,
            "high": self.high,
            "lowest": self.lowest,
            "highest": self.highest,
            "available": self.available,
            "used": self.used,
            "clipped_low": self.below,
            "clipped_high": self.above,
            "conversions": self.conversions,
            "spread": self.spread.to_json(),
        }


@dataclass(frozen=True)
class ArrayInspection:
    """What passed through one array on the inspected chip.

    Attributes:
        name: Of the array.
        inputs: In the network's units, as they come to the DACs.
        limit: The DACs' calibrated range, in the network's units; None where it is dynamic.
        beyond: Share of the inputs that lie beyond it.
        currents: In shares of the ADC's full scale: of what its highest code stands for, or
            without an ADC of the worst case of the tile.
        full_scale: The largest full scale of its tiles, in level steps x input steps.
        codes: None without an ADC.
    """

    name: str
    inputs: Histogram
    limit: float | None
    beyond: float
    currents: Histogram
    full_scale: float
    codes: Codes | None

    def to_json(self) -> dict[str, Any]:
        """As `nvmc inspect --json` prints it."""
        return {
            "array": self.name,
            "inputs": self.inputs.to_json(),
            "dac_range": self.limit,
            "beyond_dac_range": self.beyond,
            "currents": self.currents.to_json(),
            "full_scale": self.full_scale,
            "codes": None if self.codes is None else self.codes.to_json(),
        }


class ArrayWatch:
    """Watches one array at work; an observer of `nvmc.runtime.crossbar.observer`."""

    def __init__(self) -> None:
        self._inputs, self._currents = Gathered(), Gathered()
        self._limit: float | None = None
        self._counts: NDArray[np.int64] | None = None
        self._low = self._high = self._below = self._above = self._beyond = self._seen = 0
        self._full_scale = 0.0
        self._lock = Lock()

    def limited(self, limit: float | None) -> None:
        """Say what the DACs' range is; before anything is seen."""
        self._limit = limit

    def inputs(self, x: Real) -> None:
        """See the inputs of whole entries."""
        with self._lock:
            self._inputs.add(x)
            self._seen += x.size
            if self._limit is not None:
                self._beyond += int(np.count_nonzero(np.abs(x) > x.dtype.type(self._limit)))

    def drives(self, rows: slice, pulse: Pulse) -> None:
        """See what is put on rows, of which inspection knows enough from the inputs."""

    def currents(self, currents: Real, adc: Adc, counts: Real) -> None:
        """See what one ADC is about to convert."""
        del counts
        with self._lock:
            scale = adc.full_scale or 1.0
            self._full_scale = max(self._full_scale, scale)
            self._currents.add(currents / currents.dtype.type(scale))
            if adc.bits is not None:
                self._convert(currents, adc)

    def _convert(self, currents: Real, adc: Adc) -> None:
        steps = np.rint(adc.in_steps(currents))
        self._below += int(np.count_nonzero(steps < adc.low))
        self._above += int(np.count_nonzero(steps > adc.high))
        codes = adc.codes(np.array(currents))
        codes = codes[np.isfinite(codes)]
        self._low, self._high = adc.low, adc.high
        found = np.bincount((codes - adc.low).astype(np.int64), minlength=adc.high - adc.low + 1)
        self._counts = found if self._counts is None else self._counts + found

    def result(self, name: str) -> ArrayInspection | None:
        """What was seen; None where nothing was."""
        inputs, currents = self._inputs.histogram, self._currents.histogram
        if inputs is None or currents is None:
            return None
        beyond = self._beyond / self._seen
        codes = self._result_of_codes()
        return ArrayInspection(name, inputs, self._limit, beyond, currents, self._full_scale, codes)

    def _result_of_codes(self) -> Codes | None:
        if self._counts is None or not self._counts.any():
            return None
        held = np.flatnonzero(self._counts)
        total = int(self._counts.sum())
        return Codes(
            low=self._low,
            high=self._high,
            lowest=self._low + int(held[0]),
            highest=self._low + int(held[-1]),
            used=len(held),
            below=self._below / total,
            above=self._above / total,
            conversions=total,
            spread=_spread(self._counts, self._low),
        )


def _spread(counts: NDArray[np.int64], low: int) -> Histogram:
    """How often codes from `low` on were seen, in bins of whole codes."""
    held = np.flatnonzero(counts)
    lowest, highest = low + int(held[0]), low + int(held[-1])
    width = 1
    while highest // width - lowest // width >= MOST_BINS:
        width *= 2
    bins = (held + low) // width - lowest // width
    joined = np.bincount(bins, counts[held]).astype(np.int64)
    return Histogram(
        low=lowest,
        high=highest,
        values=int(counts.sum()),
        zeros=int(counts[-low]) if low <= 0 < low + len(counts) else 0,
        first=lowest // width * width,
        width=width,
        counts=tuple(joined.tolist()),
    )
