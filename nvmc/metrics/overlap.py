"""Overlap of what is predicted with what is labelled, class by class: mIoU, Dice, F1."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nvmc.data import IGNORED
from nvmc.errors import DataError
from nvmc.metrics.decisions import decided_as
from nvmc.metrics.metric import Metric, Reference, Total
from nvmc.metrics.options import whole_option

__all__ = ["F1", "Dice", "MeanIoU", "Overlap"]

Floats = NDArray[np.float64]


class Overlap(Metric):
    """Mean over the classes of an overlap in [0, 1], counted over all decisions that count.

    The classes are those that occur in the labels, the same for every chip: a decision for another
    class is a miss of the labelled one. Counts are whole numbers: for each class the decisions
    that are right, then for each those that are for it. With `only`, the overlap of one class.

    Args:
        labels: Classes of shape (N,) or (N, ...); `IGNORED` where a decision does not count.

    Raises:
        DataError: No label is of the class that is asked for.
    """

    reference: ClassVar[Reference] = "classes"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    only: ClassVar[int | None] = None

    def __init__(self, labels: NDArray[np.integer[Any]]) -> None:
        self._labels = labels
        found, counts = np.unique(labels[labels != IGNORED], return_counts=True)
        if self.only is not None:
            counts, found = counts[found == self.only], found[found == self.only]
        if not found.size:
            what = "" if self.only is None else f" of class {self.only}"
            raise DataError(f"no label{what} counts, so {self.name} says nothing; give others")
        self._found, self._labelled = found.astype(np.int64), counts.astype(np.float64)

    @classmethod
    def of(cls, options: Mapping[str, str]) -> type[Metric]:
        """That of one class, by the option `of`."""
        only = whole_option(cls.name, options, "of", 0)
        name, title = f"{cls.name}:of={only}", f"{cls.title.split(',')[0]}, of class {only}"
        fields = {"only": only, "name": name, "short": f"{cls.short} of class {only}"}
        return type(cls.__name__, (cls,), {**fields, "title": title})

    @property
    def shape(self) -> tuple[int, ...]:
        """Two counts for each class."""
        return (2 * len(self._found),)

    def add(self, outputs: NDArray[Any], first: int) -> Floats:
        """Right decisions for each class in this batch, then all decisions for each."""
        labels = self._labels[first : first + len(outputs)]
        chosen, counted = decided_as(outputs, labels), labels != IGNORED
        size = int(self._found[-1]) + 1
        right = _count(chosen[counted & (chosen == labels)], size)[self._found]
        every = _count(chosen[counted], size)[self._found]
        return np.concatenate([right, every]).astype(np.float64)

    def limits(self, first: int, last: int) -> tuple[Total, Total]:
        """No decision, to all that count."""
        most = float(np.count_nonzero(self._labels[first:last] != IGNORED))
        return 0.0, most

    def finish(self, total: Any, images: int) -> float:
        """The mean over the classes."""
        right, every = np.asarray(total, np.float64).reshape(2, -1)
        return float(np.mean(self._overlap(right, every, self._labelled)))

    @abstractmethod
    def _overlap(self, right: Floats, every: Floats, labelled: Floats) -> Floats:
        """Of each class: decisions that are right, all for it, and labels of it; never all 0."""


class MeanIoU(Overlap):
    """Mean intersection over union: right / (decided or labelled) of each class (PASCAL VOC)."""

    name: ClassVar[str] = "miou"
    short: ClassVar[str] = "mIoU"
    title: ClassVar[str] = "the intersection over union, the mean over the labels' classes (mIoU)"

    def _overlap(self, right: Floats, every: Floats, labelled: Floats) -> Floats:
        return right / (every + labelled - right)


class Dice(Overlap):
    """Dice coefficient 2 right / (decided + labelled) of each class, over all images at once."""

    name: ClassVar[str] = "dice"
    short: ClassVar[str] = "Dice"
    title: ClassVar[str] = "the Dice coefficient, the mean over the labels' classes"

    def _overlap(self, right: Floats, every: Floats, labelled: Floats) -> Floats:
        return 2 * right / (every + labelled)


class F1(Dice):
    """F1, the harmonic mean of precision and recall of each class: the same number as Dice."""

    name: ClassVar[str] = "f1"
    short: ClassVar[str] = "F1"
    title: ClassVar[str] = "F1, the mean over the labels' classes (macro)"


def _count(chosen: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """How often each class from 0 to `size` - 1 is chosen; others are not counted."""
    return np.bincount(chosen[(chosen >= 0) & (chosen < size)], minlength=size)
