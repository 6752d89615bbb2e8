"""Paired differences: against slow loops in exact fractions, and coverage by simulation."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nvmc.errors import OptionError
from nvmc.statistics import Images, percentile_performance
from nvmc.statistics.paired import kpp_difference, mean_difference, share_better
from pairs_of_chips import coverage, skewed

Pairs = list[tuple[int, int]]


def binomial_tail(at_least: int, of: int, p: Fraction) -> Fraction:
    """P(Binomial(of, p) >= at_least), exactly."""
    terms = (math.comb(of, i) * p**i * (1 - p) ** (of - i) for i in range(at_least, of + 1))
    return sum(terms, Fraction(0))


def slow_low(a: list[int], b: list[int], p: Fraction, tail: Fraction) -> int | None:
    """The lower end by trying every pair of values that there are."""
    runs, each = len(a), tail / 3
    ups = [u for u in range(1, runs + 1) if binomial_tail(u, runs, p) <= each]
    downs = [n for n in range(1, runs + 1) if 1 - binomial_tail(n, runs, p) <= each]
    if not ups or not downs:
        return None
    greatest, least = sorted(a)[ups[0] - 1], sorted(b)[downs[-1] - 1]
    found: list[int] = []
    for x, y in itertools.product(set(a), set(b)):
        only_a = sum(i < x and j > y for i, j in zip(a, b, strict=True))
        only_b = sum(i >= x and j <= y for i, j in zip(a, b, strict=True))
        refused = binomial_tail(only_a, only_a + only_b, Fraction(1, 2)) <= each
        if x <= greatest and y >= least and not refused:
            found.append(y - x)
    return min(found)


@given(
    pairs=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=40),
    k=st.sampled_from([10, 25, 50, 80]),
    together=st.booleans(),
)
def test_ends_are_those_of_a_slow_loop(pairs: Pairs, k: int, together: bool) -> None:
    a = [i for i, _ in pairs]
    b = [i + 2 + j // 5 for i, j in pairs] if together else [j for _, j in pairs]
    found = kpp_difference(np.array(a, float), np.array(b, float), k, 0.9).chips_alone
    p, tail = Fraction(k, 100), Fraction(1, 20)
    other = slow_low(b, a, p, tail)
    assert found.low == slow_low(a, b, p, tail)
    assert found.high == (None if other is None else -other)


def test_pairs_that_move_together_leave_little_open() -> None:
    """Each chip gains the same: the difference is certain, whatever the spread of the chips."""
    a = np.random.default_rng(1).gamma(2.0, size=600)
    found = kpp_difference(a, a + 3, 50)
    low, high = found.chips_alone.low, found.chips_alone.high
    two = percentile_performance(a, 50, 0.975).chips_alone
    assert low is not None and high is not None and two.low is not None and two.high is not None
    assert low <= 3 <= high and high - low < (two.high - two.low)  # half of Bonferroni's width


def test_open_ends_need_as_many_chips_as_are_said() -> None:
    rng = np.random.default_rng(2)
    needed = kpp_difference([0.5], [0.5], 1).chips_alone.runs_needed
    assert needed == math.ceil(math.log(0.025 / 3) / math.log(0.99)) == 477
    for runs, closed in ((needed - 1, False), (needed, True)):
        a, b = rng.random((2, runs))
        assert kpp_difference(a, b, 1).chips_alone.closed is closed


def test_chips_and_images_are_two_intervals_with_half_of_the_risk() -> None:
    rng = np.random.default_rng(3)
    a, b = (rng.binomial(531, q, 600) / 531 for q in (0.95, 0.97))
    found, images = kpp_difference(a, b, 5, 0.9, Images(531)), Images(531)
    one, two = (percentile_performance(v, 5, 0.95, images) for v in (a, b))
    assert found.covers == "chips and images"
    assert found.interval.low == two.interval.low - one.interval.high  # type: ignore[operator]
    assert found.interval.high == two.interval.high - one.interval.low  # type: ignore[operator]
    assert found.value == two.value - one.value


def test_less_is_better_turns_all() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.gamma(2.0, size=(2, 700))
    errors, scores = kpp_difference(a, b, 5, less_is_better=True), kpp_difference(-a, -b, 5)
    assert errors.value == -scores.value
    assert errors.chips_alone == scores.chips_alone.turned()
    assert errors.value == pytest.approx(
        percentile_performance(b, 5, less_is_better=True).value
        - percentile_performance(a, 5, less_is_better=True).value
    )
    turned = share_better(a, b, less_is_better=True)
    assert turned == share_better(-a, -b) and turned.better == int(np.sum(b < a))


def test_swapping_the_networks_turns_the_difference() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.random((2, 500))
    there, back = kpp_difference(a, b, 5), kpp_difference(b, a, 5)
    assert there.value == -back.value and there.chips_alone == back.chips_alone.turned()
    mean, other = mean_difference(a, b, bounds=(0, 1)), mean_difference(b, a, bounds=(0, 1))
    assert mean.interval is not None and other.interval is not None
    assert mean.interval.low == pytest.approx(-other.interval.high, abs=1e-12)


def test_mean_against_a_loop_of_bets() -> None:
    """The wealth of each bet, chip by chip, at the end that was found and around it."""
    rng = np.random.default_rng(6)
    a = 1 - rng.gamma(1.0, 0.02, size=200).clip(max=1)
    b = np.clip(a + rng.normal(0.01, 0.005, size=200), 0, 1)
    found = mean_difference(a, b, bounds=(0, 1))
    assert found.interval is not None
    assert found.value == pytest.approx(np.mean(b) - np.mean(a))
    assert found.error == pytest.approx(float(np.std(b - a, ddof=1)) / math.sqrt(200))

    def most_wealth(mean: float) -> float:
        wealth, most, centre, spread = 1.0, 0.0, 0.5, 0.25
        total, squares = 0.5, 0.25
        for i, share in enumerate((b - a + 1) / 2, 1):
            bet = min(math.sqrt(2 * math.log(40) / (200 * spread)), 0.99 / mean)
            wealth *= 1 + bet * (share - mean)
            most, total = max(most, wealth), total + share
            centre = total / (i + 1)
            squares += (share - centre) ** 2
            spread = squares / (i + 1)
        return most

    low = (found.interval.low + 1) / 2
    assert most_wealth(low - 1e-6) > 40 > most_wealth(low + 1e-6)


def test_without_bounds_no_interval_of_the_mean() -> None:
    assert mean_difference([1.0, 2.0], [2.0, 4.0]).interval is None
    assert mean_difference([1.0, 2.0], [2.0, 4.0], bounds=(0, math.inf)).interval is None
    assert mean_difference([0.5], [0.25]).error is None
    with pytest.raises(OptionError, match="outside 0 to 1"):
        mean_difference([0.5], [1.5], bounds=(0, 1))


def test_share_counts_ties_apart() -> None:
    found = share_better([0.1, 0.2, 0.3, 0.4], [0.2, 0.2, 0.2, 0.5])
    assert (found.better, found.equal, found.worse, found.value) == (2, 1, 1, 0.5)
    low, high = found.interval.low, found.interval.high  # 2 of 4, as SciPy's Beta quantiles
    assert (low, high) == pytest.approx(
        (float(stats.beta.ppf(0.025, 2, 3)), float(stats.beta.ppf(0.975, 3, 2)))
    )


def test_values_must_be_pairs() -> None:
    for call in (lambda: kpp_difference([0.5], [0.5, 0.6], 1), lambda: share_better([1, 2], [1])):
        with pytest.raises(OptionError, match="expected those of the same chips"):
            call()


@pytest.mark.parametrize("k", [1, 5, 50])
@pytest.mark.parametrize("together", [0.0, 0.9, 1.0])
def test_coverage_of_skewed_chips(k: float, together: float) -> None:
    """A part of tests/benchmarks/study_compare.py: at least 95 % less two standard errors."""
    found = coverage(skewed(7, together), k, chips=500, trials=60, seed=8)
    least = 0.95 - 2 * math.sqrt(0.95 * 0.05 / 60)
    assert min(found.paired, found.bonferroni, found.mean, found.share) >= least
    if together == 1.0 and k > 1:  # at k = 1 both end at the very lowest chips
        assert found.paired_width < 0.8 * found.bonferroni_width
