"""Sums of a metric over chips that run side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.metrics import Added, Metric, Total, total_of

__all__ = ["Tally"]

SCORED_BYTES = 1 << 16
"""Outputs of a chip that are scored at once."""


class Tally:
    """Sums up a metric of chips that run side by side.

    A call of `metric.add` takes as long for a few images as for a hundred, so outputs wait until
    they are many; a metric that needs all images at once gets them in the end.

    Args:
        metric: How outputs are scored.
        first: The first image.
        chips: How many chips.
    """

    def __init__(self, metric: Metric, first: int, chips: int) -> None:
        self._metric, self._first = metric, first
        self._totals: list[Added] = [0.0] * chips
        self._waiting: list[list[NDArray[Any]]] = []
        self._bytes = 0

    def take(self, outputs: list[NDArray[Any]]) -> None:
        """The next images' outputs, one array per chip."""
        self._waiting.append(outputs)
        self._bytes += outputs[0].nbytes
        if self._bytes >= SCORED_BYTES and not self._metric.whole:
            self._add()

    def totals(self) -> list[Total]:
        """The sums of every chip."""
        if self._waiting:
            self._add()
        return [total_of(sums) for sums in self._totals]

    def _add(self) -> None:
        count = sum(len(each[0]) for each in self._waiting)
        for chip, parts in enumerate(zip(*self._waiting, strict=True)):
            self._totals[chip] = self._totals[chip] + self._metric.add(
                np.concatenate(parts), self._first
            )
        self._first += count
        self._bytes = 0
        self._waiting.clear()
