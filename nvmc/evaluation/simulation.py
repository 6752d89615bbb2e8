"""The pipeline behind `nvmc simulate`: a compiled network, a population of chips, their yield."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, Unpack, cast

from nvmc.arguments import checked
from nvmc.compiled.artifact import Compiled
from nvmc.data import Data
from nvmc.errors import OptionError
from nvmc.evaluation.description import Description
from nvmc.evaluation.goals import Requirement, as_wanted
from nvmc.evaluation.parameters import Setup
from nvmc.evaluation.plan import Plan, Watch, evaluate_population
from nvmc.evaluation.population import Executor, Population, Threads, Workload
from nvmc.evaluation.records import Archive, Elsewhere
from nvmc.evaluation.result import Simulation
from nvmc.evaluation.tuning import Tuning
from nvmc.evaluation.workload import Options, check_options, set_up
from nvmc.hardware.chips import Chips
from nvmc.hardware.compensation import Compensation, marked
from nvmc.hardware.devices import Device, NoiseSource
from nvmc.metrics import as_metric
from nvmc.progress import Progress

__all__ = ["Asked", "simulate"]

P = ParamSpec("P")

LAST = 2**63
"""Chips have lower numbers: SQLite's integers, in which they are kept."""


class Asked(Options, total=False):
    """`Options`, and what is asked of the chips.

    Attributes:
        goal: What a chip must reach, as a value or as after `--goal`: the yield is stated.
        require: What the chips must have, as after `--require`; the result says whether they do.
    """

    goal: float | str | None
    require: Sequence[Requirement | str]


def _remembering(function: Callable[P, Simulation]) -> Callable[P, Simulation]:
    """What the function does; the result knows what it was asked with."""

    @wraps(function)
    def calling(*positional: P.args, **keywords: P.kwargs) -> Simulation:
        asked = {**dict(zip(("compiled",), positional, strict=False)), **keywords}
        return replace(function(*positional, **keywords), asked=asked)

    return calling


@checked
@_remembering
def simulate(
    compiled: Compiled,
    *,
    runs: int = 300,
    first: int = 0,
    device: Device | str | Path | None = None,
    noise: Sequence[NoiseSource | str] = (),
    sigma: float | None = None,
    compensate: Sequence[Compensation | str] = (),
    calibration_data: Data | None = None,
    percentile: float = 1.0,
    seed: int = 0,
    times_s: Sequence[float] | None = None,
    temperature_c: float | None = None,
    delta: float | None = None,
    precision: float | None = None,
    max_runs: int | None = None,
    jobs: int | None = None,
    executor: Executor | None = None,
    store: Archive | None = None,
    on_chip: Callable[[int, float], None] | None = None,
    watch: Watch | None = None,
    **options: Unpack[Asked],
) -> Simulation:
    """Evaluate chips `first` … `first` + runs - 1 of population `seed`.

    Args:
        compiled: From `open_compiled` or `nvmc.compile`.
        runs: Number of chips, at least 1; of the first round where there are several.
        first: Index of the first chip, for parts of a population.
        device: Another device than the network was compiled for: one, its name, or its file.
        noise: More noise sources behind the device's own: sources, or texts as after `--noise`.
        sigma: Strength of the device's noise instead of its default.
        compensate: What chips do against their noise (docs/compensate.md), such as `drift`.
        calibration_data: Images for that; by default the training split of `data`.
        percentile: k of the k-th percentile performance.
        seed: Population of chips.
        times_s: Seconds since programming, one or more; the device's own time by default.
        temperature_c: Of the cells, degrees Celsius; what their noise sources say by default.
        delta: Drop chips that cannot matter, at this risk of another answer (docs/adaptive.md).
        precision: Take more chips in rounds until the KPP's interval is no wider.
        max_runs: Chips at which rounds end in any case; 10,000 by default.
        jobs: Chips in parallel; the cores at hand by default. Changes nothing but the time.
        executor: Where chips are run; in `jobs` threads by default.
        store: Keeps chips, and has some: of these only some that others found are run again.
        on_chip: Called with (position, value) as each chip is done, from any thread, at every time.
        watch: Told how many chips are done, and of how many, at one time.
        **options: A goal, data, fidelity and the like; see `Asked` and its `Options`.

    Raises:
        OptionError, DataError, ModelError, StoreError: By what is wrong.
    """
    plan, rest = _planned((runs, percentile, delta, precision, max_runs), jobs, first, options)
    base = Setup.of(compiled.manifest.target, device, noise, sigma, None, compensate, temperature_c)
    setups = [replace(base, time_s=age) for age in times_s or [None]]
    chips = [Chips(one.chip(seed, first), first, plan.most) for one in setups]
    tuning = Tuning(base.compensate, calibration_data, sigma)
    workload = set_up(compiled, base.target, seed=seed, tuning=tuning, **rest)
    kept = _Kept(workload, executor or Threads(jobs), store, on_chip).population
    return _simulation([*map(kept, chips, setups)], plan, watch or _told(on_chip, plan))


@dataclass(frozen=True)
class _Kept:
    """Makes populations on a workload, which go on from what a store has."""

    workload: Workload
    executor: Executor
    store: Archive | None
    on_chip: Callable[[int, float], None] | None

    def population(self, chips: Chips, setup: Setup) -> tuple[Population, Description]:
        pattern, records = chips.pattern, None
        described = self.workload.describe(setup, pattern.seed, chips.runs, chips.first)
        chips = replace(chips, pattern=marked(pattern, self.workload.marks))
        if self.store is not None:
            records = self.workload.records(self.store, described, self.executor)
        return Population(self.workload, chips, self.executor, records, self.on_chip), described


def _told(on_chip: Callable[[int, float], None] | None, plan: Plan) -> Watch | None:
    """What says how far it is where nobody else is told."""
    return None if on_chip is not None else Progress("chips", plan.runs).tell


def _planned(
    asked: tuple[Any, ...], jobs: int | None, first: int, options: Asked
) -> tuple[Plan, Options]:
    """The plan with what is asked, for chips from `first` on; and the other options."""
    metric = as_metric(options.get("metric"))
    own = metric is not None and not metric.percent
    plan = Plan(*asked, own_unit=own)
    goal, require = as_wanted(options.pop("goal", None), options.pop("require", ()), metric)
    check_options(plan.runs, jobs, plan.percentile)
    if first > LAST - plan.most:
        raise OptionError(f"first is {first}; expected at most {LAST - plan.most}")
    options["metric"] = metric
    return replace(plan, goal=goal, require=require), cast(Options, options)


def _simulation(
    described: list[tuple[Population, Description]], plan: Plan, watch: Watch | None
) -> Simulation:
    """Judge the same chips at each time."""
    populations, started = [population for population, _ in described], time.perf_counter()
    times = tuple(evaluate_population(population, plan, watch) for population in populations)
    pairs = list(zip(populations, times, strict=True))
    workload = populations[0].workload
    return Simulation(
        description=replace(described[0][1], runs=len(times[0].values)),
        executor=populations[0].executor.name,
        ideal=workload.ideal,
        times=times,
        seconds=time.perf_counter() - started,
        deviation=workload.metric.deviation,
        recorded=sum(int(p.recorded[: len(at.values)].sum()) for p, at in pairs),
        elsewhere=sum((p.elsewhere(len(at.values)) for p, at in pairs), Elsewhere()),
        compensation=workload.compensation,
        goal=plan.goal,
        require=plan.require,
    )
