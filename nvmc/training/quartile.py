"""The quartile search of TRICE (Alg. 3, lines 4 and 9-27): a maximum by comparing three points.

Yan et al., ICCAD 2023 (arXiv:2307.15853), Sec. III-E. Pure: a search is a pair of ends and never
changes; `narrowed` gives the next one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["QuartileSearch"]

LEFT, MIDDLE, RIGHT = 0, 1, 2


@dataclass(frozen=True)
class QuartileSearch:
    """An interval that holds the maximum of a function with one hump.

    Attributes:
        start: Lower end.
        end: Upper end.
        tolerance: Width below which the search is over. Alg. 3 stops where the width is below it;
            the text of Sec. III-E says "at most", which is the same but for one number.

    Where the middle point wins the width halves, where an outer one wins a quarter goes. So from
    2 sigma_d down to 1e-4 it takes log2(w) to log4/3(w) comparisons, w = 2e4 sigma_d: 12 to 29 at
    sigma_d = 0.2. An end that was cut off never comes back, so a comparison that noise decided
    wrongly is not made good.
    """

    start: float
    end: float
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.end) and self.start <= self.end):
            raise ValueError(
                f"the search goes from {self.start} to {self.end}; the first must be at most the "
                "second, and both finite"
            )
        if not self.tolerance > 0:
            raise ValueError(f"tolerance is {self.tolerance}; it must be above 0")

    @property
    def points(self) -> tuple[float, float, float]:
        """The three quartiles of the interval: left, mid and right."""
        width = self.end - self.start
        return (
            self.start + 1 * width / 4,
            self.start + 2 * width / 4,
            self.start + 3 * width / 4,
        )

    @property
    def over(self) -> bool:
        """Whether the interval is narrower than the tolerance; its answer is then `start`."""
        return self.end - self.start < self.tolerance

    def narrowed(self, scores: Sequence[float]) -> tuple[QuartileSearch, int]:
        """The search after one comparison.

        Args:
            scores: What the function is at `points`; higher is better, and a NaN loses.

        Returns:
            The narrower search, and which of the three points won (0, 1 or 2). Ties go as the
            order of Alg. 3 has it: to the middle before an outer point, to left before right.
        """
        left, _, right = self.points
        first, second, third = (-math.inf if math.isnan(score) else score for score in scores)
        best = max(first, second, third)
        if best == second:
            return QuartileSearch(left, right, self.tolerance), MIDDLE
        if best == first:
            return QuartileSearch(self.start, right, self.tolerance), LEFT
        return QuartileSearch(left, self.end, self.tolerance), RIGHT
