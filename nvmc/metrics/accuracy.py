"""Accuracy: the share of decisions that equal their labels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nvmc.data import IGNORED
from nvmc.metrics.decisions import correct
from nvmc.metrics.metric import Metric, Reference

__all__ = ["Accuracy"]


class Accuracy(Metric):
    """Top-1 accuracy against labels, in [0, 1].

    Args:
        labels: Classes of shape (N,) or (N, ...); `IGNORED` where a decision does not count.
    """

    name: ClassVar[str] = "accuracy"
    short: ClassVar[str] = "accuracy"
    title: ClassVar[str] = "the share of decisions that are right"
    reference: ClassVar[Reference] = "classes"
    counts: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __init__(self, labels: NDArray[np.integer[Any]]) -> None:
        self._labels = labels
        self._decisions = int(np.count_nonzero(labels != IGNORED))

    @property
    def classes(self) -> NDArray[np.integer[Any]]:
        """The class that each decision is held against; none is right where it is negative."""
        return self._labels

    def add(self, outputs: NDArray[Any], first: int) -> float:
        """Hits in this batch."""
        return correct(outputs, self._labels[first : first + len(outputs)])

    def limits(self, first: int, last: int) -> tuple[float, float]:
        """No hits, to one for each decision that can be right."""
        return 0.0, float(np.count_nonzero(self._labels[first:last] >= 0))

    def finish(self, total: float, images: int) -> float:
        """Hits over the decisions that count."""
        return total / max(1, self._decisions) if images else 0.0
