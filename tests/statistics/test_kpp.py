"""K-th percentile performance, its intervals, and the exact interval of an accuracy."""

import math
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nvmc.errors import OptionError
from nvmc.statistics import (
    accuracy_interval,
    highest_rank,
    interval_ranks,
    percentile_index,
    percentile_of_lowest,
    percentile_performance,
    runs_needed,
    summarize,
)


def at_most(count: int, runs: int, p: Fraction) -> Fraction:
    """P(B <= count) for B ~ Binomial(runs, p), summed exactly."""
    return sum(
        (math.comb(runs, i) * p**i * (1 - p) ** (runs - i) for i in range(count + 1)), Fraction(0)
    )


@given(runs=st.integers(1, 10**9), thousandths=st.integers(1, 99_999))
def test_index_is_the_exact_floor(runs: int, thousandths: int) -> None:
    k = float(f"{thousandths // 1000}.{thousandths % 1000:03d}")
    assert percentile_index(runs, k) == runs * thousandths // 100_000


@pytest.mark.parametrize(
    ("runs", "k", "index"),
    [
        (300, 1, 3),
        (100, 29, 29),  # 100 * 0.29 is 28.999999999999996 in floating point
        (10_000, 0.29, 29),
        (1000, 2.5, 25),
        (1000, 0.1, 1),
        (999, 0.1, 0),
        (1, 99.9, 0),
    ],
)
def test_index_of_known_cases(runs: int, k: float, index: int) -> None:
    assert percentile_index(runs, k) == index


def test_value_is_the_order_statistic_whatever_the_order() -> None:
    values = np.random.default_rng(0).permutation(300) / 300
    assert percentile_performance(values, 1).value == 3 / 300
    assert percentile_performance(list(values), 50).value == 150 / 300


@given(
    runs=st.integers(1, 60),
    k=st.sampled_from([1, 2.5, 5, 10, 37.5, 50, 80, 99]),
    confidence=st.sampled_from([0.5, 0.9, 0.95, 0.99]),
)
def test_ends_are_the_tightest_that_exact_sums_allow(
    runs: int, k: float, confidence: float
) -> None:
    result = percentile_performance(np.arange(1.0, runs + 1), k, confidence)
    # On the tail itself (p = 1/2, confidence 1/2) floating point may fall on either side.
    p, tail = Fraction(str(k)) / 100, Fraction(1 - confidence) / 2
    slack = Fraction(1, 10**12)
    low = int(result.interval.low) if result.interval.low is not None else 0
    high = int(result.interval.high) if result.interval.high is not None else runs + 1
    if low > 0:
        assert at_most(low - 1, runs, p) <= tail + slack
    assert at_most(low, runs, p) > tail - slack
    if high <= runs:
        assert 1 - at_most(high - 1, runs, p) <= tail + slack
    assert 1 - at_most(high - 2, runs, p) > tail - slack


@given(
    runs=st.integers(1, 1500),
    k=st.floats(0.01, 99.99),
    confidence=st.floats(0.01, 0.999),
    seed=st.integers(0, 2**32),
)
def test_interval_holds_the_value_and_closes_with_enough_runs(
    runs: int, k: float, confidence: float, seed: int
) -> None:
    values = np.random.default_rng(seed).integers(0, 50, runs) / 50
    result = percentile_performance(values, k, confidence)
    assert result.interval.low is None or result.interval.low <= result.value
    assert result.interval.high is None or result.value <= result.interval.high
    closed = result.interval.low is not None and result.interval.high is not None
    assert closed == (runs >= result.interval.runs_needed)


@pytest.mark.parametrize("runs", [1, 6, 50, 300, 368, 1000])
@pytest.mark.parametrize("k", [0.1, 1, 2.5, 25, 50, 90, 99.9])
def test_convention_is_scipys(runs: int, k: float) -> None:
    values = np.random.default_rng(runs).normal(size=runs)
    theirs = stats.quantile_test(values, q=0, p=k / 100).confidence_interval(0.95)
    ours = percentile_performance(values, k).interval
    for mine, other in ((ours.low, theirs.low), (ours.high, theirs.high)):
        assert (mine is None and np.isnan(other)) or mine == other


@pytest.mark.parametrize(
    ("k", "confidence", "runs"), [(1, 0.95, 368), (99, 0.95, 368), (5, 0.95, 72), (50, 0.95, 6)]
)
def test_runs_needed_of_known_cases(k: float, confidence: float, runs: int) -> None:
    assert runs_needed(k, confidence) == runs


@given(k=st.floats(0.05, 99.95), confidence=st.floats(0.01, 0.999))
def test_runs_needed_is_the_smallest(k: float, confidence: float) -> None:
    p = Fraction(repr(k)) / 100
    miss, tail = max(p, 1 - p), Fraction((1 - confidence) / 2)
    runs = runs_needed(k, confidence)
    # The search compares in floating point: relative error of exp(n log p), n < 2e4, is < 1e-11.
    slack = Fraction(1, 10**11)
    assert Fraction(math.exp(runs * math.log(miss))) <= tail * (1 + slack)
    assert runs == 1 or Fraction(math.exp((runs - 1) * math.log(miss))) > tail * (1 - slack)


def test_runs_needed_does_not_drown_in_a_tiny_percentile() -> None:
    # p = 1e-11; 1 / ln(1 - p) = -1 / p + 1 / 2 + O(p), so N is 3.6888794541139363 / p - 1.84,
    # which is 368,887,945,409.55, rounded up.
    assert runs_needed(1e-9) == 368_887_945_410


REPETITIONS = 2000

# Distributions, with the function that gives their percentiles.
CONTINUOUS = {"normal": stats.norm(), "exponential": stats.expon(), "heavy tails": stats.t(2)}
WITH_TIES = {
    "accuracy on 20 images": stats.binom(20, 0.9),
    "accuracy on 531 images": stats.binom(531, 0.96),
    "two values": stats.bernoulli(0.3),
    "one value": stats.randint(7, 8),
}


def covered(distribution: Any, runs: int, k: float, seed: int) -> float:
    """Share of simulated populations whose interval holds the percentile; open ends hold all."""
    truth = distribution.ppf(k / 100)
    draws = distribution.rvs((REPETITIONS, runs), random_state=np.random.default_rng(seed))
    # All at once, as order statistics; the first populations say that those are the ends.
    first, last = interval_ranks(runs, k)
    padded = np.pad(np.sort(draws), ((0, 0), (1, 1)), constant_values=0).astype(np.float64)
    padded[:, 0], padded[:, -1] = -math.inf, math.inf
    low, high = padded[:, first], padded[:, last]
    for values, *ends in zip(draws[:50], low, high, strict=False):
        interval = percentile_performance(values, k).interval
        assert ends[0] == (-math.inf if interval.low is None else interval.low)
        assert ends[1] == (math.inf if interval.high is None else interval.high)
    return float(np.mean((low <= truth) & (truth <= high)))


def exact_coverage(runs: int, k: float) -> float:
    """P(l <= B < u) for the ranks (l, u) of the ends, without ties."""
    low, high = interval_ranks(runs, k)
    below = stats.binom(runs, k / 100)
    return float(below.cdf(high - 1) - below.cdf(low - 1))


@pytest.mark.parametrize("runs", [300, 400, 1000])
@pytest.mark.parametrize("k", [1, 5, 50])
def test_ranks_cover_at_least_what_they_promise(runs: int, k: float) -> None:
    coverage = exact_coverage(runs, k)
    # Each side misses with at most 2.5 %, and with one more term of the sum by more than that.
    most = stats.binom.pmf(np.arange(runs + 1), runs, k / 100).max()
    assert 0.95 - 1e-12 <= coverage
    if percentile_performance(np.zeros(runs), k).interval.low is not None:
        assert coverage < 0.95 + 2 * most


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTINUOUS)
def test_coverage_is_that_of_the_ranks(name: str) -> None:
    """Within 2 standard errors: of 6 comparisons 0.3 lie outside by chance, 3 once in 550 times."""
    outside = 0
    for runs, k in product((400, 1000), (1, 5, 50)):
        exact = exact_coverage(runs, k)
        error = math.sqrt(exact * (1 - exact) / REPETITIONS)
        difference = abs(covered(CONTINUOUS[name], runs, k, 20261122) - exact)
        outside += difference > 2 * error
        assert difference <= 4 * error
    assert outside <= 2


@pytest.mark.parametrize("name", WITH_TIES)
@pytest.mark.parametrize(("runs", "k"), [(300, 1), (400, 5), (1000, 50)])
def test_ties_only_make_it_surer(name: str, runs: int, k: float) -> None:
    error = math.sqrt(0.95 * 0.05 / REPETITIONS)
    assert covered(WITH_TIES[name], runs, k, 7) >= 0.95 - 2 * error


@given(
    values=st.lists(st.integers(0, 30), min_size=1, max_size=400),
    k=st.sampled_from([1, 2.5, 50, 99]),
    data=st.data(),
)
def test_the_lowest_are_enough(values: list[int], k: float, data: st.DataObject) -> None:
    runs, whole = len(values), percentile_performance(values, k)
    rank = highest_rank(runs, k)
    known = data.draw(st.integers(rank, runs))
    lowest = data.draw(st.permutations(sorted(values)[:known]))
    assert percentile_of_lowest(lowest, runs, k) == whole
    assert sorted(values)[rank - 1] == (
        whole.value if whole.interval.high is None else whole.interval.high
    )
    if rank > 1:
        with pytest.raises(OptionError, match=f"{rank - 1} values are given; expected {rank} to"):
            percentile_of_lowest(lowest[: rank - 1], runs, k)


@given(n=st.integers(1, 400), data=st.data())
def test_accuracy_interval_is_clopper_pearson(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    ours = accuracy_interval(hits, n)
    theirs = stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    # Both invert the incomplete beta function; its inverse is good to some 1e-10.
    assert ours.low == pytest.approx(theirs.low, rel=1e-9, abs=1e-12)
    assert ours.high == pytest.approx(theirs.high, rel=1e-9, abs=1e-12)
    assert ours.low <= hits / n <= ours.high


def test_accuracy_interval_of_all_and_none() -> None:
    # With no hit the upper end solves (1 - q)^n = 0.025, and the other way round.
    assert accuracy_interval(0, 10).low == 0
    assert accuracy_interval(0, 10).high == pytest.approx(1 - 0.025**0.1, rel=1e-9)
    assert accuracy_interval(10, 10).high == 1
    assert accuracy_interval(10, 10).low == pytest.approx(0.025**0.1, rel=1e-9)


def test_summary() -> None:
    result = summarize([1.0, 2.0, 4.0, 5.0])
    # Deviations -2, -1, 1, 2: sum of squares 10, over N - 1 = 3.
    assert (result.runs, result.mean, result.min) == (4, 3.0, 1.0)
    assert result.std == pytest.approx(math.sqrt(10 / 3), rel=1e-15)
    assert summarize([0.5]).std is None


@pytest.mark.parametrize("k", [0, 100, -1, 101, math.nan, math.inf])
def test_percentile_out_of_range(k: float) -> None:
    for call in (lambda: percentile_performance([1.0], k), lambda: runs_needed(k)):
        with pytest.raises(OptionError, match="percentile is .*expected .* between 0 and 100"):
            call()


@pytest.mark.parametrize("confidence", [0, 1, -0.1, 95, math.nan])
def test_confidence_out_of_range(confidence: float) -> None:
    for call in (
        lambda: percentile_performance([1.0], 1, confidence),
        lambda: runs_needed(1, confidence),
        lambda: accuracy_interval(1, 2, confidence),
    ):
        with pytest.raises(OptionError, match="confidence is .*expected between 0 and 1"):
            call()


@pytest.mark.parametrize("values", [[], [[1.0]]])
def test_values_of_wrong_shape(values: list[float]) -> None:
    with pytest.raises(OptionError, match="expected one value per run"):
        percentile_performance(values, 1)
    with pytest.raises(OptionError, match="expected one value per run"):
        summarize(values)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite(bad: float) -> None:
    with pytest.raises(OptionError, match="value 1 is (nan|inf)"):
        percentile_performance([1.0, bad], 1)


def test_counts_out_of_range() -> None:
    with pytest.raises(OptionError, match="n is 0"):
        accuracy_interval(0, 0)
    for hits in (-1, 4):
        with pytest.raises(OptionError, match=f"correct is {hits}, expected 0 to 3"):
            accuracy_interval(hits, 3)
    with pytest.raises(OptionError, match="runs is 0"):
        percentile_index(0, 1)
