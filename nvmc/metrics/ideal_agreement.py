"""Agreement: the share of decisions that equal the ideal chip's, where there are no labels."""

from __future__ import annotations

from typing import ClassVar

from nvmc.metrics.accuracy import Accuracy
from nvmc.metrics.metric import Reference

__all__ = ["Agreement"]


class Agreement(Accuracy):
    """Share of decisions that equal the ideal chip's on the same inputs, in [0, 1].

    Args:
        labels: What the ideal chip decides, shape (N,) or (N, ...); -1, with which no decision
            agrees, where a NaN is among its outputs (`nvmc.metrics.decisions`).
    """

    name: ClassVar[str] = "agreement"
    short: ClassVar[str] = "agreement with the ideal chip"
    title: ClassVar[str] = "the share of decisions that equal the ideal chip's"
    reference: ClassVar[Reference] = "ideal classes"
