"""Mean, spread and ends of a population of chips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nvmc.statistics.kpp import Values, checked_values

__all__ = ["Summary", "summarize"]


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation and minimum of runs.

    Attributes:
        runs: Their number.
        mean: Of all runs; an estimate where some were not run to the end.
        std: With N - 1 in the denominator; None for one run, or where some are not known.
        min: The lowest value.
        mean_bound: Where some chips were not run to the end, the standard deviation of `mean` over
            the order of the images, at most; 0 where it is exact. It is no standard error over
            chips.
        max: The greatest value; None where not all are known.
        less_is_better: Whether that is the worst.
    """

    runs: int
    mean: float
    std: float | None
    min: float
    mean_bound: float = 0.0
    max: float | None = None
    less_is_better: bool = False

    @property
    def worst(self) -> float:
        """The worst chip's value."""
        return self.max if self.less_is_better and self.max is not None else self.min


def summarize(values: Values, *, less_is_better: bool = False) -> Summary:
    """Mean, sample standard deviation, minimum and maximum of the runs' values.

    Raises:
        OptionError: No values, or a value that is not finite.
    """
    array = checked_values(values)
    return Summary(
        runs=array.size,
        mean=float(np.mean(array)),
        std=float(np.std(array, ddof=1)) if array.size > 1 else None,
        min=float(np.min(array)),
        max=float(np.max(array)),
        less_is_better=less_is_better,
    )
