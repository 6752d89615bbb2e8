"""Two populations of chips that share their random numbers: how far apart they are.

Chip i of both has one name (seed, number), so what counts are the pairs (a_i, b_i), independent
over i. Nothing is assumed of how the values of a pair hang together, or of their distribution; an
end that the number of chips cannot support is None. Proofs: docs/statistics.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.statistics import special
from nvmc.statistics.images import Images
from nvmc.statistics.kpp import (
    Covers,
    Ends,
    Interval,
    Values,
    accuracy_interval,
    checked_values,
    interval_ranks,
    percentile_index,
    percentile_performance,
    runs_needed,
)

__all__ = [
    "KppDifference",
    "MeanDifference",
    "ShareBetter",
    "kpp_difference",
    "mean_difference",
    "share_better",
]

Floats = NDArray[np.float64]

CONSTRAINTS = 3
"""What an end of the KPP's difference may miss by: two ranks, and the pairs' test."""
CAP = 0.99
"""Share of the wealth of a bet that one chip can take at most."""
HALVINGS = 60


@dataclass(frozen=True)
class KppDifference:
    """KPP of b less that of a, in the unit of the values.

    Attributes:
        k: Percentile.
        value: Difference of the two KPPs.
        interval: It holds the difference of the two percentiles with at least `confidence`: of
            values on all images of this kind, or only on these, as `covers` says.
        covers: What the interval is certain over.
        chips_alone: It holds the difference of the percentiles of all chips' values on these very
            images, with at least `confidence`; from the pairs.
        confidence: Of each interval.
        runs: Number of pairs.
    """

    k: float
    value: float
    interval: Ends
    covers: Covers
    chips_alone: Ends
    confidence: float
    runs: int

    def turned(self) -> KppDifference:
        """That of the values with the other sign."""
        return replace(
            self,
            value=-self.value,
            interval=self.interval.turned(),
            chips_alone=self.chips_alone.turned(),
        )

    def to_json(self) -> dict[str, Any]:
        """The keys of `kpp_difference` in `--json`."""
        return {
            "k": self.k,
            "value": self.value,
            **self.interval.to_json(),
            "covers": self.covers,
            "chips_alone": self.chips_alone.to_json(),
            "confidence": self.confidence,
        }


@dataclass(frozen=True)
class MeanDifference:
    """Mean of b less that of a over the chips, on these images.

    Attributes:
        value: Mean of the differences.
        error: Standard error of it over chips; None for one pair. It is no interval.
        interval: It holds the difference of all chips' means with at least its confidence; None
            where values have no bounds, as then no such interval exists.
        runs: Number of pairs.
    """

    value: float
    error: float | None
    interval: Interval | None
    runs: int

    def to_json(self) -> dict[str, Any]:
        """The keys of `mean_difference` in `--json`."""
        found = self.interval
        return {
            "value": self.value,
            "standard_error": self.error,
            "low": None if found is None else found.low,
            "high": None if found is None else found.high,
            "confidence": None if found is None else found.confidence,
            "covers": "chips",
        }


@dataclass(frozen=True)
class ShareBetter:
    """On how many chips b is better than a, on these images.

    Attributes:
        better: Chips on which b is better.
        equal: Chips on which both have one value.
        worse: Chips on which a is better.
        interval: It holds the share of all chips on which b is better, by Clopper and Pearson.
    """

    better: int
    equal: int
    worse: int
    interval: Interval

    @property
    def value(self) -> float:
        """The share of the chips on which b is better; chips with one value count as not."""
        return self.better / (self.better + self.equal + self.worse)

    def to_json(self) -> dict[str, Any]:
        """The keys of `share_better` in `--json`."""
        return {
            "value": self.value,
            "low": self.interval.low,
            "high": self.interval.high,
            "confidence": self.interval.confidence,
            "better": self.better,
            "equal": self.equal,
            "worse": self.worse,
            "covers": "chips",
        }


def kpp_difference(
    a: Values,
    b: Values,
    k: float,
    confidence: float = 0.95,
    images: Images | None = None,
    *,
    less_is_better: bool = False,
) -> KppDifference:
    """KPP of b less KPP of a, with intervals that hold for any distribution.

    For chips alone, each end has a risk t = (1 - confidence) / 2 in three equal parts. The lower
    end is the least y - x with

    - x at most the order statistic of a that is below its percentile with a chance of t / 3,
    - y at least the order statistic of b that is above its percentile with a chance of t / 3,
    - (x, y) not refused at t / 3 by the sign test of McNemar (Psychometrika 12, 1947): of the
      chips that are low for one of the two only, each is as likely to be of a as of b.

    For chips and images it is Bonferroni over the two intervals of `percentile_performance`, each
    of which has half of the risk.

    Args:
        a: One value per chip, shape (runs,); finite.
        b: Those of the same chips, in the same order.
        k: Percentile in (0, 100).
        confidence: Of each interval, in (0, 1).
        images: What the values are shares of; None where they are no such shares.
        less_is_better: Whether k counts from the greatest value down, as of errors.

    Raises:
        OptionError: The values are no pairs, or an argument is out of range.
    """
    first, second = _pairs(a, b)
    if less_is_better:
        return kpp_difference(-first, -second, k, confidence).turned()
    half = (1 + confidence) / 2
    one, other = (percentile_performance(v, k, half, images) for v in (first, second))
    low, high = _low(first, second, k, confidence), _low(second, first, k, confidence)
    alone = Ends(low, None if high is None else -high, runs_needed(k, _each(confidence)))
    both = Ends(
        _less(other.interval.low, one.interval.high),
        _less(other.interval.high, one.interval.low),
        runs_needed(k, half),
    )
    covers = one.covers
    value = other.value - one.value
    chosen = both if covers == "chips and images" else alone
    return KppDifference(k, value, chosen, covers, alone, confidence, first.size)


def mean_difference(
    a: Values, b: Values, confidence: float = 0.95, bounds: tuple[float, float] | None = None
) -> MeanDifference:
    """Mean of b - a over the chips, with an interval that holds for any values within bounds.

    It is the betting interval of Waudby-Smith and Ramdas (JRSS B 86, 2024, section 4): a wealth
    that is bet on the mean being above m, chip by chip, is at least 2 / (1 - confidence) at some
    time with a chance of at most (1 - confidence) / 2 if it is not (Ville's inequality).

    Args:
        a: One value per chip, shape (runs,); finite.
        b: Those of the same chips, in the same order.
        confidence: In (0, 1).
        bounds: Least and greatest value that a chip can have; None or infinite where there are
            none, and then there is no interval: a rare chip could move the mean by any amount.

    Raises:
        OptionError: The values are no pairs, lie outside the bounds, or confidence is no share.
    """
    first, second = _pairs(a, b)
    difference = second - first
    runs, mean = difference.size, float(np.mean(difference))
    error = float(np.std(difference, ddof=1)) / math.sqrt(runs) if runs > 1 else None
    width = math.inf if bounds is None else bounds[1] - bounds[0]
    if bounds is None or not math.isfinite(width):
        return MeanDifference(mean, error, None, runs)
    if min(first.min(), second.min()) < bounds[0] or max(first.max(), second.max()) > bounds[1]:
        raise OptionError(f"values lie outside {bounds[0]:g} to {bounds[1]:g}; give their bounds")
    shares = (difference / width + 1) / 2
    level = _risk(confidence)
    low, high = _bet_low(shares, level), 1 - _bet_low(1 - shares, level)
    ends = Interval(width * (2 * low - 1), width * (2 * high - 1), confidence)
    return MeanDifference(mean, error, ends, runs)


def share_better(
    a: Values, b: Values, confidence: float = 0.95, *, less_is_better: bool = False
) -> ShareBetter:
    """On how many chips b is better than a, with Clopper and Pearson's interval.

    Raises:
        OptionError: The values are no pairs, or confidence is out of range.
    """
    first, second = _pairs(a, b)
    if less_is_better:
        first, second = second, first
    better, equal = int(np.sum(second > first)), int(np.sum(second == first))
    interval = accuracy_interval(better, first.size, confidence)
    return ShareBetter(better, equal, first.size - better - equal, interval)


def _low(a: Floats, b: Floats, k: float, confidence: float) -> float | None:
    """The lower end of the difference of percentiles, b less a, for chips alone."""
    runs = a.size
    percentile_index(runs, k)
    level, each = _risk(confidence) / CONSTRAINTS, _each(confidence)
    least, most = interval_ranks(runs, k, each)
    if least < 1 or most > runs:
        return None
    xs, ys = np.sort(a)[:most], np.sort(b)
    at = least - 1
    low = math.inf
    for x in np.unique(xs):
        below = a < x
        # The least y that is not refused rises with x, so the search goes on where it was.
        first, last = at, runs - 1
        while first < last:
            middle = (first + last) // 2
            if _refused(below, b <= ys[middle], level):
                first = middle + 1
            else:
                last = middle
        at = first
        low = min(low, float(ys[at] - x))
    return low


def _refused(low_a: NDArray[np.bool_], low_b: NDArray[np.bool_], level: float) -> bool:
    """Whether too many chips are low for a alone, beside those that are low for b alone."""
    only_a = int(np.count_nonzero(low_a & ~low_b))
    only_b = int(np.count_nonzero(low_b & ~low_a))
    if not only_a:
        return False
    return bool(special.bdtrc(only_a - 1, only_a + only_b, 0.5) <= level)


def _bet_low(shares: Floats, level: float) -> float:
    """What the mean of values in [0, 1] is above but for a chance of `level`."""
    runs = shares.size
    counts = np.arange(1, runs + 1)
    means = (0.5 + np.cumsum(shares)) / (counts + 1)
    variances = (0.25 + np.cumsum(np.square(shares - means))) / (counts + 1)
    before = np.concatenate([[0.25], variances[:-1]])  # a bet knows the chips before it only
    stakes = np.sqrt(2 * math.log(1 / level) / (runs * before))

    def refused(mean: float) -> bool:
        bets = np.minimum(stakes, CAP / mean)
        wealth = np.cumsum(np.log1p(bets * (shares - mean)))
        return bool(wealth.max() >= math.log(1 / level))

    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if refused(middle) else (low, middle)
    return low


def _pairs(a: Values, b: Values) -> tuple[Floats, Floats]:
    first, second = checked_values(a), checked_values(b)
    if first.size != second.size:
        raise OptionError(
            f"there are {first.size} and {second.size} values; expected those of the same chips"
        )
    return first, second


def _risk(confidence: float) -> float:
    """Of either end."""
    if not 0 < confidence < 1:
        raise OptionError(f"confidence is {confidence}, expected between 0 and 1; try 0.95")
    return (1 - confidence) / 2


def _each(confidence: float) -> float:
    """The confidence of a two-sided interval, each end of which has a third of an end's risk."""
    return 1 - 2 * _risk(confidence) / CONSTRAINTS


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other
