"""How the outputs of one chip become one number, batch by batch."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nvmc.metrics import agreement, correct, decisions

__all__ = ["Accuracy", "Agreement", "Determination", "Score", "Tally", "score_against"]

SCORED_BYTES = 1 << 16
"""Outputs of a chip that are scored at once."""


class Score(Protocol):
    """Adds up over batches, so that no sum depends on their size."""

    metric: str

    def add(self, outputs: NDArray[Any], first: int) -> float:
        """What the outputs of images `first`, `first` + 1, … count for."""
        ...

    def finish(self, total: float, images: int) -> float:
        """The value of one chip from the sum over its images; greater is better."""
        ...


class Accuracy:
    """Top-1 accuracy against labels, in [0, 1].

    Args:
        labels: Classes of shape (N,) or (N, ...).
    """

    metric = "accuracy"

    def __init__(self, labels: NDArray[np.integer[Any]]) -> None:
        self._labels = labels

    @property
    def classes(self) -> NDArray[np.integer[Any]]:
        """The class that each decision is held against."""
        return self._labels

    def add(self, outputs: NDArray[Any], first: int) -> float:
        """Hits in this batch."""
        return correct(outputs, self._labels[first : first + len(outputs)])

    def finish(self, total: float, images: int) -> float:
        """Hits over decisions."""
        return total / max(1, self._labels.size) if images else 0.0


class Agreement:
    """Share of decisions that equal the ideal chip's on the same inputs, in [0, 1].

    Args:
        reference: Outputs of the ideal chip, shape (N, C, ...) with C >= 2.
    """

    metric = "agreement"

    def __init__(self, reference: NDArray[Any]) -> None:
        self._reference = reference

    @cached_property
    def classes(self) -> NDArray[np.integer[Any]]:
        """The class that each decision is held against; -1 where none agrees."""
        return decisions(self._reference)

    def add(self, outputs: NDArray[Any], first: int) -> float:
        """Equal decisions in this batch."""
        return agreement(outputs, self._reference[first : first + len(outputs)])

    def finish(self, total: float, images: int) -> float:
        """Equal decisions over decisions."""
        return total * self._reference.shape[1] / self._reference.size


class Determination:
    """Coefficient of determination R^2, for outputs that are no classes.

    1 - squared error / variation, both summed over images and outputs; the variation is that around
    each output's own mean over the images (scikit-learn's `r2_score`, variance-weighted). Floored
    at -1, so that one chip whose outputs are NaN or overflow does not spoil the mean.

    An image's error counts in whole units of 2^-45 of the variation or less, so that sums are exact
    and have the same bits whatever the batches, parts or order.

    Args:
        reference: What outputs are held against, any shape with images along axis 0.
        metric: `r2` against targets, `agreement-r2` against the ideal chip's outputs.

    Attributes:
        deviation: Standard deviation of the reference: RMSE is sqrt(1 - R^2) times it.
    """

    def __init__(self, reference: NDArray[Any], metric: str = "r2") -> None:
        self.metric = metric
        self._reference = reference.astype(np.float64)
        around = self._reference - self._reference.mean(axis=0)
        self._variation = float(np.sum(around**2))
        self._unit = 2.0 ** (np.frexp(self._variation)[1] - 46) if self._variation else 0.0
        self.deviation = float(np.sqrt(self._variation / max(1, around.size)))

    def add(self, outputs: NDArray[Any], first: int) -> float:
        """Squared error of this batch."""
        off = outputs - self._reference[first : first + len(outputs)]
        with np.errstate(over="ignore"):
            errors = np.square(off).reshape(len(off), -1).sum(axis=1)
            if self._unit:
                errors = np.rint(errors / self._unit) * self._unit
        return float(np.sum(errors))

    def finish(self, total: float, images: int) -> float:
        """1 - squared error / variation of the reference, at least -1."""
        if total == 0:
            return 1.0
        if not np.isfinite(total) or self._variation == 0:
            return -1.0
        return max(-1.0, 1 - total / self._variation)


def score_against(reference: NDArray[Any]) -> Score:
    """The comparison with the ideal chip that suits its outputs: classes, or real values."""
    if reference.ndim >= 2 and reference.shape[1] >= 2:
        return Agreement(reference)
    return Determination(reference, "agreement-r2")


class Tally:
    """Sums up the scores of chips that run side by side.

    A call of `score.add` takes as long for a few images as for a hundred, so outputs wait until
    they are many.

    Args:
        score: How outputs are scored.
        first: The first image.
        chips: How many chips.
    """

    def __init__(self, score: Score, first: int, chips: int) -> None:
        self._score, self._first = score, first
        self._totals = [0.0] * chips
        self._waiting: list[list[NDArray[Any]]] = []
        self._bytes = 0

    def take(self, outputs: list[NDArray[Any]]) -> None:
        """The next images' outputs, one array a chip."""
        self._waiting.append(outputs)
        self._bytes += outputs[0].nbytes
        if self._bytes >= SCORED_BYTES:
            self._add()

    def totals(self) -> list[float]:
        """The sum of every chip."""
        if self._waiting:
            self._add()
        return self._totals

    def _add(self) -> None:
        count = sum(len(each[0]) for each in self._waiting)
        for chip, parts in enumerate(zip(*self._waiting, strict=True)):
            self._totals[chip] += self._score.add(np.concatenate(parts), self._first)
        self._first += count
        self._bytes = 0
        self._waiting.clear()
