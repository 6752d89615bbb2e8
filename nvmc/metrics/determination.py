"""The coefficient of determination R^2, for outputs that are no classes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nvmc.metrics.metric import Metric, Reference

__all__ = ["LOWEST", "AgreementR2", "Determination"]

LOWEST = -1e6
"""What a lower R^2 counts as, and that of a chip with outputs that are NaN or infinite."""
_EXACT = -100.0
"""Down to this R^2 sums are exact."""


class Determination(Metric):
    """Coefficient of determination R^2, for outputs that are no classes.

    1 - squared error / variation, both summed over images and outputs; the variation is that around
    each output's own mean over the images (scikit-learn's `r2_score`, variance-weighted). It has no
    lower limit but `LOWEST`, which chips with NaN or infinite outputs get too, so that every value
    is finite.

    An image's error counts in whole units of 2^-45 of the variation or less, so that sums are exact
    and have the same bits whatever the batches, parts or order, while they are below 2^7 variations
    (R^2 above -127). Greater sums are rounded as they grow, in their last bits; values below -100
    are given with 6 digits, which hides that.

    Args:
        reference: What outputs are compared with, any shape with images along axis 0.

    Attributes:
        deviation: Standard deviation of the targets: RMSE is sqrt(1 - R^2) times it.
    """

    name: ClassVar[str] = "r2"
    short: ClassVar[str] = "R²"
    title: ClassVar[str] = "the coefficient of determination R² against the targets"
    reference: ClassVar[Reference] = "values"
    version: ClassVar[int] = 2  # 1 had a floor of -1
    range: ClassVar[tuple[float, float]] = (LOWEST, 1.0)

    def __init__(self, reference: NDArray[Any]) -> None:
        self._reference = reference.astype(np.float64)
        around = self._reference - self._reference.mean(axis=0)
        self._variation = float(np.sum(around**2))
        self._unit = 2.0 ** (np.frexp(self._variation)[1] - 46) if self._variation else 0.0
        self.deviation = float(np.sqrt(self._variation / max(1, around.size)))

    def add(self, outputs: NDArray[Any], first: int) -> float:
        """Squared error of this batch; infinite where an output is no number."""
        off = outputs - self._reference[first : first + len(outputs)]
        with np.errstate(over="ignore"):
            errors = np.square(off).reshape(len(off), -1).sum(axis=1)
            if self._unit:
                errors = np.rint(errors / self._unit) * self._unit
        return float(np.sum(np.where(np.isnan(errors), np.inf, errors)))

    def limits(self, first: int, last: int) -> tuple[float, float]:
        """Errors are squares."""
        return 0.0, np.inf

    def finish(self, total: float, images: int) -> float:
        """1 - squared error / variation of the reference, at least `LOWEST`."""
        if total == 0:
            return 1.0
        if not np.isfinite(total) or self._variation == 0:
            return LOWEST
        value = 1 - total / self._variation
        return value if value >= _EXACT else max(LOWEST, float(f"{value:.6g}"))


class AgreementR2(Determination):
    """R^2 against the ideal chip's outputs, where there are no targets."""

    name: ClassVar[str] = "agreement-r2"
    short: ClassVar[str] = "R² against the ideal chip"
    title: ClassVar[str] = "the coefficient of determination R² against the ideal chip's outputs"
    reference: ClassVar[Reference] = "ideal values"

    def __init__(self, reference: NDArray[Any]) -> None:
        super().__init__(reference)
        self.deviation = None  # nothing is to be met, so there is no error in a unit of its own
