"""What a population of chips is worth: k-th percentile performance and its certainty.

All intervals are distribution-free or exact: none assumes that accuracies are normal, and an end
that the number of runs cannot support is None instead of invented. Formulas: docs/statistics.md.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.statistics import special
from nvmc.statistics.images import Images, ends

__all__ = [
    "Covers",
    "Ends",
    "Interval",
    "Kpp",
    "Values",
    "accuracy_interval",
    "checked_values",
    "highest_rank",
    "interval_ranks",
    "percentile_index",
    "percentile_of_lowest",
    "percentile_performance",
    "runs_needed",
]

Values = Sequence[float] | NDArray[np.floating[Any]]
Covers = Literal["chips and images", "chips"]
"""What an interval is certain over: other images of the same kind too, or these images alone."""


@dataclass(frozen=True)
class Ends:
    """An interval; an end is None where `runs` cannot support it, and `runs_needed` closes both."""

    low: float | None
    high: float | None
    runs_needed: int

    @property
    def closed(self) -> bool:
        """Whether there are both ends."""
        return self.low is not None and self.high is not None

    def turned(self) -> Ends:
        """That of the values with the other sign."""
        low, high = (None if end is None else -end for end in (self.high, self.low))
        return Ends(low, high, self.runs_needed)

    def to_json(self) -> dict[str, float | None]:
        """The keys that `--json` gives everywhere; an open end is null."""
        return {"low": self.low, "high": self.high, "runs_needed": self.runs_needed}


@dataclass(frozen=True)
class Kpp:
    """The k-th percentile performance of N runs, in the unit of the runs' values.

    Attributes:
        k: Percentile.
        value: The KPP of the runs.
        interval: It encloses the k-th percentile of all chips with at least `confidence`: of their
            values on all images of this kind, or only on these, as `covers` says.
        covers: What the interval is certain over.
        chips_alone: It encloses the k-th percentile of the values of all chips on these very
            images, with at least `confidence`.
        confidence: Of each interval.
        runs: Number of chips.
        less_is_better: Whether the worst chips are those of the greatest values, from which k
            counts.
    """

    k: float
    value: float
    interval: Ends
    covers: Covers
    chips_alone: Ends
    confidence: float
    runs: int
    less_is_better: bool = False

    @property
    def is_worst(self) -> bool:
        """Whether it is just the value of the worst chip: fewer than 100 / k chips were run."""
        return self.runs < self.runs_beyond_worst

    @property
    def promised(self) -> float | None:
        """The end of the interval that the percentile is no worse than; None for an open one."""
        return self.interval.high if self.less_is_better else self.interval.low

    def turned(self) -> Kpp:
        """That of the values with the other sign."""
        return replace(
            self,
            value=-self.value,
            interval=self.interval.turned(),
            chips_alone=self.chips_alone.turned(),
            less_is_better=not self.less_is_better,
        )

    @property
    def runs_beyond_worst(self) -> int:
        """Fewest runs whose KPP is not just the worst chip's value: 100 / k, rounded up."""
        return math.ceil(1 / _fraction(self.k))

    def to_json(self) -> dict[str, Any]:
        """The keys that `--json` gives everywhere."""
        return {
            "k": self.k,
            "value": self.value,
            "is_worst": self.is_worst,
            **self.interval.to_json(),
            "covers": self.covers,
            "chips_alone": self.chips_alone.to_json(),
            "confidence": self.confidence,
        }


@dataclass(frozen=True)
class Interval:
    """A closed interval that holds the true value with at least `confidence`."""

    low: float
    high: float
    confidence: float


def percentile_index(runs: int, k: float) -> int:
    """Position of the k-th percentile performance among `runs` values sorted ascending, from 0.

    floor(N k / 100), exactly: k is taken as the decimal it is written as, so that 0.29 of 10,000
    runs is 29 although the nearest double to 0.29 lies below it (TRICE, Alg. 2).

    Raises:
        OptionError: `runs` < 1, or k outside (0, 100).
    """
    if runs < 1:
        raise OptionError(f"runs is {runs}, expected at least 1; simulate at least one chip")
    return math.floor(runs * _fraction(k))


def percentile_performance(
    values: Values,
    k: float,
    confidence: float = 0.95,
    images: Images | None = None,
    *,
    less_is_better: bool = False,
) -> Kpp:
    """K-th percentile performance and its distribution-free two-sided confidence intervals.

    With the values sorted, x_(1) <= ... <= x_(N), p = k / 100 and B ~ Binomial(N, p), the ends for
    chips alone are order statistics: low = x_(l) with the largest l for which
    P(B <= l - 1) <= a / 2, high = x_(u) with the smallest u for which P(B >= u) <= a / 2,
    a = 1 - confidence. Ties only make the interval more certain. `scipy.stats.quantile_test` uses
    the same convention (Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2).

    With `images` the interval holds for other images too (`nvmc.statistics.images`).

    Args:
        values: One value per run, in any order; finite, at least one.
        k: Percentile in (0, 100); 1 asks what about 99 of 100 chips reach.
        confidence: In (0, 1).
        images: What the values are shares of; None where they are no such shares, and the
            interval covers chips alone.
        less_is_better: Whether k counts from the greatest value down, as of errors; then values
            are no shares of images.

    Raises:
        OptionError: k or confidence out of range, no values, or a value that is not finite.
    """
    array = checked_values(values)
    if less_is_better:
        return percentile_of_lowest(-array, array.size, k, confidence).turned()
    return percentile_of_lowest(array, array.size, k, confidence, images=images)


def percentile_of_lowest(
    lowest: Values,
    runs: int,
    k: float,
    confidence: float = 0.95,
    *,
    nominal: float | None = None,
    looks: int = 1,
    images: Images | None = None,
) -> Kpp:
    """`percentile_performance` of `runs` values of which only the lowest are known.

    Args:
        lowest: The lowest values, in any order, at least `highest_rank` of them; more do no harm.
        runs: Number of all values.
        k: Percentile in (0, 100).
        confidence: What the intervals are reported to have, in (0, 1).
        nominal: What the ranks for chips alone are taken for, if that is another: an interval that
            may be looked at several times is wider (`nvmc.statistics.sequential`).
        looks: How many times the interval for chips and images may be looked at.
        images: As in `percentile_performance`.

    Raises:
        OptionError: An argument is out of range, or too few values are given.
    """
    ordered = np.sort(checked_values(lowest))
    _tail(confidence)
    nominal = confidence if nominal is None else nominal
    needed = highest_rank(runs, k, confidence, nominal=nominal, looks=looks, images=images)
    if not needed <= ordered.size <= runs:
        raise OptionError(
            f"{ordered.size} values are given; expected {needed} to {runs}: the lowest of {runs}"
        )
    index = percentile_index(runs, k)
    low, high = interval_ranks(runs, k, nominal)
    alone = Ends(
        low=float(ordered[low - 1]) if low >= 1 else None,
        high=float(ordered[high - 1]) if high <= runs else None,
        runs_needed=runs_needed(k, nominal),
    )
    both = None if images is None else _both(ordered, runs, k, _shared(confidence, looks), images)
    return Kpp(
        k=k,
        value=float(ordered[index]),
        interval=both or alone,
        covers="chips and images" if both else "chips",
        chips_alone=alone,
        confidence=confidence,
        runs=runs,
    )


def _both(
    ordered: NDArray[np.float64], runs: int, k: float, confidence: float, images: Images
) -> Ends:
    """The interval for chips and images."""
    low, high = ends(runs, float(_fraction(k)), _tail(confidence))
    return Ends(
        None if low is None else images.lower(float(ordered[low.rank - 1]), low.risk),
        None if high is None else images.upper(float(ordered[high.rank - 1]), high.risk),
        runs_needed(k, confidence),
    )


def _shared(confidence: float, looks: int) -> float:
    """The confidence of each look that makes all of them hold at once (Bonferroni)."""
    return 1 - (1 - confidence) / looks


def interval_ranks(runs: int, k: float, confidence: float = 0.95) -> tuple[int, int]:
    """Ranks (l, u) of the ends of the KPP's interval, from 1; 0 or `runs` + 1 for an open end.

    Raises:
        OptionError: An argument is out of range.
    """
    percentile_index(runs, k)
    p, tail = float(_fraction(k)), _tail(confidence)
    counts = range(runs + 1)
    low = bisect_right(counts, tail, key=lambda count: special.bdtr(count, runs, p))
    high = bisect_left(counts, -tail, key=lambda count: -special.bdtrc(count, runs, p)) + 1
    return low, high


def highest_rank(
    runs: int,
    k: float,
    confidence: float = 0.95,
    *,
    nominal: float | None = None,
    looks: int = 1,
    images: Images | None = None,
) -> int:
    """Rank, from 1, of the highest value that the KPP of `runs` values or an interval takes.

    Args are those of `percentile_of_lowest`.

    Raises:
        OptionError: An argument is out of range.
    """
    ranks = [percentile_index(runs, k) + 1]
    ranks.append(interval_ranks(runs, k, confidence if nominal is None else nominal)[1])
    if images is not None:
        _, high = ends(runs, float(_fraction(k)), _tail(_shared(confidence, looks)))
        ranks.append(0 if high is None else high.rank)
    return max(rank for rank in ranks if rank <= runs)


def runs_needed(k: float, confidence: float = 0.95) -> int:
    """Smallest number of runs whose interval has both ends: max(p, 1 - p)^N <= a / 2.

    Examples: k = 1 needs 368 at 95 %, k = 5 needs 72, k = 50 needs 6.

    Raises:
        OptionError: k outside (0, 100) or confidence outside (0, 1).
    """
    p, tail = float(_fraction(k)), _tail(confidence)
    log_miss = math.log1p(-p) if p <= 0.5 else math.log(p)
    runs = max(
        1, math.ceil(math.log(tail) / log_miss) - 1
    )  # the quotient is rounded: try from below
    while math.exp(runs * log_miss) > tail:
        runs += 1
    return runs


def accuracy_interval(correct: int, n: int, confidence: float = 0.95) -> Interval:
    """Exact (Clopper-Pearson) interval of a true accuracy, from hits on n independent images.

    It is that of Clopper and Pearson (`Images.lower`); the coverage is at least `confidence`.

    Returns:
        Ends as fractions in [0, 1].

    Raises:
        OptionError: n < 1, correct outside 0 ... n, or confidence outside (0, 1).
    """
    if n < 1:
        raise OptionError(f"n is {n}, expected at least 1; give at least one image")
    if not 0 <= correct <= n:
        raise OptionError(f"correct is {correct}, expected 0 to {n}; count hits among n images")
    tail = _tail(confidence)
    images, share = Images(n), correct / n
    return Interval(images.lower(share, tail), images.upper(share, tail), confidence)


def _fraction(k: float) -> Fraction:
    """K / 100 as the exact fraction of the decimal that k is written as."""
    if not 0 < k < 100:
        raise OptionError(f"percentile is {k}, expected a number between 0 and 100; try 1")
    return Fraction(repr(float(k))) / 100


def _tail(confidence: float) -> float:
    """Probability left to each side of a two-sided interval."""
    if not 0 < confidence < 1:
        raise OptionError(f"confidence is {confidence}, expected between 0 and 1; try 0.95")
    return (1 - confidence) / 2


def checked_values(values: Values) -> NDArray[np.float64]:
    """The values as a float64 vector, at least one and all finite.

    Raises:
        OptionError: They are none.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise OptionError(
            f"values have shape {array.shape}, expected one value per run; simulate first"
        )
    if not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array))[0])
        raise OptionError(f"value {bad} is {array[bad]}, expected finite numbers; drop that run")
    return array
