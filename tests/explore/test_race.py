"""A race on tables of hits: it says what running everything says, and runs a part of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nvmc.evaluation.goals import Requirement
from nvmc.evaluation.plan import Plan
from nvmc.evaluation.population import Population
from nvmc.explore.front import bar_of
from nvmc.explore.race import Bar, Order, Raced, race
from nvmc.statistics import Images, percentile_performance, yield_at
from workload_standins import Table, bench_of_images, chips_from

CHIPS, IMAGES = 120, 60
KPP = Plan(CHIPS, 5.0, require=(Requirement("kpp", 0.0),))
YIELD = Plan(CHIPS, 5.0, goal=0.8, require=(Requirement("yield", 0.0),))


def table(seed: int, accuracy: float, spread: float = 0.03) -> NDArray[np.int64]:
    """Hits of chips that differ as normal numbers do; the same chips are bad for every seed."""
    own = np.random.default_rng(7).standard_normal(CHIPS)
    drawn = np.random.default_rng(seed).random((CHIPS, IMAGES))
    shares = np.clip(accuracy + spread * own, 0, 1)
    return (drawn < shares[:, None]).astype(np.int64)


def end_of(hits: NDArray[np.int64], plan: Plan) -> float:
    """The lower end of all chips on all images, without any race."""
    values = hits.sum(axis=1) / IMAGES
    if plan.goal is not None:
        return yield_at(values, plan.goal).low
    low = percentile_performance(values, plan.percentile, images=Images(IMAGES)).interval.low
    assert low is not None
    return low


def raced(hits: NDArray[np.int64], plan: Plan, bar: Bar, order: Order | None = None) -> Raced:
    population = Population(bench_of_images(IMAGES), chips_from(0, CHIPS), Table(hits))
    return race(population, plan, bar, order or Order(CHIPS))


@pytest.mark.parametrize("plan", [KPP, YIELD], ids=["kpp", "yield"])
@pytest.mark.parametrize("accuracy", [0.3, 0.85, 0.97])
def test_it_decides_as_all_chips_do(plan: Plan, accuracy: float) -> None:
    hits = table(1, accuracy)
    end = end_of(hits, plan)
    bars = [Bar(least, beyond) for least in (0.1, 0.5, end, 0.9) for beyond in (False, True)]
    for bar in (*bars, Bar(np.nextafter(end, 1)), Bar(np.nextafter(end, 0), True)):
        found = raced(hits, plan, bar)
        assert found.cleared == bar.cleared(end)
        assert found.end is not None
        if found.at is not None:
            assert found.end == end and found.images == CHIPS * IMAGES == hits.size
        else:  # the most that it could still be, which clears nothing
            assert found.end >= end and not bar.cleared(found.end)


def test_a_bad_design_is_out_after_a_few_images() -> None:
    found = raced(table(1, 0.3), KPP, Bar(0.7))
    assert not found.cleared and found.images <= 8 * IMAGES
    assert raced(table(1, 0.97), KPP, Bar(1.0, beyond=True)).images == 0  # nothing is above


def test_the_order_of_chips_changes_the_effort_alone() -> None:
    order, bar = Order(CHIPS), Bar(end_of(table(3, 0.9), KPP), beyond=True)
    for seed in range(10, 14):
        raced(table(seed, 0.9), KPP, Bar(0.0), order)
    told, fresh = (raced(table(5, 0.88), KPP, bar, one) for one in (order, None))
    assert told.cleared == fresh.cleared == bar.cleared(end_of(table(5, 0.88), KPP))
    assert told.images <= fresh.images
    assert sorted(order.chips().tolist()) == list(range(CHIPS))
    values = np.full(CHIPS, np.nan)
    one = Order(CHIPS)
    one.learn(values)  # nothing is known
    assert one.chips().tolist() == list(range(CHIPS))


@pytest.mark.parametrize("several", [1, 2])
def test_the_front_of_many_designs_takes_a_fifth_of_their_images(several: int) -> None:
    """Designs that are better the more they cost, by and large; the front by its definition."""
    generator, goal = np.random.default_rng(11), 0.6
    accuracies = np.sort(generator.uniform(0.4, 0.99, 60)) + generator.normal(0, 0.05, 60)
    costs = [(float(i), *generator.integers(0, 5, several - 1).tolist()) for i in range(60)]
    tables = [table(i, min(0.995, a)) for i, a in enumerate(accuracies)]
    passed: list[tuple[int, Any, float]] = []
    images, order = 0, Order(CHIPS)
    for number, (hits, cost) in enumerate(zip(tables, costs, strict=True)):
        bar, _ = bar_of(goal, cost, passed)
        found = raced(hits, KPP, bar, order)
        images += found.images
        if found.cleared and found.end is not None:
            passed.append((number, cost, found.end))
    ends = [end_of(hits, KPP) for hits in tables]
    front = {
        i
        for i in range(60)
        if ends[i] >= goal
        and not any(
            ends[j] >= ends[i]
            and all(a <= b for a, b in zip(costs[j], costs[i], strict=True))
            and (ends[j] > ends[i] or costs[j] != costs[i])
            for j in range(60)
        )
    }
    assert {number for number, _, _ in passed} == front and front
    assert several > 1 or images < 0.2 * 60 * CHIPS * IMAGES


def test_a_bar_is_the_highest_of_those_that_cost_no_more() -> None:
    passed = [(1, (1.0, 5.0), 0.8), (2, (2.0, 2.0), 0.9), (3, (4.0, 1.0), 0.95)]
    assert bar_of(0.7, (0.5, 9.0), passed) == (Bar(0.7), None)
    assert bar_of(0.7, (3.0, 6.0), passed) == (Bar(0.9, beyond=True), 2)
    assert bar_of(0.7, (2.0, 2.0), passed) == (Bar(0.9, beyond=False), 2)  # may stand beside it
    assert bar_of(0.97, (9.0, 9.0), passed) == (Bar(0.97), None)
