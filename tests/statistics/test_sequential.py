"""Chips in rounds: the intervals of all rounds hold at once."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from nvmc.errors import OptionError
from nvmc.statistics import interval_ranks, percentile_performance
from nvmc.statistics.sequential import chance_of_a_miss, plan_rounds, round_sizes

REPETITIONS = 2000


@pytest.mark.parametrize("sizes", [(4,), (2, 5, 9), (3, 4, 5, 10), (1, 11)])
@pytest.mark.parametrize("k", [50, 30, 12.5])
@pytest.mark.parametrize("nominal", [0.3, 0.6, 0.9])
def test_chance_of_a_miss_is_that_of_enumeration(
    sizes: tuple[int, ...], k: float, nominal: float
) -> None:
    p = Fraction(str(k)) / 100
    ranks = [interval_ranks(runs, k, nominal) for runs in sizes]
    missed = Fraction(0)
    for below in product((0, 1), repeat=sizes[-1]):  # which chips are below the percentile
        counts = [sum(below[:runs]) for runs in sizes]
        pairs = zip(counts, ranks, strict=True)
        if not all(low <= count < high for count, (low, high) in pairs):
            missed += p ** sum(below) * (1 - p) ** (sizes[-1] - sum(below))
    assert chance_of_a_miss(sizes, k, nominal) == pytest.approx(float(missed), abs=1e-12)


@given(
    runs=st.integers(1, 500),
    times=st.floats(1, 40),
    k=st.sampled_from([1, 5, 37.5, 50, 99]),
    confidence=st.sampled_from([0.8, 0.95]),
)
def test_rounds_keep_the_confidence_and_waste_little(
    runs: int, times: float, k: float, confidence: float
) -> None:
    plan = plan_rounds(runs, int(runs * times), k, confidence)
    assert plan.runs[0] == runs and plan.runs[-1] == int(runs * times)
    assert all(b <= 1.5 * a + 1 for a, b in zip(plan.runs, plan.runs[1:], strict=False))
    assert chance_of_a_miss(plan.runs, k, plan.nominal) <= 1 - confidence + 1e-12
    # No surer than Bonferroni asks for, no less sure than one look.
    assert confidence <= plan.nominal <= 1 - (1 - confidence) / len(plan.runs) + 1e-12
    if plan.nominal > confidence + 1e-3:  # a level that is larger by more than the search's step
        looser = plan.nominal - 1e-4 * (1 - confidence)
        assert chance_of_a_miss(plan.runs, k, looser) > 1 - confidence


def test_one_round_is_the_plain_interval() -> None:
    values = np.random.default_rng(4).normal(size=400)
    assert plan_rounds(400, 400, 1).kpp(values) == percentile_performance(values, 1)


@pytest.mark.slow
@pytest.mark.parametrize("k", [5, 50])
@pytest.mark.parametrize("kind", ["continuous", "ties"])
def test_coverage_when_stopping_at_the_precision(k: float, kind: str) -> None:
    rng = np.random.default_rng(20261122)
    plan = plan_rounds(100, 800, k)
    if kind == "continuous":
        truth, width = stats.norm.ppf(k / 100), 0.35
        draws = rng.normal(size=(REPETITIONS, 800))
    else:
        truth, width = stats.binom.ppf(k / 100, 60, 0.9), {5: 2.0, 50: 0.0}[k]
        draws = rng.binomial(60, 0.9, size=(REPETITIONS, 800)).astype(float)
    covered, stopped = 0, []
    for values in draws:
        for runs in plan.runs:
            found = plan.kpp(values[:runs])
            kpp = found.interval
            if kpp.low is not None and kpp.high is not None and kpp.high - kpp.low <= width:
                break
        assert kpp.low is not None and kpp.high is not None
        covered += kpp.low <= truth <= kpp.high
        stopped.append(found.runs)
    assert len(set(stopped)) > 1  # it did stop, and not always at the same round
    error = np.sqrt(0.95 * 0.05 / REPETITIONS)
    assert covered / REPETITIONS >= 0.95 - 2 * error


@pytest.mark.parametrize(("runs", "most", "k"), [(100, 800, 5), (200, 1600, 50), (368, 1500, 1)])
def test_the_worst_stopping_rule_misses_as_often_as_computed(
    runs: int, most: int, k: float
) -> None:
    """It stops at the first interval that misses: nobody can do that, and nothing is worse."""
    plan = plan_rounds(runs, most, k)
    ranks = {n: interval_ranks(n, k, plan.nominal) for n in plan.runs}
    below = np.random.default_rng(5).random((REPETITIONS, most)) < k / 100
    counts: NDArray[np.int64] = np.cumsum(below, axis=1)
    missed = np.zeros(REPETITIONS, bool)
    for n, (low, high) in ranks.items():
        missed |= (counts[:, n - 1] < low) | (counts[:, n - 1] >= high)
    expected = chance_of_a_miss(plan.runs, k, plan.nominal)
    error = np.sqrt(expected * (1 - expected) / REPETITIONS)
    assert abs(missed.mean() - expected) <= 2 * error


def test_the_lowest_are_enough() -> None:
    values = np.random.default_rng(6).random(450)
    plan = plan_rounds(300, 450, 1)
    rank = plan.highest_rank(450)
    assert rank < 20
    assert plan.kpp(np.sort(values)[:rank], 450) == plan.kpp(values)
    with pytest.raises(OptionError, match=f"{rank - 1} values are given; expected {rank} to 450"):
        plan.kpp(np.sort(values)[: rank - 1], 450)


def test_sizes_of_rounds() -> None:
    assert round_sizes(300, 300) == (300,)
    assert round_sizes(300, 450) == (300, 450)
    assert round_sizes(2, 3) == (2, 3)
    assert round_sizes(1, 4) == (1, 2, 3, 4)
    for runs, most in ((0, 10), (10, 9)):
        with pytest.raises(OptionError, match=f"runs is {runs} and max_runs {most}"):
            round_sizes(runs, most)


def test_rounds_that_were_not_planned() -> None:
    with pytest.raises(OptionError, match="301 runs; expected those of a planned round: 300, 450"):
        plan_rounds(300, 450, 1).kpp(np.zeros(301))
    with pytest.raises(OptionError, match="percentile is 0"):
        plan_rounds(300, 450, 0)
    with pytest.raises(OptionError, match="confidence is 1"):
        plan_rounds(300, 450, 1, 1)
