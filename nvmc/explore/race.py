"""One design against a bar: chips are run in rungs until it is known whether it clears it.

Rejection is exact. Chips that were not run, and images that a chip was not run on, count as right;
where even so the interval's lower end stays below the bar, no further chip can change that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.evaluation.at_time import AtTime
from nvmc.evaluation.goals import Requirement
from nvmc.evaluation.plan import Plan, Watch, evaluate_population
from nvmc.evaluation.population import Population, Workload
from nvmc.runtime.montecarlo import CircuitNetwork
from nvmc.statistics import percentile_performance, summarize

__all__ = ["Bar", "Order", "Raced", "race"]

FIRST = 8
"""Chips of the first rung; each rung has half as many again as all before it."""
GROWTH = 1.5
PART = 0.125
"""Share of the images that the first rung is run on first."""
ADAPTIVE_FROM = 0.25
"""Share of the chips behind which an adaptive run takes over, where one is asked for."""


@dataclass(frozen=True)
class Bar:
    """What the lower end of a design's interval must come to.

    Attributes:
        end: The end.
        beyond: Whether it must be above it, and not just there.
    """

    end: float
    beyond: bool = False

    def cleared(self, end: float | None) -> bool:
        """Whether an end does; an open one does not."""
        return end is not None and (end > self.end if self.beyond else end >= self.end)


@dataclass(frozen=True)
class Raced:
    """How far a design was run, and what that showed.

    Attributes:
        end: Lower end of its interval; where it was rejected, the most that it could still be.
        cleared: Whether it cleared its bar; all that counts was run then.
        at: What its chips are worth, where it did.
        chips: Chips that were run on all images.
        images: Images that were run, of all chips together.
    """

    end: float | None
    cleared: bool
    at: AtTime | None
    chips: int
    images: int


class Order:
    """Which chips to run first: those that were worst in other designs.

    A chip has the same random numbers in every design, so designs that resemble each other have
    the same bad chips. It changes how soon a design is rejected, and nothing else.

    Args:
        runs: Number of chips.
    """

    def __init__(self, runs: int) -> None:
        self._sums = np.zeros(runs)
        self._counts = np.zeros(runs)

    def learn(self, values: NDArray[np.float64]) -> None:
        """Take in the values of one design's chips; NaN where a chip was not run."""
        known = ~np.isnan(values)
        if known.sum() < 2:
            return
        spread = float(np.std(values[known])) or 1.0
        self._sums[known] += (values[known] - np.mean(values[known])) / spread
        self._counts[known] += 1

    def chips(self) -> NDArray[np.int64]:
        """All chips, the worst first; of equals the lower number."""
        return np.argsort(self._sums / np.maximum(self._counts, 1), kind="stable")


def race(
    population: Population, plan: Plan, bar: Bar, order: Order, watch: Watch | None = None
) -> Raced:
    """Run the chips of a design until it is rejected, or all are run.

    Args:
        population: `plan.runs` chips; it moves forward as far as that takes.
        plan: What is asked, one requirement among it; with a `delta` chips that cannot matter are
            dropped once a quarter of all was run.
        bar: What it must clear.
        order: Which chips come first; it learns from these.
        watch: Told how many chips are done, and of how many.
    """
    population.trust(plan.runs)
    images, (wanted,) = len(population.workload.feed), plan.require
    chips = order.chips()
    sizes = _rungs(plan)
    steps = [(size, images) for size in sizes]
    if _in_parts(population.workload):
        steps.insert(0, (sizes[0], max(1, population.workload.hard, round(PART * images))))
    rejected = _rejected(population, plan, bar)
    for size, end in steps:
        if rejected:
            break
        population.advance(chips[:size].tolist(), end)
        if watch is not None:
            watch(float(np.count_nonzero(population.images == images)), plan.runs)
        rejected = _rejected(population, plan, bar)
    at = None if rejected else evaluate_population(population, plan, watch)
    values = population.values
    order.learn(values)
    if at is None:
        found = _end(_best(population), wanted, plan, population.workload)
    else:
        reached = None if plan.goal is None else at.yield_at(plan.goal)
        found = wanted.judge(at.kpp, reached).end
    return Raced(
        end=found,
        cleared=at is not None and bar.cleared(found),
        at=at,
        chips=int(np.count_nonzero(~np.isnan(values))),
        images=int(population.images.sum()),
    )


def _rungs(plan: Plan) -> list[int]:
    """Numbers of chips, the last before all of them; a quarter where an adaptive run follows."""
    most = plan.runs if plan.delta is None else math.ceil(ADAPTIVE_FROM * plan.runs)
    sizes = [min(FIRST, plan.runs)]
    while sizes[-1] < most:
        sizes.append(min(most, math.ceil(GROWTH * sizes[-1])))
    return sizes


def _in_parts(workload: Workload) -> bool:
    """Whether chips may be run on some images first, and that says something of all of them.

    Not where each part draws passes anew, nor where a value is more than a count of decisions.
    """
    anew = isinstance(workload.network, CircuitNetwork) and workload.network.draws
    return workload.metric.classes is not None and not anew


def _rejected(population: Population, plan: Plan, bar: Bar) -> bool:
    values = _best(population)
    if not np.isfinite(values).all():  # a metric without a greatest value
        return False
    return not bar.cleared(_end(values, plan.require[0], plan, population.workload))


def _best(population: Population) -> NDArray[np.float64]:
    """The greatest value that each chip can still come to, shape (chips,).

    Of a chip that was run on some images that is known where decisions are counted.
    """
    metric, images = population.workload.metric, len(population.workload.feed)
    found = population.values
    for chip in np.flatnonzero(np.isnan(found)).tolist():
        found[chip], done = metric.range[1], int(population.images[chip])
        if metric.classes is not None:
            rest: Any = metric.limits(done, images)[1]  # a number, where decisions are counted
            most = float(population.totals[chip]) + rest
            found[chip] = min(metric.range[1], metric.finish(most, images))
    return found


def _end(
    values: NDArray[np.float64], wanted: Requirement, plan: Plan, workload: Workload
) -> float | None:
    """Lower end of the interval that decides, of chips with these values."""
    kpp = percentile_performance(values, plan.percentile, images=workload.sampled)
    now = AtTime(None, values, kpp, summarize(values), percent=workload.metric.percent)
    return wanted.judge(kpp, None if plan.goal is None else now.yield_at(plan.goal)).end
