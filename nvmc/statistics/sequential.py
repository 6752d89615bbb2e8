"""Chips in rounds until the KPP is known well enough: intervals that may be looked at repeatedly.

The intervals of all planned rounds hold the percentile at once with the confidence asked for, so
one may stop at any of them for any reason. Construction and comparison: docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.statistics import special
from nvmc.statistics.images import Images
from nvmc.statistics.kpp import (
    Kpp,
    Values,
    highest_rank,
    interval_ranks,
    percentile_of_lowest,
    runs_needed,
)

__all__ = ["Rounds", "chance_of_a_miss", "plan_rounds", "round_sizes"]

GROWTH = 1.5
"""Most that a round multiplies the number of chips by."""
HALVINGS = 20
"""Steps of the search for the rounds' common level."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rounds:
    """Numbers of chips at which the KPP is looked at, and how sure each look must be.

    Attributes:
        runs: Chips of each round, ascending; a round's chips are among those of the next.
        k: Percentile.
        confidence: That all rounds' intervals hold the percentile at once, at least.
        nominal: That a round's interval for chips alone holds it, taken by itself.
    """

    runs: tuple[int, ...]
    k: float
    confidence: float
    nominal: float

    def kpp(
        self,
        values: Values,
        runs: int | None = None,
        images: Images | None = None,
        *,
        less_is_better: bool = False,
    ) -> Kpp:
        """The KPP after a round, with the intervals of that round.

        Args:
            values: The round's values, or the lowest of them, `highest_rank` at least.
            runs: Chips of the round, if not as many as values.
            images: As in `percentile_performance`.
            less_is_better: As there; then all values are needed.

        Raises:
            OptionError: No round has so many chips, or there are too few values.
        """
        if less_is_better:
            return self.kpp(-np.asarray(values, np.float64), runs).turned()
        return percentile_of_lowest(
            values,
            self._planned(runs or len(values)),
            self.k,
            self.confidence,
            nominal=self.nominal,
            looks=len(self.runs),
            images=images,
        )

    def highest_rank(self, runs: int, images: Images | None = None) -> int:
        """Rank, from 1, of the highest value that the round's KPP and intervals take.

        Raises:
            OptionError: No round has so many chips.
        """
        return highest_rank(
            self._planned(runs),
            self.k,
            self.confidence,
            nominal=self.nominal,
            looks=len(self.runs),
            images=images,
        )

    def _planned(self, runs: int) -> int:
        if runs not in self.runs:
            planned = ", ".join(map(str, self.runs))
            raise OptionError(f"{runs} runs; expected those of a planned round: {planned}")
        return runs


def plan_rounds(runs: int, max_runs: int, k: float, confidence: float = 0.95) -> Rounds:
    """Rounds from `runs` to `max_runs` chips whose intervals are valid whenever one stops.

    Raises:
        OptionError: An argument is out of range.
    """
    sizes = round_sizes(runs, max_runs)
    runs_needed(k, confidence)  # complains about either
    low, high = 1 - (1 - confidence) / len(sizes), confidence  # Bonferroni, and a single look
    if chance_of_a_miss(sizes, k, high) <= 1 - confidence:
        low = high
    for _ in range(HALVINGS if low > high else 0):
        middle = (low + high) / 2
        if chance_of_a_miss(sizes, k, middle) <= 1 - confidence:
            low = middle
        else:
            high = middle
    return Rounds(sizes, k, confidence, low)


def round_sizes(runs: int, max_runs: int) -> tuple[int, ...]:
    """Chips of each round: from `runs` to `max_runs`, each at most half as many again.

    Raises:
        OptionError: Not 1 <= runs <= max_runs.
    """
    if not 1 <= runs <= max_runs:
        raise OptionError(
            f"runs is {runs} and max_runs {max_runs}; expected runs of at least 1, and max_runs "
            "of at least runs"
        )
    steps = math.ceil(math.log(max_runs / runs) / math.log(GROWTH) - 1e-9)
    ratio = max_runs / runs
    sizes = {round(runs * ratio ** (step / steps)) for step in range(steps)}
    return tuple(sorted({*sizes, max_runs}))


def chance_of_a_miss(sizes: Sequence[int], k: float, nominal: float) -> float:
    """The chance that any of the rounds' intervals misses the percentile; less with ties.

    The chips below the percentile are counted: B of N in a round is a sum of N Bernoulli(p)
    variables, and nested from round to round. A round's interval (l, u) holds the percentile when
    l <= B < u. The distribution of B while all rounds so far have held is carried from round to
    round, exactly but for rounding.
    """
    p = float(Fraction(repr(float(k))) / 100)
    alive, first, before, missed = np.ones(1), 0, 0, 0.0
    for runs in sizes:
        added, start = _binomial(runs - before, p)
        alive, first, before = np.convolve(alive, added), first + start, runs
        low, high = interval_ranks(runs, k, nominal)
        begin = max(low - first, 0)
        end = max(min(high - first, len(alive)), begin)
        missed += float(alive[:begin].sum() + alive[end:].sum())
        alive, first = alive[begin:end], first + begin
    return missed


def _binomial(runs: int, p: float) -> tuple[Floats, int]:
    """Probabilities of the counts of Binomial(runs, p) that matter, and the first of them."""
    reach = 12 * math.sqrt(runs * p * (1 - p)) + 60  # beyond it all are below 1e-20
    counts = np.arange(
        max(0, math.floor(runs * p - reach)), min(runs, math.ceil(runs * p + reach)) + 1
    )
    log = (
        special.gammaln(runs + 1) - special.gammaln(counts + 1) - special.gammaln(runs - counts + 1)
    )
    log += special.xlogy(counts, p) + special.xlog1py(runs - counts, -p)
    return np.exp(log), int(counts[0])
