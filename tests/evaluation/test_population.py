"""How far each chip was run: who is asked for which images, what is kept, who is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nvmc import Chip
from nvmc.errors import OptionError
from nvmc.evaluation import population as module
from nvmc.evaluation.parameters import Setup
from nvmc.evaluation.population import Population, Threads, Workload
from nvmc.hardware.chips import Chips
from nvmc.hardware.devices import Target, load_device
from nvmc.rng import stream
from nvmc.runtime.montecarlo import Span
from workload_standins import PATTERN, Kept, Table, bench_of_images, chips_from

IMAGES = 20
HITS = stream(0, 0, "hits").integers(0, 2, (12, IMAGES))


def population(kept: Kept | None = None, **options: Any) -> tuple[Population, Table]:
    """Chips 4 ... 9, none of which was run."""
    table = Table(HITS)
    return Population(bench_of_images(IMAGES), chips_from(4, 6), table, kept, **options), table


def test_only_what_is_missing_is_run() -> None:
    """Chips that are equally far go together, from where they are."""
    people, table = population()
    people.advance([1, 3], 5)
    people.advance([3], 9)
    people.advance([0, 1, 3], 12)
    assert table.asked == [([5, 7], 0, 5), ([7], 5, 4), ([4], 0, 12), ([5], 5, 7), ([7], 9, 3)]
    people.advance([0, 1, 3], 12)
    people.advance([3], 4)
    people.advance([], IMAGES)
    assert len(table.asked) == 5
    np.testing.assert_array_equal(people.images, [12, 12, 0, 12, 0, 0])
    sums = HITS[4:10, :12].sum(axis=1)
    np.testing.assert_array_equal(people.totals, np.where(people.images == 12, sums, 0))


def test_values_are_those_of_whole_chips() -> None:
    people, _ = population()
    people.advance(range(6), IMAGES - 1)
    assert np.isnan(people.values).all()
    people.advance([2, 5], IMAGES)
    expected = np.full(6, np.nan)
    expected[[2, 5]] = HITS[[6, 9]].mean(axis=1)
    np.testing.assert_array_equal(people.values, expected)


def test_chips_are_told_of_when_whole_and_images_always() -> None:
    told: list[tuple[int, float]] = []
    images: list[int] = []
    people, _ = population(on_chip=lambda *chip: told.append(chip))
    people.advance([0, 2], 7, images.append)
    assert (told, images) == ([], [7, 7])
    people.advance([2, 4], IMAGES, images.append)
    assert sorted(told) == [(2, HITS[6].mean()), (4, HITS[8].mean())]
    assert sorted(images) == [7, 7, IMAGES - 7, IMAGES]


def test_what_is_done_is_recorded_by_index() -> None:
    kept = Kept()
    people, _ = population(kept)
    people.advance([1], 7)
    people.advance([1, 2], IMAGES)
    whole = {index: float(HITS[index].sum()) for index in (5, 6)}
    expected = [(5, 7, float(HITS[5, :7].sum()), None)]
    expected += [(i, IMAGES, total, total / IMAGES) for i, total in whole.items()]
    assert sorted(kept.rows) == sorted(expected, key=lambda row: row[:2])


def test_what_is_recorded_is_not_run_again() -> None:
    kept = Kept()
    population(kept)[0].advance([0, 2], 7)
    population(kept)[0].advance([2], IMAGES)
    kept.add(99, IMAGES, 1.0, 1 / IMAGES)  # of another part of the population
    kept.rows[:] = [row for row in kept.rows if row[0] != 3]
    people, table = population(kept)
    np.testing.assert_array_equal(people.images, [7, 0, IMAGES, 0, 0, 0])
    np.testing.assert_array_equal(people.recorded, [False, False, True, False, False, False])
    people.advance(range(6), IMAGES)
    assert table.asked == [([5, 7, 8, 9], 0, IMAGES), ([4], 7, IMAGES - 7)]
    np.testing.assert_array_equal(people.values, HITS[4:10].mean(axis=1))
    np.testing.assert_array_equal(people.recorded, [False, False, True, False, False, False])


@pytest.mark.parametrize("recorded", [False, True])
def test_sums_on_the_way_are_remembered(recorded: bool) -> None:
    """With records or without; of the chips that are asked for only."""
    kept = Kept()
    people, _ = population(kept if recorded else None)
    people.advance([0, 1, 5], 3)
    people.advance([1], 8)
    people.advance([0], IMAGES)
    if recorded:
        kept.add(2, 3, 1.0, None)  # another part of the population
        people, _ = population(kept)
    sums = np.cumsum(HITS, axis=1)
    assert people.history(5) == {
        0: {3: sums[4, 2], IMAGES: sums[4, -1]},
        1: {3: sums[5, 2], 8: sums[5, 7]},
    }
    assert people.history(6)[5] == {3: sums[9, 2]}


def test_chips_in_a_list_and_the_ideal_one() -> None:
    """Chips in any order; one without an index cannot be recorded."""
    kept = Kept()
    chips = [replace(PATTERN, index=8), replace(PATTERN, index=None), replace(PATTERN, index=2)]
    values = bench_of_images(IMAGES).run(chips, Table(HITS), kept)
    np.testing.assert_array_equal(values, HITS[[8, 0, 2]].mean(axis=1))
    assert sorted(row[0] for row in kept.rows) == [2, 8]
    table = Table(HITS)
    again = bench_of_images(IMAGES).run(chips, table, kept)
    np.testing.assert_array_equal(again, values)
    assert table.asked == [([None], 0, IMAGES)]


class Crowd(Table):
    """Answers from many threads at once."""

    def totals(
        self,
        workload: Workload,
        chips: Sequence[Chip],
        span: Span,
        done: Callable[[int, float], None],
    ) -> None:
        with ThreadPoolExecutor(8) as pool:
            sums = self.hits[:, span.first : span.end].sum(axis=1)
            list(pool.map(lambda n: done(n, float(sums[n])), range(len(chips))))


def test_answers_may_come_from_any_thread() -> None:
    hits = stream(0, 0, "many").integers(0, 2, (2000, IMAGES))
    kept = Kept()
    people = Population(bench_of_images(IMAGES), chips_from(0, 2000), Crowd(hits), kept)
    people.advance(range(2000), 11)
    people.advance(range(2000), IMAGES)
    np.testing.assert_array_equal(people.values, hits.mean(axis=1))
    assert len(kept.rows) == 4000


class Shelf:
    """Notes which experiments are asked for."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []

    def experiment(self, key: Any, info: Any, expected: Any = None) -> Kept:
        self.keys.append(dict(key))
        return Kept()


def test_what_tells_populations_apart() -> None:
    """All that makes a chip but its index, the workload, and what computes."""
    identity = {"network": "n", "output": "y", "data": "seeded 0"}
    workload = replace(bench_of_images(IMAGES), identity=identity)
    shelf, table = Shelf(), Table(HITS)
    device = load_device("fefet2")
    plain = Setup(Target.of(device))
    clipped = Setup(Target.of(device.model_copy(update={"clip": not device.clip})))
    stuck = Setup.of(plain.target, noise=["stuck-at:p_low=0.01"])
    ageing = Setup.of(plain.target, noise=["retention:nu_mean=0.1,t0_s=1"], time_s=5.0)
    cases = [(plain, 0, 0), (plain, 4, 0), (clipped, 0, 0), (stuck, 0, 0), (ageing, 0, 0)]
    cases += [(replace(ageing, time_s=6.0), 0, 0), (replace(plain, sigma=0.5), 0, 0)]
    for setup, seed, first in [*cases, (plain, 0, 7)]:
        workload.records(shelf, workload.describe(setup, seed, 10, first), table)
    first, *others, last = shelf.keys
    assert first == last
    assert len({str(key) for key in others}) == len(others) and first not in others
    assert first["engine"] == "table 1" and first["network"] == "n"
    with pytest.raises(OptionError, match="in memory only"):
        bench_of_images(IMAGES).describe(plain, 0, 10)


def test_a_part_of_a_population_is_made_as_it_is_asked_for() -> None:
    """Of a million chips, those that are run."""
    made: list[int] = []

    class Watched(Chips):
        def __getitem__(self, position: Any) -> Any:
            made.append(position)
            return super().__getitem__(position)

    table = Table(HITS)
    people = Population(bench_of_images(IMAGES), Watched(PATTERN, 0, 1_000_000), table)
    people.advance([5, 11], IMAGES)
    assert set(made) == {5, 11}


@pytest.mark.parametrize("fitting", [1, 3, 8])
def test_automatic_jobs_heed_the_memory(monkeypatch: pytest.MonkeyPatch, fitting: int) -> None:
    """Fewer than cores where more have no room, which is said; a number that was given stays."""
    monkeypatch.setattr(module, "default_jobs", lambda: 4)
    monkeypatch.setattr(module, "fitting_chips", lambda _, wanted: min(wanted, fitting))
    workload, chips = bench_of_images(IMAGES), chips_from(0, 12)
    said = "4 at once" if fitting >= 4 else f"{fitting} at once, as memory allows"
    assert Population(workload, chips, Threads()).executor.name == said
    assert Population(workload, chips, Threads(4)).executor.name == "4 at once"
