"""What a metric is: how the outputs of one chip become one number, batch by batch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import OptionError

__all__ = ["Added", "Metric", "Reference", "Total", "total_of"]

Total = float | tuple[float, ...]
"""The sums of one chip: a number, or several in a fixed order."""
Added = float | NDArray[np.float64]
"""What a batch adds to them: a number, or an array of shape `Metric.shape`."""

Reference = Literal["classes", "values", "ideal classes", "ideal values"]
"""What outputs are compared with: labels, targets, or the ideal chip's own outputs."""


class Metric(ABC):
    """A metric of one chip on one data set.

    It adds up one or several sums over batches in exact arithmetic (counts, or whole units of a
    power of two), so that no value depends on the size of a batch, the order, or on who ran which
    part. What is no sum over images, such as a rank of scores, is `whole`.

    Attributes:
        name: Its name in `METRICS`, in JSON and in a store.
        short: Its name in a table.
        title: What a value is, for the sentence "Values are ...".
        reference: What it compares outputs with.
        counts: Whether it counts decisions, so that values are whole numbers over their number.
        log_probabilities: Whether it wants class scores as the logarithms of probabilities.
        quantity: What people call `quantity_of` a value, such as perplexity; empty where values
            stand for themselves.
        less_is_better: Whether a lower value is a better chip, as of errors.
        percent: Whether people read values as shares, in percent; else in the metric's own unit.
        top: How many classes of the greatest scores a decision may choose from to be right.
        whole: Whether it needs a chip's outputs for all images at once.
        detects: Whether it takes boxes that a network detects, any number an image.
        segments: Whether what is detected are masks.
        version: Counts changes of what a value is: a store does not take one for another.
        range: Least and greatest value of a chip: a store that holds another one is refused.
        deviation: Standard deviation of the target values, shape (); None where there are none.
    """

    name: ClassVar[str]
    short: ClassVar[str]
    title: ClassVar[str]
    reference: ClassVar[Reference]
    counts: ClassVar[bool] = False
    log_probabilities: ClassVar[bool] = False
    quantity: ClassVar[str] = ""
    less_is_better: ClassVar[bool] = False
    percent: ClassVar[bool] = True
    top: ClassVar[int] = 1
    whole: ClassVar[bool] = False
    detects: ClassVar[bool] = False
    segments: ClassVar[bool] = False
    version: ClassVar[int] = 1
    range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    deviation: float | None = None

    @abstractmethod
    def __init__(self, reference: NDArray[Any]) -> None:
        """Hold outputs against `reference`, with the images along axis 0."""

    @classmethod
    def of(cls, options: Mapping[str, str]) -> type[Metric]:
        """The metric with options, as written behind its name: `accuracy:k=5`.

        Raises:
            OptionError: It has no such option, or not that value of it.
        """
        raise OptionError(
            f"metric {cls.name!r} has no option {', '.join(options)}; expected the name alone"
        )

    @classmethod
    def accepts(cls, reference: Reference) -> bool:
        """Whether it can hold outputs against that."""
        return reference == cls.reference

    @classmethod
    def identity(cls) -> dict[str, str]:
        """What decides its values beside its name and version, for the key of a store.

        Raises:
            OptionError: Nobody could tell it from another.
        """
        return {}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the sums: () for one, (K,) for several."""
        return ()

    @property
    def classes(self) -> NDArray[np.integer[Any]] | None:
        """The class that each decision must be for, where the metric counts such decisions.

        Only then may chips be dropped early (docs/adaptive.md), be counted on an accelerator, and
        have an interval for other images, too.
        """
        return None

    @classmethod
    def quantity_of(cls, value: float) -> float:
        """The quantity that people know, of which a value is another form."""
        return value

    @abstractmethod
    def add(self, outputs: NDArray[Any], first: int) -> Added:
        """What the outputs of images `first`, `first` + 1, ... count for, of shape `shape`."""

    def limits(self, first: int, last: int) -> tuple[Total, Total]:
        """Least and greatest that images `first` … `last` - 1 can count for, never NaN.

        Only what no chip can come to is refused: limits may be wider than they need to be.
        """
        return -math.inf, math.inf

    @abstractmethod
    def finish(self, total: Any, images: int) -> float:
        """The value of one chip from its sums over the images, a number or `shape` of them."""


def total_of(sums: Added) -> Total:
    """The sums of one chip as they are kept: a number, or a tuple of several."""
    return float(sums) if np.ndim(sums) == 0 else tuple(np.asarray(sums, np.float64).tolist())
