"""The chance that a sample shows few of many misses: against enumeration."""

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nvmc.statistics.bounds import chance_of_so_few


def exact(seen: int, misses: int, sampled: int, images: int) -> Fraction:
    """P(at most `seen` misses in the sample), by counting samples."""
    ways = sum(
        math.comb(misses, i) * math.comb(images - misses, sampled - i) for i in range(seen + 1)
    )
    return Fraction(ways, math.comb(images, sampled))


@st.composite
def samples(draw: st.DrawFn) -> tuple[int, int, int]:
    images = draw(st.integers(1, 60))
    sampled = draw(st.integers(1, images))
    return images, sampled, draw(st.integers(0, sampled))


@given(samples(), st.data())
def test_chance_is_the_count_of_samples(sample: tuple[int, int, int], data: st.DataObject) -> None:
    images, sampled, seen = sample
    misses = data.draw(st.integers(0, images))
    found = float(chance_of_so_few(seen, misses, sampled, images))
    # Logarithms of factorials below 60!, some 190, are good to 1e-14 each; some ten are added.
    assert found == pytest.approx(float(exact(seen, misses, sampled, images)), rel=1e-11, abs=1e-15)


@pytest.mark.parametrize(("images", "sampled"), [(531, 53), (9_000, 450), (50_000, 20_000)])
def test_chance_of_many_images_is_scipys(images: int, sampled: int) -> None:
    rng = np.random.default_rng(images)
    misses = rng.integers(0, images + 1, 100)
    mean = sampled * misses / images
    spread = np.sqrt(mean * (1 - misses / images)) + 1
    seen = np.clip(rng.normal(mean, 3 * spread), 0, sampled).astype(np.int64)
    found = chance_of_so_few(seen, misses, sampled, images)
    # Logarithms of factorials up to 50,000!, 5e5, are rounded to some 6e-11 each.
    np.testing.assert_allclose(
        found, stats.hypergeom.cdf(seen, images, misses, sampled), rtol=1e-8, atol=1e-200
    )


@given(samples(), st.sampled_from([1, 3]))
def test_chance_falls_with_the_misses(sample: tuple[int, int, int], decisions: int) -> None:
    images, sampled, seen = sample
    chance = chance_of_so_few(seen, np.arange(-2, images * decisions + 2), sampled, images)
    assert chance[0] == 1 and chance[-1] == 0
    assert np.all(np.diff(chance) <= 1e-12)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=9), st.data())
def test_several_decisions_an_image_are_bounded_wherever_the_misses_lie(
    misses: list[int], data: st.DataObject
) -> None:
    images = len(misses)
    sampled = data.draw(st.integers(1, images))
    sums = [sum(chosen) for chosen in combinations(misses, sampled)]
    for seen in range(3 * sampled + 1):
        true = sum(found <= seen for found in sums) / len(sums)
        bound = chance_of_so_few(seen, sum(misses), sampled, images, 3)
        assert true <= bound * (1 + 1e-12)


@given(samples())
def test_the_general_bound_holds_for_one_decision_too(sample: tuple[int, int, int]) -> None:
    """Hoeffding's inequality with two-valued images is the case that the exact chance covers."""
    images, sampled, seen = sample
    for misses in range(images + 1):
        # Every image twice as many decisions, all alike: misses are even.
        bound = chance_of_so_few(2 * seen, 2 * misses, sampled, images, 2)
        assert float(exact(seen, misses, sampled, images)) <= bound * (1 + 1e-12)


@pytest.mark.parametrize("seen", [0, 3, 20])
def test_the_bound_is_hoeffdings(seen: int) -> None:
    """In his own form, with shares in powers, not merely something that is large enough."""
    sampled, images, decisions, misses = 25, 90, 3, 120
    share, mean = seen / (sampled * decisions), misses / (images * decisions)
    expected = ((mean / share) ** share if seen else 1) * ((1 - mean) / (1 - share)) ** (1 - share)
    found = chance_of_so_few(seen, misses, sampled, images, decisions)
    np.testing.assert_allclose(found, expected**sampled, rtol=1e-12)
