"""Intervals over chips and images both: the bound behind them, and what they cover."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from chips_and_images import WORLDS, coverage
from nvmc.errors import OptionError
from nvmc.statistics import Images, highest_rank, percentile_performance
from nvmc.statistics.images import ends
from nvmc.statistics.sequential import plan_rounds

TAIL = 0.025


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5, 0.9])
@pytest.mark.parametrize("runs", [1, 7, 60, 400, 3000])
def test_no_way_to_go_wrong_together_misses_more_often(runs: int, share: float) -> None:
    """A share d of the low chips is flattered, d random with a mean of `risk`: at worst TAIL.

    The worst law has mass at two points, 0 or less and d >= risk (Caratheodory), with chances that
    give the mean; the chance of a miss is a binomial sum at each.
    """
    low, high = ends(runs, share, TAIL)
    for end, far in ((low, share), (high, 1 - share)):
        if end is None:
            assert (1 - far) ** runs >= TAIL
            continue
        rank = end.rank if end is low else runs + 1 - end.rank
        d = np.geomspace(end.risk, 1, 3001)[1:]
        missed = stats.binom.cdf(rank - 1, runs, far * (1 - d))
        none = stats.binom.cdf(rank - 1, runs, far)
        chance = end.risk / d
        assert np.all(chance * missed + (1 - chance) * none <= TAIL * (1 + 1e-9))


@pytest.mark.parametrize(("runs", "share"), [(400, 0.01), (1000, 0.05), (100, 0.5)])
def test_the_bound_is_nearly_reached(runs: int, share: float) -> None:
    for end, far in zip(ends(runs, share, TAIL), (share, 1 - share), strict=True):
        assert end is not None
        rank = end.rank if far == share else runs + 1 - end.rank
        d = np.geomspace(end.risk, 1, 3001)
        missed = stats.binom.cdf(rank - 1, runs, far * (1 - d))
        none = stats.binom.cdf(rank - 1, runs, far)
        assert np.max(end.risk / d * missed + (1 - end.risk / d) * none) >= 0.9 * TAIL


@given(n=st.integers(1, 60), decisions=st.integers(1, 3), data=st.data())
def test_the_true_mean_is_missed_by_no_more_than_the_risk(
    n: int, decisions: int, data: st.DataObject
) -> None:
    """For independent decisions of one mean the chance of a miss is a sum over all outcomes."""
    risk, mean = data.draw(st.floats(1e-6, 0.3)), data.draw(st.floats(1e-9, 1 - 1e-9))
    images, hits = Images(n, decisions), np.arange(n * decisions + 1)
    chances = stats.binom.pmf(hits, n * decisions, mean)
    lower, upper = (
        np.array([end(hit / (n * decisions), risk) for hit in hits])
        for end in (images.lower, images.upper)
    )
    assert chances[lower > mean + 1e-9].sum() <= risk + 1e-9
    assert chances[upper < mean - 1e-9].sum() <= risk + 1e-9
    assert np.all(np.diff(lower) >= 0) and np.all(np.diff(upper) >= 0)


def test_decisions_of_one_image_may_hang_together() -> None:
    """All decisions of an image right or all wrong: n coins, whatever the number of decisions."""
    n, risk = 40, 0.01
    for mean in (0.5, 0.9, 0.99):
        chances = stats.binom.pmf(np.arange(n + 1), n, mean)
        lower = np.array([Images(n, 100).lower(hits / n, risk) for hits in range(n + 1)])
        assert chances[lower > mean].sum() <= risk
    # As if all 4,000 decisions were independent, the end would lie above a mean that is missed.
    assert (
        Images(n, 100).lower(0.9, risk) < Images(n).lower(0.9, risk) < Images(4000).lower(0.9, risk)
    )


def test_ends_of_one_chip_type() -> None:
    """Clopper and Pearson's end solves P(X >= hits) = risk; with no miss it is risk^(1/n)."""
    assert Images(531).lower(1, 0.01) == pytest.approx(0.01 ** (1 / 531), rel=1e-9)
    assert Images(531).lower(0, 0.01) == 0 and Images(531, 3).lower(0, 0.01) == 0
    assert Images(531).upper(1, 0.01) == 1 and Images(531, 3).upper(1, 0.01) == 1
    solved = optimize.brentq(lambda q: stats.binom.sf(519, 531, q) - 0.01, 0.5, 1)
    assert Images(531).lower(520 / 531, 0.01) == pytest.approx(solved, rel=1e-9)
    # Hoeffding's end with no miss: n ln(1/q) = ln(1/risk), the same.
    assert Images(50, 4).lower(1, 0.01) == pytest.approx(0.01 ** (1 / 50), rel=1e-9)


@given(runs=st.integers(1, 800), k=st.sampled_from([1, 5, 37.5, 50, 99]), seed=st.integers(0, 99))
def test_the_interval_lies_around_that_of_chips_alone(runs: int, k: float, seed: int) -> None:
    values = np.random.default_rng(seed).binomial(60, 0.9, runs) / 60
    kpp = percentile_performance(values, k, images=Images(60))
    alone = percentile_performance(values, k)
    assert kpp.covers == "chips and images" and alone.covers == "chips"
    assert kpp.chips_alone == alone.interval == alone.chips_alone
    both = kpp.interval
    assert both.low is None or kpp.chips_alone.low is not None
    if both.low is not None and kpp.chips_alone.low is not None:
        assert both.low <= kpp.chips_alone.low
    if both.high is not None and kpp.chips_alone.high is not None:
        assert both.high >= kpp.chips_alone.high
    assert both.closed == (runs >= both.runs_needed)


def test_the_lowest_are_enough() -> None:
    values = np.sort(np.random.default_rng(3).binomial(531, 0.97, 1000) / 531)
    images, plan = Images(531), plan_rounds(300, 1000, 1)
    assert highest_rank(1000, 1, images=images) > highest_rank(1000, 1)
    assert plan.highest_rank(1000, images) > plan.highest_rank(1000)
    few = values[: plan.highest_rank(1000, images)]
    assert plan.kpp(few, 1000, images) == plan.kpp(values, images=images)
    with pytest.raises(OptionError, match="values are given; expected"):
        plan.kpp(few[:-1], 1000, images)


def test_rounds_share_the_risk_of_the_interval() -> None:
    """Each of J rounds is a single look at 1 - 0.05 / J."""
    values = np.random.default_rng(4).binomial(531, 0.97, 450) / 531
    plan = plan_rounds(300, 450, 5)
    single = percentile_performance(values, 5, 1 - 0.05 / 2, Images(531))
    found = plan.kpp(values, images=Images(531)).interval
    assert found.low == pytest.approx(single.interval.low, rel=1e-12)
    assert found.high == pytest.approx(single.interval.high, rel=1e-12)


@pytest.mark.parametrize(("count", "decisions"), [(0, 1), (10, 0)])
def test_images_that_are_none(count: int, decisions: int) -> None:
    with pytest.raises(OptionError, match="expected at least 1 each"):
        Images(count, decisions)


def test_a_single_look_by_enumeration() -> None:
    """Two chips of a kind, two images: all outcomes of a tiny world, counted exactly."""
    # Chips are good (right on every image) or bad (right on half of them); half are bad, so the
    # median is 1/2. Images are right for all bad chips or for none: as dependent as can be.
    runs, images, missed = 4, 6, Fraction(0)
    for right in itertools.product((0, 1), repeat=images):
        bad = sum(right) / images
        for kinds in itertools.product((0, 1), repeat=runs):
            values = [bad if kind else 1.0 for kind in kinds]
            kpp = percentile_performance(values, 50, 0.5, Images(images))
            low, high = kpp.interval.low, kpp.interval.high
            miss = (low is not None and low > 0.5) or (high is not None and high < 0.5)
            missed += Fraction(int(miss), 2 ** (runs + images))
    assert 0 < missed <= Fraction(1, 2)


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("k", [1, 5, 50])
def test_coverage(name: str, k: float) -> None:
    """Shares of 300 trials with 400 chips on 100 images; at most 5 % may miss."""
    found = coverage(WORLDS[name], k, chips=400, images=100, trials=300, seed=1)
    assert found.both >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / 300)


def test_the_interval_of_chips_alone_does_not_cover_other_images() -> None:
    """It is no fault of it; the test above would otherwise be one that cannot fail."""
    world = WORLDS["skewed, all fail on the same images"]
    found = coverage(world, 50, 400, 531, trials=300, seed=1)
    assert found.alone < 0.5 < 0.95 < found.both
