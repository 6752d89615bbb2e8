"""Tables of pairs of chips whose true differences are known, and how often intervals hold them.

A table is a finite population of pairs: chips are drawn from it with replacement, so its own
percentiles and means are the truth, ties and all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.statistics import percentile_performance
from nvmc.statistics.paired import kpp_difference, mean_difference, share_better

__all__ = ["Coverage", "Table", "coverage", "skewed"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Values of two networks on the same chips, each of shape (chips,)."""

    a: Floats
    b: Floats

    def percentile(self, k: float) -> float:
        """The difference of the percentiles of all chips."""
        rank = math.ceil(len(self.a) * k / 100) - 1
        return float(np.sort(self.b)[rank] - np.sort(self.a)[rank])


@dataclass(frozen=True)
class Coverage:
    """Shares of trials in which an interval holds the truth, and mean widths where closed.

    Attributes:
        paired: `KppDifference.chips_alone`.
        bonferroni: Two order-statistic intervals, each with half of the risk.
        mean: `MeanDifference.interval`.
        share: `ShareBetter.interval`.
        student: Student's t for the mean, for comparison: it has no proof here.
        paired_width, bonferroni_width, mean_width, student_width: Widths; NaN where always open.
    """

    paired: float
    bonferroni: float
    mean: float
    share: float
    student: float
    paired_width: float
    bonferroni_width: float
    mean_width: float
    student_width: float


def coverage(table: Table, k: float, chips: int, trials: int, seed: int) -> Coverage:
    """Draw chips anew in every trial."""
    rng, truth = np.random.default_rng(seed), table.percentile(k)
    middle, ahead = np.mean(table.b - table.a), np.mean(table.b > table.a)
    rows: list[list[Any]] = []
    for _ in range(trials):
        drawn = rng.integers(len(table.a), size=chips)
        a, b = table.a[drawn], table.b[drawn]
        found = kpp_difference(a, b, k).chips_alone
        one, two = (percentile_performance(v, k, 0.975).chips_alone for v in (a, b))
        mean, share = mean_difference(a, b, bounds=(0, 1)), share_better(a, b).interval
        assert mean.interval is not None and mean.error is not None
        reach = 1.9648 * mean.error  # Student's t with 500 degrees of freedom
        pairs = [
            (-np.inf if found.low is None else found.low),
            (np.inf if found.high is None else found.high),
            (-np.inf if two.low is None or one.high is None else two.low - one.high),
            (np.inf if two.high is None or one.low is None else two.high - one.low),
        ]
        rows.append(
            [
                pairs[0] <= truth <= pairs[1],
                pairs[2] <= truth <= pairs[3],
                mean.interval.low <= middle <= mean.interval.high,
                share.low <= ahead <= share.high,
                abs(mean.value - middle) <= reach,
                pairs[1] - pairs[0],
                pairs[3] - pairs[2],
                mean.interval.high - mean.interval.low,
                2 * reach,
            ]
        )
    result = np.array(rows)
    result[~np.isfinite(result)] = np.nan
    shares = result[:, :5].mean(axis=0).tolist()
    known = np.isfinite(result[:, 5:])
    sums = np.where(known, result[:, 5:], 0).sum(axis=0)
    widths = np.where(known.any(axis=0), sums / np.maximum(known.sum(axis=0), 1), np.nan)
    return Coverage(*shares, *widths.tolist())


def skewed(seed: int, together: float, chips: int = 20_000, images: int = 531) -> Table:
    """Accuracies with a long tail to the left; `together` is how far both share their fate."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=chips)
    values: list[Floats] = []
    for loss in (0.02, 0.014):
        own = together * common + math.sqrt(1 - together**2) * rng.normal(size=chips)
        quality = 1 - np.minimum(loss * np.exp(own), 1)
        values.append(np.round(quality * images) / images)
    return Table(*values)
