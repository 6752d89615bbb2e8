"""What a metric is: how the outputs of one chip become one number, batch by batch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Metric", "Reference"]

Reference = Literal["classes", "values", "ideal classes", "ideal values"]
"""What outputs are held against: labels, targets, or the ideal chip's own outputs."""


class Metric(ABC):
    """A metric of one chip on one data set; greater is better.

    It adds up over batches in exact arithmetic (counts, or whole units of a power of two), so that
    no value depends on the size of a batch, the order, or on who ran which part.

    Attributes:
        name: Its name in `METRICS`, in JSON and in a store.
        short: Its name in a table.
        title: What a value is, for the sentence "Values are ...".
        reference: What it holds outputs against.
        counts: Whether it counts decisions, so that values are whole numbers over their number.
        log_probabilities: Whether it wants class scores as the logarithms of probabilities.
        quantity: What people call `quantity_of` a value, such as perplexity; empty where values
            stand for themselves.
        version: Counts changes of what a value is: a store does not take one for another.
        range: Least and greatest value of a chip: a store that holds another one is refused.
        deviation: Standard deviation of the values to be met, shape (); None where there are none.
    """

    name: ClassVar[str]
    short: ClassVar[str]
    title: ClassVar[str]
    reference: ClassVar[Reference]
    counts: ClassVar[bool] = False
    log_probabilities: ClassVar[bool] = False
    quantity: ClassVar[str] = ""
    version: ClassVar[int] = 1
    range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    deviation: float | None = None

    @abstractmethod
    def __init__(self, reference: NDArray[Any]) -> None:
        """Hold outputs against `reference`, with the images along axis 0."""

    @property
    def classes(self) -> NDArray[np.integer[Any]] | None:
        """The class that each decision must be for, where the metric counts such decisions.

        Only then may chips be dropped early (docs/adaptive.md), and be counted on an accelerator.
        """
        return None

    @classmethod
    def quantity_of(cls, value: float) -> float:
        """The quantity that people know, of which a value is another form."""
        return value

    @abstractmethod
    def add(self, outputs: NDArray[Any], first: int) -> float:
        """What the outputs of images `first`, `first` + 1, ... count for."""

    def limits(self, first: int, last: int) -> tuple[float, float]:
        """Least and greatest that images `first` … `last` - 1 can count for, never NaN.

        Only what no chip can come to is refused: limits may be wider than they need to be.
        """
        return -math.inf, math.inf

    @abstractmethod
    def finish(self, total: float, images: int) -> float:
        """The value of one chip from the sum over its images."""
