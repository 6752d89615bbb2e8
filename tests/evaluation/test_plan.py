"""What is asked of chips, and when it is enough: plans, dropping, rounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nvmc.compiled.masks import Mask
from nvmc.errors import OptionError
from nvmc.evaluation import plan
from nvmc.evaluation.plan import Plan, evaluate_population
from nvmc.evaluation.population import Population, Workload
from nvmc.evaluation.result import AtTime
from nvmc.metrics.determination import Determination
from nvmc.rng import stream
from nvmc.runtime.montecarlo import CircuitNetwork
from nvmc.statistics import Images, highest_rank, percentile_performance, summarize
from nvmc.statistics.adaptive import Elimination, look_ends
from nvmc.statistics.sequential import plan_rounds
from workload_standins import Kept, Table, bench_of_images, chips_from

IMAGES = 400


def spread(chips: int, images: int = IMAGES, decisions: int = 1) -> NDArray[np.int64]:
    """Chips of quality 0.2 to 1, which leave many to be dropped."""
    rng = stream(0, 0, "spread")
    share = 1 - 0.8 * rng.random(chips) ** 6
    return rng.binomial(decisions, share[:, None], (chips, images))


def people(
    hits: NDArray[np.int64], runs: int, first: int = 0, kept: Kept | None = None, **workload: Any
) -> tuple[Population, Table]:
    table = Table(hits)
    made = bench_of_images(hits.shape[1], **workload)
    return Population(made, chips_from(first, runs), table, kept), table


def full(hits: NDArray[np.int64], decisions: int = 1) -> NDArray[np.float64]:
    return hits.sum(axis=1) / (hits.shape[1] * decisions)


def test_a_plain_plan_runs_all() -> None:
    hits = spread(60)
    watched: list[tuple[float, float]] = []
    population, table = people(hits, 50, first=10)
    found = evaluate_population(population, Plan(40, 5), lambda *at: watched.append(at))
    values = full(hits)[10:50]
    assert table.asked == [(list(range(10, 50)), 0, IMAGES)]
    np.testing.assert_array_equal(found.values, values)
    assert found.kpp == percentile_performance(values, 5, images=Images(IMAGES))
    assert found.summary == summarize(values)
    assert (found.share, found.delta, found.dropped) == (1, 0, 0)
    assert watched == [(float(done), 40) for done in range(41)]


def same_answer(found: AtTime, values: NDArray[np.float64], k: float, decisions: int = 1) -> None:
    assert found.kpp == percentile_performance(values, k, images=Images(IMAGES, decisions))
    assert found.summary.min == values.min()
    whole = ~np.isnan(found.values)
    np.testing.assert_array_equal(found.values[whole], values[whole])


@pytest.mark.parametrize("hard", [0, 13])
@pytest.mark.parametrize("decisions", [1, 3])
def test_dropping_gives_the_same_answer_with_fewer_images(decisions: int, hard: int) -> None:
    hits = spread(220, decisions=decisions)
    population, table = people(hits, 200, first=20, decisions=decisions, hard=hard)
    found = evaluate_population(population, Plan(200, 2, delta=1e-3))
    same_answer(found, full(hits, decisions)[20:], 2, decisions)
    assert found.dropped > 50 and found.delta == 1e-3
    assert table.run == population.images.sum() < 160 * IMAGES
    assert found.share == pytest.approx(table.run / (200 * IMAGES))
    assert found.summary.std is None
    assert (
        abs(found.summary.mean - full(hits, decisions)[20:].mean()) < 4 * found.summary.mean_bound
    )


def test_chips_that_are_close_are_all_run() -> None:
    hits = (stream(0, 0, "close").random((30, 60)) < 0.97).astype(np.int64)
    found = evaluate_population(people(hits, 30)[0], Plan(30, 10, delta=1e-3))
    assert (found.dropped, found.share, found.delta) == (0, 1, 0)
    assert found.summary == summarize(full(hits))


def test_progress_counts_images_that_were_there() -> None:
    hits = spread(40)
    kept = Kept()
    people(hits, 40, kept=kept)[0].advance(range(10), IMAGES // 2)
    people(hits, 40, kept=kept)[0].advance(range(32, 40), IMAGES)
    watched: list[tuple[float, float]] = []
    evaluate_population(people(hits, 40, kept=kept)[0], Plan(30), lambda *at: watched.append(at))
    assert (watched[0], watched[-1]) == ((5, 30), (30, 30))
    done = [at for at, _ in watched]
    assert done == sorted(done)


@pytest.mark.parametrize("delta", [None, 1e-2])
def test_rounds_end_once_the_interval_is_narrow(delta: float | None) -> None:
    hits = spread(900)
    rounds = plan_rounds(100, 900, 10)
    widths: dict[int, float] = {}
    for runs in rounds.runs:
        kpp = rounds.kpp(full(hits)[:runs])
        assert kpp.chips_alone.low is not None and kpp.chips_alone.high is not None
        widths[runs] = kpp.chips_alone.high - kpp.chips_alone.low
    enough = rounds.runs[2]
    assert widths[enough] < min(widths[runs] for runs in rounds.runs[:2])
    population, table = people(hits, 900)
    found = evaluate_population(
        population, Plan(100, 10, delta, precision=widths[enough], max_runs=900)
    )
    assert len(found.values) == enough
    assert found.kpp == rounds.kpp(full(hits)[:enough], images=Images(IMAGES))
    assert population.images[enough:].sum() == 0
    assert table.run == population.images.sum()  # nothing twice
    assert found.delta == (delta or 0)
    assert delta is None or found.dropped


def test_rounds_end_at_the_last_one() -> None:
    hits = spread(160)
    watched: list[float] = []
    plan = Plan(100, 10, precision=1e-6, max_runs=160)
    found = evaluate_population(people(hits, 160)[0], plan, lambda _, runs: watched.append(runs))
    assert len(found.values) == 160 and not found.is_within(1e-6)
    assert sorted(set(watched)) == list(plan_rounds(100, 160, 10).runs)
    assert found.kpp == plan_rounds(100, 160, 10).kpp(full(hits), images=Images(IMAGES))


def test_delta_is_shared_by_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, float]] = []

    def noted(chips: int, images: int, *, rank: int, delta: float, **more: Any) -> Elimination:
        asked.append((chips, rank, delta))
        return Elimination(chips, images, rank=rank, delta=delta, **more)

    monkeypatch.setattr(plan, "Elimination", noted)
    evaluate_population(
        people(spread(160), 160)[0], Plan(100, 10, 0.02, precision=1e-6, max_runs=160)
    )
    rounds = plan_rounds(100, 160, 10)
    share = 0.02 / len(rounds.runs)
    images = Images(IMAGES)
    assert asked == [(runs, rounds.highest_rank(runs, images), share) for runs in rounds.runs]
    asked.clear()
    evaluate_population(people(spread(160), 160)[0], Plan(160, 10, 0.02))
    assert asked == [(160, highest_rank(160, 10, images=images), 0.02)]


@pytest.mark.parametrize("plan", [Plan(100, 5, 0.01), Plan(60, 5, 0.01, 1e-6, 100)])
@pytest.mark.parametrize("stop", [1, 150, 260])
def test_stopped_and_taken_up_again(plan: Plan, stop: int) -> None:
    """At any chip, within a round or a look: the same answer, and nothing is run twice."""
    hits = spread(100)
    expected, whole = people(hits, 100, hard=9), Kept()
    answer = evaluate_population(expected[0], plan)

    class Full(Exception):
        pass

    class Stopped(Kept):
        def add(self, chip: int, images: int, total: float, value: float | None) -> None:
            if len(self.rows) == stop:
                raise Full
            super().add(chip, images, total, value)

    kept = Stopped()
    with pytest.raises(Full):
        evaluate_population(people(hits, 100, kept=kept, hard=9)[0], plan)
    whole.rows = kept.rows
    before = sum(images for images, _ in whole.known().values())
    again, table = people(hits, 100, kept=whole, hard=9)
    found = evaluate_population(again, plan)
    np.testing.assert_array_equal(found.values, answer.values)
    assert found.to_json() == answer.to_json()
    assert before + table.run == expected[1].run


@pytest.mark.parametrize("hard", [0, 9])
def test_the_last_sum_of_each_chip_is_enough(hard: int) -> None:
    """Sums on the way are kept nowhere, not even of the hard images: the answer is as exact."""

    class Last(Kept):
        def parts(self) -> dict[int, dict[int, float]]:
            return {}

    hits, kept = spread(100), Last()
    begun = people(hits, 100, kept=kept, hard=hard)[0]
    begun.advance(range(40), 5)
    begun.advance(range(60, 100), look_ends(IMAGES, hard)[0])
    begun.advance(range(90, 95), IMAGES)
    found = evaluate_population(people(hits, 100, kept=kept, hard=hard)[0], Plan(100, 5, 0.01))
    same_answer(found, full(hits), 5)
    assert found.dropped


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"delta": 0.0}, "delta is 0; expected between 0 and 1"),
        ({"delta": 1.0}, "delta is 1; expected between 0 and 1"),
        ({"max_runs": 20}, "max-runs is 20 without a precision"),
        ({"precision": 0.0}, "precision is 0pp; expected between"),
        ({"precision": 1.0}, "precision is 100pp; expected between"),
        ({"precision": 0.1, "max_runs": 0}, "max-runs is 0; expected 10 .runs. to 1,000,000"),
        ({"precision": 0.1, "max_runs": 9}, "max-runs is 9; expected 10 .runs. to 1,000,000"),
        ({"precision": 0.1, "max_runs": 1_000_001}, "max-runs is 1000001; expected 10"),
    ],
)
def test_plans_that_are_none(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Plan(10, **arguments)


@pytest.mark.parametrize(
    ("plan", "most"),
    [
        (Plan(10), 10),
        (Plan(10, precision=0.1), 10_000),
        (Plan(8000, precision=0.1), 16_000),
        (Plan(600_000, precision=0.1), 1_000_000),
        (Plan(10, precision=0.1, max_runs=10), 10),
    ],
)
def test_most_chips(plan: Plan, most: int) -> None:
    assert plan.most == most
    rounds = plan.rounds()
    assert rounds is None if plan.precision is None else rounds and rounds.runs[-1] == most


def test_only_decisions_can_be_counted() -> None:
    workload = bench_of_images(IMAGES)
    real = replace(workload, metric=Determination(np.arange(float(IMAGES))))
    mask = Mask("drop", "a", (0, 4), 0, "float32", "keep", rate=0.5)
    network = CircuitNetwork(b"", "y", 1, masks=(mask,))
    drawing = replace(workload, network=network)

    def check(made: Workload, delta: float | None) -> None:
        judging_plan = Plan(10, delta=delta)
        judging_plan.check(made)

    for made, message in ((real, "the metric here is R²"), (drawing, "leave --adaptive out")):
        check(made, None)
        with pytest.raises(OptionError, match=message):
            check(made, 1e-3)
        with pytest.raises(OptionError, match=message):
            evaluate_population(
                Population(made, chips_from(0, 10), Table(spread(10))), Plan(10, delta=1e-3)
            )
    check(replace(drawing, network=replace(network, masks=())), 1e-3)
