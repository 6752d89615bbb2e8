"""A workload whose chips are rows of a table, an executor that looks them up, records in a dict."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from nvmc import Chip
from nvmc.evaluation.population import Workload
from nvmc.hardware.chips import Chips
from nvmc.metrics.accuracy import Accuracy
from nvmc.runtime.montecarlo import Feed, Network, Span
from nvmc.store import Found

__all__ = ["Kept", "Table", "bench_of_images", "chips_from"]

PATTERN = Chip(seed=3, index=0)


def bench_of_images(images: int, decisions: int = 1, hard: int = 0) -> Workload:
    labels = np.zeros((images, decisions) if decisions > 1 else images, np.int64)
    network = Network(b"", "y", 1, arrays=(), dtypes={})
    feed = Feed({"x": np.zeros((images, 1), np.float32)})
    return Workload(network, feed, Accuracy(labels), 1.0, "a table", hard=hard)


def chips_from(first: int, runs: int) -> Chips:
    return Chips(PATTERN, first, runs)


class Table:
    """Hits of chip c on image i at [c, i]; answers last chip first, and notes what it was asked.

    Attributes:
        asked: (indices of the chips, first image, images) of every call.
    """

    name, engine = "a table", "table 1"

    def __init__(self, hits: NDArray[np.int64]) -> None:
        self.hits = hits
        self.asked: list[tuple[list[int | None], int, int]] = []

    def totals(
        self,
        workload: Workload,
        chips: Sequence[Chip],
        span: Span,
        done: Callable[[int, float], None],
    ) -> None:
        self.asked.append(([chip.index for chip in chips], span.first, span.count))
        for number in reversed(range(len(chips))):
            hits = self.hits[chips[number].index or 0]
            done(number, float(hits[span.first : span.end].sum()))

    @property
    def run(self) -> int:
        """Images that were run, of all chips together."""
        return sum(len(chips) * count for chips, _, count in self.asked)


class Kept:
    """Records as a store keeps them, in memory."""

    trusted = False

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, float, float | None]] = []

    def known(self) -> dict[int, tuple[int, float]]:
        found: dict[int, tuple[int, float]] = {}
        for chip, images, total, _ in self.rows:
            if images > found.get(chip, (0, 0.0))[0]:
                found[chip] = (images, total)
        return found

    def parts(self) -> dict[int, dict[int, float]]:
        found: dict[int, dict[int, float]] = {}
        for chip, images, total, value in self.rows:
            if value is None:
                found.setdefault(chip, {})[images] = total
        return found

    def read(self) -> Found:
        return Found(self.known(), self.parts())

    def confirm(self, chip: int, images: int, here: float) -> None:
        raise AssertionError("all of it was found here")

    def vouch(self, checked: Collection[int], others: Collection[int]) -> None:
        raise AssertionError("all of it was found here")

    def add(self, chip: int, images: int, total: float, value: float | None) -> None:
        self.rows.append((chip, images, total, value))
