"""The pipeline behind `nvmc simulate`: a compiled network, a population of chips, their yield."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Unpack

from nvmc.compiled.artifact import Compiled
from nvmc.errors import OptionError
from nvmc.evaluation.plan import Plan, Watch, evaluate_population
from nvmc.evaluation.population import Archive, Executor, Population, Threads, Workload
from nvmc.evaluation.result import Simulation
from nvmc.evaluation.workload import Options, check_options, set_up
from nvmc.hardware.chip import Chip, Chips
from nvmc.hardware.devices import Device, NoiseSource, Target

__all__ = ["simulate"]

LAST = 2**63
"""Chips have lower numbers: SQLite's integers, in which they are kept."""


def simulate(
    compiled: Compiled,
    *,
    runs: int = 300,
    first: int = 0,
    device: Device | None = None,
    noise: Iterable[NoiseSource] = (),
    sigma: float | None = None,
    percentile: float = 1.0,
    seed: int = 0,
    times_s: Sequence[float] | None = None,
    delta: float | None = None,
    precision: float | None = None,
    max_runs: int | None = None,
    jobs: int | None = None,
    executor: Executor | None = None,
    store: Archive | None = None,
    on_chip: Callable[[int, float], None] | None = None,
    watch: Watch | None = None,
    **options: Unpack[Options],
) -> Simulation:
    """Evaluate chips `first` … `first` + runs - 1 of population `seed`.

    Args:
        compiled: From `open_compiled` or `nvmc.compile_model`.
        runs: Number of chips, at least 1; of the first round where there are several.
        first: Index of the first chip, for parts of a population.
        device: Another device than the network was compiled for.
        noise: More noise sources behind the device's own.
        sigma: Strength of the device's noise instead of its default.
        percentile: k of the k-th percentile performance.
        seed: Population of chips.
        times_s: Seconds since programming, one or more; the device's own time by default.
        delta: Drop chips that cannot matter, at this risk of another answer (docs/adaptive.md).
        precision: Take more chips in rounds until the KPP's interval is no wider.
        max_runs: Chips at which rounds end in any case; 10,000 by default.
        jobs: Chips in parallel; the cores at hand by default. Changes nothing but the time.
        executor: Where chips are run; in `jobs` threads by default.
        store: Keeps every chip, and knows those that it has: they are not run again.
        on_chip: Called with (position, value) as each chip is done, from any thread, at every time.
        watch: Told how many chips are done, and of how many, at one time.
        **options: Data, fidelity and the like; see `nvmc.evaluation.workload.Options`.

    Raises:
        OptionError, DataError, ModelError, StoreError: By what is wrong.
    """
    check_options(runs, jobs, percentile)
    plan = Plan(runs, percentile, delta, precision, max_runs)
    if first > LAST - plan.most:
        raise OptionError(f"first is {first}; expected at most {LAST - plan.most}")
    target = compiled.manifest.target.on(device, noise)
    patterns = [Chip.of(target, seed, first, sigma, age) for age in times_s or [None]]
    workload = set_up(compiled, target, seed=seed, **options)
    where = executor or Threads(jobs)
    kept = [workload.records(store, one, where, sigma) if store else None for one in patterns]
    everyone = [Chips(pattern, first, plan.most) for pattern in patterns]
    pairs = zip(everyone, kept, strict=True)
    populations = [Population(workload, chips, where, records, on_chip) for chips, records in pairs]
    return _simulation(workload, populations, plan, target, sigma, watch)


def _simulation(
    workload: Workload,
    populations: list[Population],
    plan: Plan,
    target: Target,
    sigma: float | None,
    watch: Watch | None,
) -> Simulation:
    """Judge the same chips at each time."""
    started = time.perf_counter()
    times = tuple(evaluate_population(population, plan, watch) for population in populations)
    pairs = zip(populations, times, strict=True)
    return Simulation(
        metric=workload.score.metric,
        images=len(workload.feed),
        data=workload.data,
        seed=populations[0].chips[0].seed,
        target=target,
        sigma=target.device.sigma if sigma is None else sigma,
        fidelity=workload.fidelity,
        executor=populations[0].executor.name,
        mc_passes=workload.mc_passes,
        ideal=workload.ideal,
        times=times,
        seconds=time.perf_counter() - started,
        deviation=workload.deviation,
        recorded=sum(int(p.recorded[: len(at.values)].sum()) for p, at in pairs),
    )
