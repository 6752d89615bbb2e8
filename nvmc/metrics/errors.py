"""Errors of values in their own unit: root mean square (RMSE) and mean absolute (MAE)."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nvmc.metrics.metric import Metric, Reference, Total

__all__ = ["MAE", "RMSE", "WORST"]

WORST = 1000.0
"""Errors are at most so many standard deviations of the targets, also those of NaN or infinity."""
LIMBS = 6
"""Sums that an error is spread over."""
BITS = 26
"""Bits of each: sums over up to 2^27 images are whole numbers below 2^53, and exact."""
BELOW = 80
"""An image's error counts in units of 2^-80 of what all targets vary by."""

Floats = NDArray[np.float64]


class _Error(Metric):
    """An error in the targets' own unit; less is better.

    Sums are free of errors: each image's error, in whole units of a power of two, is cut into six
    digits of 26 bits, whose sums are whole numbers. So the value has the same bits whatever the
    batches, parts or order.

    Args:
        reference: The target values, any shape with images along axis 0.
    """

    reference: ClassVar[Reference] = "values"
    less_is_better: ClassVar[bool] = True
    percent: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)

    def __init__(self, reference: NDArray[Any]) -> None:
        self._reference = reference.astype(np.float64)
        around: Floats = self._reference - self._reference.mean(axis=0)
        spread = float(np.mean(np.square(around))) ** 0.5
        self._spread = spread or float(np.mean(np.square(self._reference))) ** 0.5 or 1.0
        whole: float = self._of(np.array([self._spread]))[0] * self._reference.size
        self._unit = 2.0 ** int(np.frexp(whole)[1] - BELOW)

    @property
    def shape(self) -> tuple[int, ...]:
        """The digits, the least significant first."""
        return (LIMBS,)

    def add(self, outputs: NDArray[Any], first: int) -> Floats:
        """Digits of this batch's errors; the last is infinite where an output is no number."""
        off = outputs - self._reference[first : first + len(outputs)]
        with np.errstate(over="ignore", invalid="ignore"):
            each = self._of(off).reshape(len(off), -1).sum(axis=1) / self._unit
        lost = ~(each < 2.0 ** (BITS * LIMBS))
        return _digits(np.rint(np.where(lost, 0.0, each)), bool(lost.any()))

    def limits(self, first: int, last: int) -> tuple[Total, Total]:
        """Digits have no sign."""
        return 0.0, math.inf

    def finish(self, total: Any, images: int) -> float:
        """The error, at most `WORST` standard deviations of the targets."""
        digits = [math.ldexp(digit, BITS * place) for place, digit in enumerate(total)]
        mean = math.fsum(digits) * self._unit / max(1, self._reference.size)
        return min(self._back(mean), WORST * self._spread)

    @abstractmethod
    def _of(self, off: Floats) -> Floats:
        """What a deviation counts for."""

    @abstractmethod
    def _back(self, mean: float) -> float:
        """The error from the mean of that."""


class RMSE(_Error):
    """Root mean square error over all images and outputs, in the targets' own unit."""

    name: ClassVar[str] = "rmse"
    short: ClassVar[str] = "RMSE"
    title: ClassVar[str] = "the root mean square error (RMSE) in the targets' unit, less is better"

    def _of(self, off: Floats) -> Floats:
        return np.square(off)

    def _back(self, mean: float) -> float:
        return math.sqrt(mean)


class MAE(_Error):
    """Mean absolute error over all images and outputs, in the targets' own unit."""

    name: ClassVar[str] = "mae"
    short: ClassVar[str] = "MAE"
    title: ClassVar[str] = "the mean absolute error (MAE) in the targets' unit, less is better"

    def _of(self, off: Floats) -> Floats:
        return np.abs(off)

    def _back(self, mean: float) -> float:
        return mean


def _digits(each: Floats, lost: bool) -> Floats:
    """Sums of the digits of whole numbers below 2^156, shape (LIMBS,)."""
    found = np.empty(LIMBS)
    for place in range(LIMBS):
        shifted = np.floor(np.ldexp(each, -BITS * place))
        found[place] = np.sum(np.fmod(shifted, 2.0**BITS))
    if lost:
        found[-1] = math.inf
    return found
