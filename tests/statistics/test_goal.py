"""The yield at a goal against SciPy's exact binomial test, and what is known of dropped chips."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from nvmc.errors import OptionError
from nvmc.statistics import parse_share, yield_at


@pytest.mark.parametrize("reached", [0, 1, 7, 149, 299, 300])
def test_the_interval_is_that_of_clopper_and_pearson(reached: int) -> None:
    values = np.r_[np.full(reached, 0.97), np.full(300 - reached, 0.96)]
    found = yield_at(values, 0.97)
    known = binomtest(reached, 300).proportion_ci(0.95, "exact")
    assert found.reached == reached and found.value == reached / 300
    assert [found.low, found.high] == pytest.approx([known.low, known.high], rel=1e-9, abs=1e-12)


def test_it_covers_the_true_yield_at_least_as_often_as_it_says() -> None:
    runs, counts = 40, np.arange(41)
    ends = [yield_at(np.r_[np.ones(n), np.zeros(runs - n)], 0.5) for n in counts]
    for share in np.linspace(0.01, 0.99, 33):
        holds = [each.low <= share <= each.high for each in ends]
        assert binom.pmf(counts, runs, share)[holds].sum() >= 0.95


def test_looks_share_the_risk() -> None:
    values = np.r_[np.ones(95), np.zeros(5)]
    known = binomtest(95, 100).proportion_ci(1 - 0.05 / 4, "exact")
    found = yield_at(values, 0.5, looks=4)
    assert [found.low, found.high] == pytest.approx([known.low, known.high])
    assert found.confidence == 0.95


def test_a_dropped_chip_counts_where_it_is_known_to_reach_the_goal() -> None:
    values = np.array([0.90, 0.92, 0.94, np.nan, np.nan])
    sure = yield_at(values, 0.93, least=0.94)
    assert (sure.reached, sure.unknown, sure.value) == (3, 0, 0.6)
    open_ = yield_at(values, 0.95, least=0.94)
    assert (open_.reached, open_.unknown, open_.value) == (0, 2, None)
    assert open_.low == 0 and open_.high == pytest.approx(binomtest(2, 5).proportion_ci().high)
    assert yield_at(values, 0.91).unknown == 2


@pytest.mark.parametrize(
    ("text", "share"), [("97%", 0.97), ("0.97", 0.97), ("97.5 %", 0.975), ("1", 1), ("-150%", -1.5)]
)
def test_shares_are_read_as_the_nearest_number(text: str, share: float) -> None:
    assert parse_share("goal", text) == share


@pytest.mark.parametrize("text", ["97", "101%", "nan", "inf", "%", "", "0,97", "-2"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="97% or 0.97"):
        parse_share("goal", text)
