"""Perplexity: how likely a network holds what is right, as language models are judged."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nvmc.data import IGNORED
from nvmc.errors import DataError
from nvmc.metrics.metric import Metric, Reference

__all__ = ["Likelihood", "NegativeLogLikelihood", "Perplexity"]

LEAST = float(np.log(np.finfo(np.float64).tiny))
"""A lower log-likelihood counts as this, -708.4 nats; so does NaN."""
MOST = 1e100
"""A higher perplexity counts as this, so that those of chips have a mean and a deviation."""
UNIT = 2.0**-24
"""Nats; an image's log-likelihood counts in whole units, so that sums below 2^29 nats are exact."""


class Likelihood(Metric):
    """The geometric mean of the probabilities that the labels get, exp(mean ln p), in (0, 1].

    It is 1 / perplexity, so that more is better, and orders chips as their mean log-likelihood a
    decision does. Of outputs that hold ln p.

    Args:
        labels: Classes of shape (N,) or (N, ...); `IGNORED` where a decision does not count.
    """

    name: ClassVar[str] = "likelihood"
    short: ClassVar[str] = "1 / perplexity"
    title: ClassVar[str] = "the geometric mean of the labels' probabilities (1 / perplexity)"
    reference: ClassVar[Reference] = "classes"
    log_probabilities: ClassVar[bool] = True
    quantity: ClassVar[str] = "perplexity"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __init__(self, labels: NDArray[np.integer[Any]]) -> None:
        self._labels = labels
        self._decisions = int(np.count_nonzero(labels != IGNORED))

    @classmethod
    def quantity_of(cls, value: float) -> float:
        """Perplexity, 1 / value."""
        return 1 / value if value else float("inf")

    def add(self, outputs: NDArray[Any], first: int) -> float:
        """Log-likelihood of this batch, nats.

        Args:
            outputs: Logarithms of probabilities, shape (N, C, ...).
            first: The first image.

        Raises:
            DataError: The outputs do not have the labels' shape and an axis of classes.
        """
        labels = self._labels[first : first + len(outputs)]
        if outputs.shape[:1] + outputs.shape[2:] != labels.shape:
            raise DataError(
                f"outputs have shape {outputs.shape}, but labels {labels.shape}; expected class "
                "scores for every label"
            )
        place = np.expand_dims(np.maximum(labels, 0), 1)
        each = np.take_along_axis(outputs, place, axis=1)[:, 0].astype(np.float64)
        each = np.where(labels == IGNORED, 0.0, np.fmax(each, LEAST))
        units = np.rint(each.reshape(len(each), -1).sum(axis=1) / UNIT)
        return float(units.sum() * UNIT)

    def limits(self, first: int, last: int) -> tuple[float, float]:
        """The least for each decision; outputs may round a probability of 1 above it."""
        decisions = np.count_nonzero(self._labels[first:last] != IGNORED)
        return decisions * LEAST - (last - first) * UNIT, np.inf

    def finish(self, total: float, images: int) -> float:
        """exp(log-likelihood over the decisions that count)."""
        return float(np.exp(min(0.0, total / max(1, self._decisions)))) if images else 0.0


class Perplexity(Likelihood):
    """The perplexity of the labels, exp(-mean ln p), from 1 to `MOST`; less is better."""

    name: ClassVar[str] = "perplexity"
    short: ClassVar[str] = "perplexity"
    title: ClassVar[str] = "the perplexity, less is better"
    quantity: ClassVar[str] = ""
    less_is_better: ClassVar[bool] = True
    percent: ClassVar[bool] = False
    version: ClassVar[int] = 2
    range: ClassVar[tuple[float, float]] = (1.0, MOST)

    @classmethod
    def quantity_of(cls, value: float) -> float:
        """The value itself."""
        return value

    def finish(self, total: float, images: int) -> float:
        """The inverse of the likelihood, from the same sum."""
        mean = min(0.0, total / max(1, self._decisions)) if images else 0.0
        return MOST if -mean > math.log(MOST) else math.exp(-mean)


class NegativeLogLikelihood(Likelihood):
    """The mean negative log-likelihood of the labels, -mean ln p, in nats; less is better.

    The logarithm of the perplexity (the log loss, or cross-entropy), from the same sums.
    """

    name: ClassVar[str] = "nll"
    short: ClassVar[str] = "NLL"
    title: ClassVar[str] = "the mean negative log-likelihood (NLL) in nats, less is better"
    quantity: ClassVar[str] = ""
    less_is_better: ClassVar[bool] = True
    percent: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, -LEAST + 1.0)

    @classmethod
    def quantity_of(cls, value: float) -> float:
        """The value itself."""
        return value

    def finish(self, total: float, images: int) -> float:
        """The mean over the decisions that count, at least 0: probabilities may round above 1."""
        return max(0.0, -total / max(1, self._decisions)) if images else 0.0
