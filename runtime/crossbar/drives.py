"""What rows are driven with on some images: the other half of an array's current."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.runtime.crossbar.adc import Adc
from nvmc.runtime.crossbar.dac import Pulse

__all__ = ["DriveObserver"]

Real = NDArray[np.floating[Any]]
Sums = NDArray[np.float64]


class DriveObserver:
    """Watches one array. Several threads may show it what they see."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries = 0
        self._signed = 0
        self._driven = 0
        self._rows = 0
        self._sums: dict[int, tuple[int, Sums, Sums]] = {}

    def inputs(self, x: Real) -> None:
        """See the inputs of whole entries."""
        negative = int(np.count_nonzero((x < 0).reshape(len(x), -1).any(axis=1)))
        with self._lock:
            self._entries += len(x)
            self._signed += negative

    def drives(self, rows: slice, pulse: Pulse) -> None:
        """See what is put on some rows of a tile, shape (entries, groups, vectors, rows)."""
        drive: Sums = np.abs(pulse.drive).astype(np.float64)
        linear: Sums = drive.sum(axis=(0, 2))
        squared: Sums = np.square(drive).sum(axis=(0, 2))
        vectors = drive.shape[0] * drive.shape[2] if pulse.index == 0 else 0
        with self._lock:
            self._driven += int(np.count_nonzero(drive))
            self._rows += drive.size if pulse.index == 0 else 0
            seen = self._sums.get(rows.start)
            if seen is not None:
                vectors, linear, squared = vectors + seen[0], linear + seen[1], squared + seen[2]
            self._sums[rows.start] = (vectors, linear, squared)

    def currents(self, currents: Real, adc: Adc, counts: Real) -> None:
        """See what one ADC is about to convert, which says nothing of drives."""

    @property
    def signed(self) -> float:
        """Share of the entries that have a negative input; 0 where none was seen."""
        return self._signed / max(1, self._entries)

    @property
    def active(self) -> float:
        """Mean number of pulses above 0 that one vector puts on a row."""
        return self._driven / max(1, self._rows)

    def of_rows(self, largest: float) -> tuple[Sums, Sums] | None:
        """Mean over vectors of what a vector's pulses add up to on each row, and of the squares.

        Args:
            largest: The most that one pulse puts on a row, in input codes.

        Returns:
            Two arrays of shape (groups, rows), in fractions of the largest drive; None where
            nothing was seen.
        """
        parts = [self._sums[first] for first in sorted(self._sums)]
        if not parts:
            return None
        linear = [total / (max(1, vectors) * largest) for vectors, total, _ in parts]
        squared = [total / (max(1, vectors) * largest**2) for vectors, _, total in parts]
        return np.concatenate(linear, axis=1), np.concatenate(squared, axis=1)
