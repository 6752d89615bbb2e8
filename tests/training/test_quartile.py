"""The quartile search on functions whose maximum is known."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvmc.training.quartile import QuartileSearch

PAPER = QuartileSearch(0.0, 0.4)  # [0, 2 sigma_d] at sigma_d = 0.2


def searched(
    search: QuartileSearch, function: Callable[[float], float], limit: int = 200
) -> tuple[QuartileSearch, int]:
    """The finished search and how many comparisons it took."""
    for count in range(limit):
        if search.over:
            return search, count
        search, _ = search.narrowed([function(point) for point in search.points])
    raise AssertionError(f"not over after {limit} comparisons: {search}")


def test_points_are_the_quartiles() -> None:
    assert QuartileSearch(1.0, 2.0).points == (1.25, 1.5, 1.75)


@pytest.mark.parametrize(
    ("scores", "ends", "winner"),
    [
        ([0, 1, 0], (0.25, 0.75), 1),
        ([1, 0, 0], (0.0, 0.75), 0),
        ([0, 0, 1], (0.25, 1.0), 2),
        # Ties, in the order of the three `if`s of lines 21, 23 and 25.
        ([1, 1, 1], (0.25, 0.75), 1),
        ([1, 1, 0], (0.25, 0.75), 1),
        ([0, 1, 1], (0.25, 0.75), 1),
        ([1, 0, 1], (0.0, 0.75), 0),
        # A model that diverged has no score.
        ([math.nan, 0, 1], (0.25, 1.0), 2),
        ([0, math.nan, -1], (0.0, 0.75), 0),
        ([math.nan, math.nan, math.nan], (0.25, 0.75), 1),
    ],
)
def test_the_three_branches(
    scores: Sequence[float], ends: tuple[float, float], winner: int
) -> None:
    search, won = QuartileSearch(0.0, 1.0).narrowed(scores)
    assert (search.start, search.end) == ends
    assert won == winner


@given(peak=st.floats(0.0, 0.4), skew=st.floats(0.2, 5.0))
def test_finds_the_peak_of_any_hump(peak: float, skew: float) -> None:
    """A strict hump, steeper on one side: the peak never leaves the interval."""

    def hump(x: float) -> float:
        return -(peak - x) if x < peak else -skew * (x - peak)

    search, count = searched(PAPER, hump)
    # Flat to float64 within 1e-15 of the peak; the interval itself is exact to some 1e-16.
    assert search.start - 1e-12 <= peak <= search.end + 1e-12
    assert 12 <= count <= 29


def test_the_middle_halves_and_the_ends_take_a_quarter() -> None:
    width = 4000  # 0.4 / 1e-4
    assert searched(PAPER, lambda x: -abs(x - 0.2))[1] == math.ceil(math.log2(width))
    for end in (0.0, 0.4):
        search, count = searched(PAPER, lambda x, end=end: -abs(x - end))
        assert count == math.ceil(math.log(width) / math.log(4 / 3))
        assert search.start == pytest.approx(end, abs=1e-4)


def test_a_flat_function_ends_in_the_middle() -> None:
    search, count = searched(PAPER, lambda _: 0.5)
    assert count == 12
    assert search.start == pytest.approx(0.2, abs=1e-4)


def test_noise_below_the_slope_costs_no_more_than_the_noise() -> None:
    """A KPP of few chips is noisy: the error stays where noise can hide the difference.

    f = -10 (x - 0.15)^2, noise of 0.002 standard deviations. The quarter that holds the peak is cut
    only where the point at its edge loses to one d = width / 4 further off, which truly is lower by
    10 d^2 or more. Noise hides 4 standard deviations of a difference, 4 sqrt(2) 0.002 = 0.0113: d
    is then below 0.034, and the answer at most the width, 0.135, away.
    """
    generator = np.random.default_rng(7)
    ends = []
    for _ in range(200):
        search, _ = searched(
            PAPER, lambda x: -10 * (x - 0.15) ** 2 + 0.002 * generator.standard_normal()
        )
        ends.append(search.start)
    assert np.max(np.abs(np.array(ends) - 0.15)) < 0.135
    assert np.mean(ends) == pytest.approx(0.15, abs=0.02)


def test_over_is_strictly_below_the_tolerance() -> None:
    """Line 4 of Alg. 3; the text's "at most" differs at the tolerance itself."""
    assert not QuartileSearch(0.0, 1e-4).over
    assert QuartileSearch(0.0, 0.99e-4).over
    assert QuartileSearch(0.3, 0.3).over
    assert not QuartileSearch(0.0, 0.5, tolerance=0.5).over


def test_an_interval_of_no_width_is_over_at_once() -> None:
    """sigma_d = 0: nothing to search."""
    search, count = searched(QuartileSearch(0.0, 0.0), lambda _: 1.0)
    assert count == 0
    assert search.start == 0


@pytest.mark.parametrize("ends", [(1.0, 0.0), (0.0, math.inf), (math.nan, 1.0)])
def test_ends_in_the_wrong_order_are_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="at most the second"):
        QuartileSearch(*ends)


def test_a_tolerance_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        QuartileSearch(0.0, 1.0, tolerance=0.0)


def test_where_comparisons_are_coin_flips() -> None:
    """What the search finds where there is nothing to find (docs/methods/trice.md).

    The answer X in units of the first width is 1/4 + X/2, 3X/4 or 1/4 + 3X/4, a third of the time
    each: mean 1/2, and E X^2 = (1/8 + 5/16 + 11/8 E X^2) / 3 = 7/26, so variance 1/52.
    """
    generator = np.random.default_rng(3)
    count = 2000
    found = []
    for _ in range(count):
        search, _ = searched(PAPER, lambda _: generator.random())
        found.append(search.start / 0.4)
    # Five standard errors: of the mean sqrt(v / n); of the variance sqrt(m4 / n) at most, where
    # m4 <= v / 4, as |X - 1/2| <= 1/2. The answer lies within the tolerance of X.
    assert np.mean(found) == pytest.approx(0.5, abs=5 * math.sqrt(1 / 52 / count) + 1e-4)
    assert np.var(found) == pytest.approx(1 / 52, abs=5 * math.sqrt(1 / 208 / count))
