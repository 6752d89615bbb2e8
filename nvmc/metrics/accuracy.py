"""Accuracy: the share of decisions that equal their labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nvmc.data import IGNORED
from nvmc.metrics.decisions import correct, top_correct
from nvmc.metrics.metric import Metric, Reference
from nvmc.metrics.options import whole_option

__all__ = ["Accuracy"]


class Accuracy(Metric):
    """Accuracy against labels, in [0, 1]; with the option `k`, top-k accuracy.

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

    @classmethod
    def of(cls, options: Mapping[str, str]) -> type[Metric]:
        """Top-k accuracy, by the option `k`."""
        top = whole_option(cls.name, options, "k", 1)
        if top == 1:
            return cls
        title = f"the share of decisions whose label is among the {top} likeliest classes"
        fields = {"top": top, "name": f"{cls.name}:k={top}", "short": f"top-{top} {cls.short}"}
        return type(cls.__name__, (cls,), {**fields, "title": title})

    @property
    def classes(self) -> NDArray[np.integer[Any]]:
        """The class that each decision is compared with; none is right where it is negative."""
        return self._labels

    def add(self, outputs: NDArray[Any], first: int) -> float:
        """Hits in this batch."""
        labels = self._labels[first : first + len(outputs)]
        return correct(outputs, labels) if self.top == 1 else top_correct(outputs, labels, self.top)

    def limits(self, first: int, last: int) -> tuple[float, float]:
        """No hits, to one for each decision that can be right."""
        return 0.0, float(np.count_nonzero(self._labels[first:last] >= 0))

    def finish(self, total: float, images: int) -> float:
        """Hits over the decisions that count."""
        return total / max(1, self._decisions) if images else 0.0
