"""What a population of chips is worth, with as few images and chips as the question needs.

A `Plan` says what is asked. Without more, all chips are run on all images. `delta` drops chips
that cannot be among those that the answer is made of (docs/adaptive.md); `precision` takes chips
in rounds until the interval is narrow enough (docs/statistics.md). Both may be combined.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock
from typing import cast

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.evaluation.at_time import AtTime
from nvmc.evaluation.goals import Requirement
from nvmc.evaluation.population import Population, Workload
from nvmc.runtime.montecarlo import CircuitNetwork
from nvmc.statistics import (
    Kpp,
    Summary,
    highest_rank,
    percentile_of_lowest,
    percentile_performance,
)
from nvmc.statistics import summarize as summary_of
from nvmc.statistics.adaptive import Elimination, Work
from nvmc.statistics.sequential import Rounds, plan_rounds

__all__ = ["MOST_RUNS", "Plan", "Watch", "evaluate_population"]

_log = logging.getLogger(__name__)

MOST_RUNS = 1_000_000
DEFAULT_MAX_RUNS = 10_000
"""Chips at which rounds end when nobody says; twice `runs` where those are more."""

Watch = Callable[[float, float], None]
"""Told how many chips are done and how many are wanted, parts of chips among them."""


@dataclass(frozen=True)
class Plan:
    """What is asked of a population.

    Attributes:
        runs: Chips; of the first round where there are several.
        percentile: k of the k-th percentile performance.
        delta: How likely the answer may be another than that of all chips on all images; None
            runs them all.
        precision: Width of the interval for chips alone at which rounds end, in units of values;
            None for one round. What the images leave open no number of chips would narrow.
        max_runs: Chips of the last round; None for 10,000, or twice `runs` where those are more.
        goal: What a chip must reach, in the unit of values; None where nobody said.
        require: What the chips must have.
        own_unit: Whether values are in a unit of the metric's own, not shares.
    """

    runs: int
    percentile: float = 1.0
    delta: float | None = None
    precision: float | None = None
    max_runs: int | None = None
    goal: float | None = None
    require: tuple[Requirement, ...] = ()
    own_unit: bool = False

    def __post_init__(self) -> None:
        if self.delta is not None and not 0 < self.delta < 1:
            raise OptionError(f"delta is {self.delta:g}; expected between 0 and 1, such as 1e-3")
        if self.precision is None:
            if self.max_runs is not None:
                raise OptionError(
                    f"--max-runs is {self.max_runs} without a precision; give --precision, or the "
                    "number of chips as --runs"
                )
            return
        if self.own_unit and not 0 < self.precision < math.inf:
            raise OptionError(f"precision is {self.precision:g}; expected above 0, such as 0.01")
        if not self.own_unit and not 0 < self.precision < 1:
            raise OptionError(
                f"precision is {100 * self.precision:g}pp; expected between 0pp and 100pp, such "
                "as 0.5pp"
            )
        if not self.runs <= self.most <= MOST_RUNS:
            raise OptionError(
                f"--max-runs is {self.most}; expected {self.runs} (runs) to {MOST_RUNS:,}"
            )

    @property
    def most(self) -> int:
        """Most chips that may be run."""
        if self.precision is None:
            return self.runs
        if self.max_runs is not None:
            return self.max_runs
        return min(MOST_RUNS, max(DEFAULT_MAX_RUNS, 2 * self.runs))

    def rounds(self) -> Rounds | None:
        """The rounds; None where there is a single one."""
        if self.precision is None:
            return None
        return plan_rounds(self.runs, self.most, self.percentile)

    def check(self, workload: Workload) -> None:
        """Complain of a network that cannot be judged so.

        Raises:
            OptionError: It cannot.
        """
        if self.delta is None:
            return
        _decisions(workload)
        if isinstance(workload.network, CircuitNetwork) and workload.network.draws:
            raise OptionError(
                "an adaptive run runs the images in parts, and as a circuit a network with random "
                "layers would draw other numbers in each part; leave --adaptive out"
            )


def evaluate_population(population: Population, plan: Plan, watch: Watch | None = None) -> AtTime:
    """What a population is worth.

    Args:
        population: At least `plan.most` chips; it moves forward as far as the plan needs.
        plan: What is asked.
        watch: Told of progress, from any thread.

    Raises:
        OptionError: The population cannot be judged so.
    """
    plan.check(population.workload)
    rounds, started = plan.rounds(), time.perf_counter()
    if rounds is None:
        found = _round(population, plan, None, watch)
        _log.debug("%d chips: %.2f s", len(found.values), time.perf_counter() - started)
        return found
    share = plan if plan.delta is None else replace(plan, delta=plan.delta / len(rounds.runs))
    last: AtTime | None = None
    for runs in rounds.runs:
        last = _round(population, replace(share, runs=runs, max_runs=plan.most), rounds, watch)
        _log.debug("%d chips: %.2f s", len(last.values), time.perf_counter() - started)
        if last.is_within(plan.precision):
            break
    assert last is not None
    risk = 0.0 if plan.delta is None or not last.dropped else plan.delta
    return replace(last, delta=risk, precision=plan.precision, looks=len(rounds.runs))


def _round(
    population: Population, plan: Plan, rounds: Rounds | None, watch: Watch | None
) -> AtTime:
    """The first chips of a population."""
    population.trust(plan.runs)
    meter = _Meter(population, plan.runs, watch)
    if plan.delta is not None:
        return _eliminated(population, plan, rounds, meter)
    images = len(population.workload.feed)
    population.advance(range(plan.runs), images, meter.add)
    values = population.values[: plan.runs]
    kpp = _kpp(values, population.workload, plan, rounds)
    less = population.workload.metric.less_is_better
    summary = summary_of(values, less_is_better=less)
    percent = population.workload.metric.percent
    return AtTime(population.time_s, values, kpp, summary, percent=percent)


def _kpp(lowest: NDArray[np.float64], workload: Workload, plan: Plan, rounds: Rounds | None) -> Kpp:
    """The KPP and its intervals from the lowest chips, or all."""
    images = workload.sampled
    if workload.metric.less_is_better:  # never adaptive, so that these are all chips
        if rounds:
            return rounds.kpp(lowest, plan.runs, less_is_better=True)
        return percentile_performance(lowest, plan.percentile, less_is_better=True)
    if rounds:
        return rounds.kpp(lowest, plan.runs, images)
    return percentile_of_lowest(lowest, plan.runs, plan.percentile, images=images)


def _eliminated(population: Population, plan: Plan, rounds: Rounds | None, meter: _Meter) -> AtTime:
    """The lowest chips on all images, the others as far as it takes to know them higher."""
    workload, runs = population.workload, plan.runs
    if rounds:
        rank = rounds.highest_rank(runs, workload.sampled)
    else:
        rank = highest_rank(runs, plan.percentile, images=workload.sampled)
    known = population.history(runs)
    hard = workload.hard
    blind = [p for p, sums in known.items() if hard not in sums and max(sums) > hard > 0]
    if blind:  # of what they did on the hard images nothing is known, so they are completed
        population.advance(blind, len(workload.feed), meter.add)
        known = population.history(runs)
    elimination = Elimination(
        runs,
        len(workload.feed),
        rank=rank,
        hard=hard,
        decisions=_decisions(workload),
        delta=plan.delta or 0.0,
        known=cast(dict[int, dict[int, float]], known),  # decisions are counted in one sum
    )
    while (work := elimination.next()) is not None:
        _work(population, elimination, work, meter)
    found = elimination.result()
    values = np.full(runs, np.nan)
    for chip in np.flatnonzero(~np.isnan(found.totals)).tolist():
        values[chip] = workload.metric.finish(float(found.totals[chip]), len(workload.feed))
    lowest = values[~np.isnan(values)]
    kpp = _kpp(lowest, workload, plan, rounds)
    if not found.dropped:
        return AtTime(population.time_s, values, kpp, summary_of(values))
    mean, bound = (
        workload.metric.finish(x, len(workload.feed)) for x in (found.mean, found.mean_bound)
    )
    summary = Summary(runs, mean, None, float(lowest.min()), bound)
    return AtTime(population.time_s, values, kpp, summary, found.fraction, found.delta)


def _work(population: Population, elimination: Elimination, work: Work, meter: _Meter) -> None:
    """Run what an elimination asks for."""
    end = work.first + work.count
    population.advance(work.chips, end, meter.add)
    for chip in work.chips:
        elimination.add(chip, end, float(population.totals[chip]))


def _decisions(workload: Workload) -> int:
    """Decisions of each image; one whose label is `IGNORED` is a miss of every chip."""
    classes = workload.metric.classes
    if classes is not None:
        return classes.size // len(workload.feed)
    raise OptionError(
        f"an adaptive run counts decisions, but the metric here is {workload.metric.short}; give "
        "--data with class labels and --metric accuracy, choose another --output, or leave "
        "--adaptive out"
    )


class _Meter:
    """Adds up how far a round is."""

    def __init__(self, population: Population, runs: int, watch: Watch | None) -> None:
        self._images = len(population.workload.feed)
        self._runs = runs
        self._watch = watch
        self._lock = Lock()
        self._done = int(population.images[:runs].sum())
        self.add(0)

    def add(self, images: int) -> None:
        """Note that a chip was run on some more images."""
        if self._watch is None:
            return
        with self._lock:
            self._done += images
            self._watch(self._done / self._images, self._runs)
