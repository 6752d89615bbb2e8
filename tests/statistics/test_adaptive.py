"""The lowest chips, found with fewer images: exact with the probability that is stated."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from nvmc.errors import OptionError
from nvmc.statistics import highest_rank, percentile_of_lowest, percentile_performance
from nvmc.statistics.adaptive import Eliminated, Elimination, hard_first, look_ends
from nvmc.statistics.sequential import plan_rounds

Hits = NDArray[np.int64]
"""Hits of every chip on every image, shape (chips, images)."""


def run(elimination: Elimination, hits: Hits, steps: int | None = None) -> None:
    """Answer what is asked for, so many times at most."""
    sums = np.concatenate([np.zeros((len(hits), 1)), np.cumsum(hits, axis=1)], axis=1)
    while steps != 0 and (work := elimination.next()) is not None:
        end = work.first + work.count
        for chip in work.chips:
            before = elimination.total(chip, work.first)
            elimination.add(chip, end, before + sums[chip, end] - sums[chip, work.first])
        steps = None if steps is None else steps - 1


def eliminate(
    hits: Hits,
    rank: int,
    delta: float = 1e-3,
    hard: int = 0,
    decisions: int = 1,
    known: Mapping[int, Mapping[int, float]] | None = None,
) -> Eliminated:
    chips, images = hits.shape
    elimination = Elimination(
        chips, images, rank=rank, hard=hard, decisions=decisions, delta=delta, known=known
    )
    run(elimination, hits)
    return elimination.result()


def lowest_are_right(found: Eliminated, hits: Hits, rank: int) -> bool:
    done = np.sort(found.totals[~np.isnan(found.totals)])
    return bool(np.array_equal(done[:rank], np.sort(hits.sum(axis=1))[:rank]))


def correlated(rng: np.random.Generator, chips: int, images: int) -> Hits:
    """Beta-binomial chips on images that are hard for all of them alike."""
    quality = rng.beta(40, 4, chips)
    hardness = rng.beta(0.3, 1.5, images)
    return (rng.random((chips, images)) < quality[:, None] ** (0.2 + 3 * hardness)).astype(np.int64)


def few_images(rng: np.random.Generator, chips: int, images: int) -> Hits:
    """Chips that are right but for one block of images each; the lowest on the largest block."""
    hits = np.ones((chips, images), np.int64)
    for chip in range(chips):
        size = 1 + (chip * images) // (6 * chips)
        first = rng.integers(0, images - size + 1)
        hits[chip, first : first + size] = 0
    return hits


def one_below(rng: np.random.Generator, chips: int, images: int) -> Hits:
    """All alike but one, which fails on so many images more that it is just about dropped."""
    hits = np.ones((chips, images), np.int64)
    hits[:, : images // 10] = 0
    hits[0, images // 10 : images // 10 + images // 4] = 0
    hits[1:, -1] = rng.integers(0, 2, chips - 1)
    return hits


def ties(rng: np.random.Generator, chips: int, images: int) -> Hits:
    """Three kinds of chips only."""
    kinds = rng.choice(3, chips)
    return (np.arange(images) >= 2 + kinds[:, None] * images // 8).astype(np.int64)


def all_equal(rng: np.random.Generator, chips: int, images: int) -> Hits:
    return np.tile(rng.integers(0, 2, images), (chips, 1))


POPULATIONS = [correlated, few_images, one_below, ties, all_equal]
REPETITIONS = 120
DELTA = 0.1


@pytest.mark.parametrize("rank", [1, 6])
@pytest.mark.parametrize("population", POPULATIONS)
def test_errors_are_as_rare_as_stated(
    population: Callable[[np.random.Generator, int, int], Hits], rank: int
) -> None:
    """Over orders of the images, for populations that are as they are."""
    rng = np.random.default_rng(99)
    errors = 0
    for repetition in range(REPETITIONS):
        if repetition % 20 == 0:
            hits = population(rng, 24, 120)
        shuffled = hits[:, rng.permutation(120)]
        errors += not lowest_are_right(eliminate(shuffled, rank, DELTA), shuffled, rank)
    # Errors are Binomial(120, at most DELTA): above its 1 - 1e-4 quantile the law is broken.
    assert errors <= stats.binom.ppf(1 - 1e-4, REPETITIONS, DELTA)


@pytest.mark.slow
def test_an_error_is_nearly_as_likely_as_it_may_be() -> None:
    """Two chips that miss 46 and 47 images; the second goes when its first ten show no miss.

    46 misses, of which ten of 200 images show none with a chance of C(154, 10) / C(200, 10) =
    0.066, are just enough for that: the first look's share of delta is 0.5 / 7 = 0.071.
    """
    images, delta, missed, unseen = 200, 0.5, 0, 0
    hits = np.ones((2, images), np.int64)
    hits[0, :46] = 0
    hits[1, 46:93] = 0
    rng = np.random.default_rng(7)
    for _ in range(1000):
        shuffled = hits[:, rng.permutation(images)]
        unseen += bool(shuffled[1, : look_ends(images)[0]].all())
        missed += not lowest_are_right(eliminate(shuffled, 1, delta), shuffled, 1)
    assert 40 < unseen <= missed <= stats.binom.ppf(1 - 1e-4, 1000, delta)


def exact(seen: int, misses: int, sampled: int, images: int) -> float:
    """P(at most `seen` misses in the sample), by counting samples; 0 where so many cannot be."""
    if not seen < misses <= images:
        return float(misses <= seen)
    ways = sum(
        math.comb(misses, i) * math.comb(images - misses, sampled - i)
        for i in range(min(seen, misses) + 1)
    )
    return ways / math.comb(images, sampled)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rank", [1, 6])
def test_who_is_dropped_at_the_first_look(rank: int, seed: int) -> None:
    """Those for whom so few misses are unlikely enough, were they as low as the lowest."""
    chips, images, hard, delta = 150, 400, 100, 0.1
    rng, looks = np.random.default_rng(seed), look_ends(images, hard)
    hits = (rng.random((chips, images)) > rng.beta(1.5, 4, chips)[:, None]).astype(np.int64)
    sums = np.cumsum(hits, axis=1)
    elimination = Elimination(chips, images, rank=rank, hard=hard, delta=delta)
    while (work := elimination.next()) is not None:
        end = work.first + work.count
        if end == looks[1]:
            break
        for chip in work.chips:
            elimination.add(chip, end, float(sums[chip, end - 1]))
    assert work is not None
    completed = [c for c in range(chips) if not math.isnan(elimination.total(c, images))]
    lowest = np.sort(sums[completed, -1])
    # Errors add up to delta / 7 per look: over 1 rank, or over groups of 1, 2 and 3 of 4 ranks.
    held = {1: [(1, delta / 7)], 6: [(6, delta / 21), (5, delta / 42), (3, delta / 84)]}[rank]
    kept = []
    for chip in set(range(chips)) - set(completed):
        before, seen = int(sums[chip, hard - 1]), int(np.sum(hits[chip, hard : looks[0]] == 0))
        rest = [(images - hard - int(lowest[place - 1]) + before, level) for place, level in held]
        if any(
            exact(seen, misses, looks[0] - hard, images - hard) > level for misses, level in rest
        ):
            kept.append(chip)
    assert 0 < len(kept) < chips - len(completed)
    assert sorted(work.chips) == sorted(kept)


@pytest.mark.parametrize("population", POPULATIONS)
@pytest.mark.parametrize("hard", [0, 40])
@pytest.mark.parametrize("chips", [1, 2, 50])
def test_the_answer_is_that_of_full_evaluation(
    population: Callable[[np.random.Generator, int, int], Hits], hard: int, chips: int
) -> None:
    rng = np.random.default_rng(chips + hard)
    hits = population(rng, chips, 400)[:, rng.permutation(400)]
    order, first = hard_first(hits.mean(axis=0), hard)
    hits = hits[:, order]
    values = hits.sum(axis=1) / 400
    for k in (1, 5, 50, 99):
        found = eliminate(hits, highest_rank(chips, k), hard=first)
        done = found.totals[~np.isnan(found.totals)] / 400
        assert percentile_of_lowest(done, chips, k) == percentile_performance(values, k)
        assert done.min() == values.min()
        assert found.dropped == np.count_nonzero(np.isnan(found.totals))
        assert 0 < found.fraction <= 1


def test_work_is_saved_where_chips_differ() -> None:
    rng = np.random.default_rng(3)
    accuracy = rng.beta(60, 3, 300)
    hits = (rng.random((300, 5000)) < accuracy[:, None]).astype(np.int64)
    found = eliminate(hits, highest_rank(300, 1))
    assert lowest_are_right(found, hits, highest_rank(300, 1))
    # The 8 lowest and the first look alone are 8 / 300 + 5 % = 7.7 %.
    assert 0.077 <= found.fraction <= 0.25
    assert found.dropped >= 200


def test_hard_images_first_save_more() -> None:
    rng = np.random.default_rng(8)
    quality = rng.normal(0, 1, 200)
    margin = np.sort(rng.exponential(6, 4000)) - 0.3
    noise = rng.normal(size=(200, 4000))
    hits = (margin[None, :] + 0.1 * quality[:, None] + 0.3 * noise > 0).astype(np.int64)
    order = rng.permutation(4000)
    hits, margin = hits[:, order], margin[order]
    rank = highest_rank(200, 1)
    plain = eliminate(hits, rank)
    order, hard = hard_first(margin, 200)
    assert hard == 200
    stratified = eliminate(hits[:, order], rank, hard=hard)
    assert lowest_are_right(plain, hits, rank) and lowest_are_right(stratified, hits, rank)
    assert stratified.fraction < 0.85 * plain.fraction


@pytest.mark.parametrize("hard", [0, 30])
def test_several_decisions_an_image(hard: int) -> None:
    """Hits of an image are 0 to D, all at once in the worst case."""
    rng = np.random.default_rng(12)
    delta, errors = 0.2, 0
    for _ in range(150):
        failing = rng.random((20, 300)) < rng.beta(2, 20, 20)[:, None]
        hits = np.where(failing, rng.integers(0, 3, (20, 300)), 3)
        errors += not lowest_are_right(eliminate(hits, 3, delta, hard, 3), hits, 3)
    assert errors <= stats.binom.ppf(1 - 1e-4, 150, delta)
    sure = rng.integers(0, 40, (300, 3000)) > rng.beta(1, 20, 300)[:, None] * 40
    found = eliminate(4 * sure, 8, hard=hard, decisions=4)
    assert lowest_are_right(found, 4 * sure, 8)
    assert found.fraction < 0.6


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 12), st.sampled_from([0, 20]))
def test_killed_and_taken_up_again(seed: int, steps: int, hard: int) -> None:
    """With all totals it goes on as if nothing had been; with each chip's last it is exact too."""
    rng = np.random.default_rng(seed)
    hits = correlated(rng, 40, 300)
    whole = eliminate(hits, 4, hard=hard)
    first = Elimination(40, 300, rank=4, hard=hard)
    run(first, hits, steps)
    ends = (hard, *look_ends(300, hard), 300)
    pairs = [(chip, end, first.total(chip, end)) for chip in range(40) for end in ends if end]
    known: dict[int, dict[int, float]] = {}
    for chip, end, total in pairs:
        if not math.isnan(total):
            known.setdefault(chip, {})[end] = total
    again = eliminate(hits, 4, hard=hard, known=known)
    assert again.fraction == whole.fraction and again.mean == whole.mean
    np.testing.assert_array_equal(again.totals, whole.totals)
    last = {chip: {max(totals): totals[max(totals)]} for chip, totals in known.items()}
    assert lowest_are_right(eliminate(hits, 4, hard=hard, known=last), hits, 4)


@pytest.mark.parametrize("hard", [0, 30])
@pytest.mark.parametrize("seed", range(3))
def test_killed_in_the_middle_of_work(seed: int, hard: int) -> None:
    """Some chips of a step are further than others: each look still judges by what it saw then."""
    hits = correlated(np.random.default_rng(seed), 40, 300)
    sums = np.cumsum(hits, axis=1)
    whole, added = Elimination(40, 300, rank=4, hard=hard), list[tuple[int, int, float]]()
    while (work := whole.next()) is not None:
        for chip in work.chips:
            added.append(
                (chip, work.first + work.count, float(sums[chip, work.first + work.count - 1]))
            )
            whole.add(*added[-1])
    for kept in range(0, len(added), 5):
        known: dict[int, dict[int, float]] = {}
        for chip, end, total in added[:kept]:
            known.setdefault(chip, {})[end] = total
        again = eliminate(hits, 4, hard=hard, known=known)
        assert (again.fraction, again.mean) == (whole.result().fraction, whole.result().mean)
        np.testing.assert_array_equal(again.totals, whole.result().totals)


@pytest.mark.parametrize("hard", [0, 30])
def test_rounds_of_more_and_more_chips(hard: int) -> None:
    """Chips that were dropped among few are judged anew among many, from where they are."""
    rng = np.random.default_rng(31)
    hits = correlated(rng, 400, 600)
    plan = plan_rounds(100, 400, 5)
    known: dict[int, dict[int, float]] = {}
    fractions = []
    for runs in plan.runs:
        rank, delta = plan.highest_rank(runs), 1e-3 / len(plan.runs)
        elimination = Elimination(runs, 600, rank=rank, hard=hard, delta=delta, known=known)
        run(elimination, hits[:runs])
        found = elimination.result()
        lowest = found.totals[~np.isnan(found.totals)]
        assert plan.kpp(lowest, runs) == plan.kpp(hits[:runs].sum(axis=1))
        fractions.append(found.fraction)
        for chip in range(runs):
            sums = {end: elimination.total(chip, end) for end in (hard, *look_ends(600, hard), 600)}
            known[chip] = {end: s for end, s in sums.items() if end and not math.isnan(s)}
    assert len(fractions) > 2 and max(fractions) < 1


def test_what_is_known_is_not_run_again() -> None:
    hits = correlated(np.random.default_rng(5), 30, 200)
    sums = np.cumsum(hits, axis=1)
    known = {chip: {200: float(sums[chip, -1])} for chip in range(10)}
    known[10] = {77: float(sums[10, 76])}  # no look: it goes on from there
    elimination = Elimination(30, 200, rank=2, known=known)
    asked = []
    while (work := elimination.next()) is not None:
        for chip in work.chips:
            assert chip >= 10
            if chip == 10 and work.first + work.count > 77:
                asked.append(work.first)
            end = work.first + work.count
            elimination.add(chip, end, float(sums[chip, end - 1]))
    assert asked and min(asked) >= look_ends(200)[0]
    assert lowest_are_right(elimination.result(), hits, 2)


def test_decisions_do_not_depend_on_the_order_of_answers() -> None:
    hits = correlated(np.random.default_rng(6), 40, 300)
    sums = np.cumsum(hits, axis=1)
    asked: list[list[object]] = []
    for backwards in (False, True):
        elimination, works = Elimination(40, 300, rank=3), []
        while (work := elimination.next()) is not None:
            works.append(work)
            for chip in reversed(work.chips) if backwards else work.chips:
                end = work.first + work.count
                elimination.add(chip, end, float(sums[chip, end - 1]))
        asked.append(works)
    assert asked[0] == asked[1]


def test_mean_of_all_chips_is_estimated_within_its_error() -> None:
    rng = np.random.default_rng(10)
    hits = correlated(rng, 100, 1000)
    true, errors, stated = hits.sum(axis=1).mean(), [], []
    for _ in range(50):
        order, hard = hard_first(hits.mean(axis=0)[rng.permutation(1000)], 0)
        found = eliminate(hits[:, rng.permutation(1000)[order]], 3, hard=hard)
        assert found.dropped
        errors.append(found.mean - true)
        stated.append(found.mean_bound)
    # The stated error is a bound, so the mean of 50 estimates is within 4 of its seventh.
    assert abs(np.mean(errors)) <= 4 * np.mean(stated) / 7
    assert np.std(errors) <= 1.3 * np.mean(stated)  # a standard deviation of 50 is good to 10 %
    everything = eliminate(hits, 100)
    assert (everything.mean, everything.mean_bound, everything.dropped) == (true, 0, 0)
    assert everything.delta == 0 and everything.fraction == 1


def test_chips_without_a_miss_at_the_first_look_have_a_mean() -> None:
    """With 211 images and 11 at the first look, their share of hits is rounded to above 1."""
    hits = np.ones((24, 211), np.int64)
    hits[0, 105:] = 0
    found = eliminate(hits, 1, delta=0.2)
    assert found.dropped == 23
    assert (found.mean, found.mean_bound) == (pytest.approx(211), 0)


@given(st.lists(st.floats(allow_nan=True), min_size=1, max_size=40), st.data())
def test_hard_images_come_first_and_the_others_as_they_stand(
    margins: list[float], data: st.DataObject
) -> None:
    wanted = data.draw(st.integers(0, len(margins) - 1))
    order, hard = hard_first(margins, wanted)
    assert sorted(order) == list(range(len(margins)))
    assert hard <= wanted
    assert np.all(np.diff(order[hard:]) > 0)
    keys = np.nan_to_num(margins, nan=-np.inf, posinf=np.inf, neginf=-np.inf)[order]
    assert hard == 0 or keys[:hard].max() < keys[hard:].min()


def test_no_error_allowed_means_all_images() -> None:
    hits = correlated(np.random.default_rng(1), 20, 50)
    found = eliminate(hits, 2, delta=0)
    assert (found.dropped, found.fraction, found.delta) == (0, 1, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chips": 0, "rank": 1}, "0 chips"),
        ({"images": 0}, "0 images"),
        ({"decisions": 0}, "0 decisions"),
        ({"rank": 0}, "rank is 0; expected 1 to 10"),
        ({"rank": 11}, "rank is 11; expected 1 to 10"),
        ({"hard": 100}, "hard is 100; expected 0 to 99"),
        ({"delta": 1.0}, "delta is 1.0; expected 0 to 1"),
        ({"known": {0: {100: 0.5}}}, "chip 0 has 0.5 hits among 100 decisions"),
        ({"known": {0: {50: 51}}}, "chip 0 has 51 hits among 50 decisions"),
        ({"known": {10: {50: 5}}}, "chip 10 with 50 images; expected chip 0 to 9"),
        ({"known": {0: {101: 5}}}, "chip 0 with 101 images; expected chip 0 to 9 and 1 to 100"),
    ],
)
def test_what_is_refused(arguments: dict[str, object], message: str) -> None:
    given_: dict[str, object] = {"chips": 10, "images": 100, "rank": 2} | arguments
    with pytest.raises(OptionError, match=message):
        Elimination(**given_)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="hard is 3; expected 0 to 2"):
        hard_first([0.1, 0.2, 0.3], 3)
