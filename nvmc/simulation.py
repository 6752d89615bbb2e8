"""The pipeline behind `nvmc simulate`: a compiled network, a population of chips, their yield."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nvmc.artifact import Compiled
from nvmc.bench import Bench, Executor, Threads, check_options, set_up
from nvmc.chip import Chip, Chips
from nvmc.data import Dataset
from nvmc.devices import Device, NoiseSource
from nvmc.result import AtTime, Fidelity, Simulation

__all__ = ["simulate"]


def simulate(
    compiled: Compiled,
    *,
    runs: int = 300,
    first: int = 0,
    data: str | Dataset | None = None,
    device: Device | None = None,
    noise: Iterable[NoiseSource] = (),
    sigma: float | None = None,
    percentile: float = 1.0,
    seed: int = 0,
    jobs: int | None = None,
    limit: int | None = None,
    output: str | None = None,
    fidelity: Fidelity | None = None,
    times_s: Sequence[float] | None = None,
    batch: int | None = None,
    mc_passes: int | None = None,
    executor: Executor | None = None,
    on_chip: Callable[[int, float], None] | None = None,
) -> Simulation:
    """Evaluate chips `first` … `first` + runs - 1 of population `seed`.

    Args:
        compiled: From `open_compiled` or `nvmc.compile_model`.
        runs: Number of chips, at least 1.
        first: Index of the first chip, for parts of a population.
        data: A data set or its spec (docs/data.md); None compares with the ideal chip.
        device: Another device than the network was compiled for.
        noise: More noise sources behind the device's own.
        sigma: Strength of the device's noise instead of its default.
        percentile: k of the k-th percentile performance.
        seed: Population of chips.
        jobs: Chips in parallel; the cores at hand by default. Changes nothing but the time.
        limit: Use the first `limit` images only.
        output: The output that is scored; the first by default.
        fidelity: `cells` or `circuit`; by default what the target needs (`fidelity_of`).
        times_s: Seconds since programming at which the same chips are evaluated; the device's own
            time by default.
        batch: Images a run, which bounds the memory; by default what suits the cache. Changes
            nothing else.
        mc_passes: Passes of a stochastic network that are averaged (docs/simulate.md); one by
            default.
        executor: Where chips are run; in `jobs` threads by default.
        on_chip: Called with (position, value) as each chip is done, from any thread, at every time.

    Raises:
        OptionError, DataError, ModelError: By what is wrong.
    """
    check_options(runs, jobs, percentile)
    target = compiled.manifest.target.on(device, noise)
    ages = times_s or [None]
    populations = [Chips(Chip.of(target, seed, first, sigma, age), first, runs) for age in ages]
    images: dict[str, Any] = {"data": data, "seed": seed, "limit": limit, "output": output}
    images |= {"batch": batch, "mc_passes": mc_passes}
    bench = set_up(compiled, target, fidelity=fidelity, **images)
    started, where = time.perf_counter(), executor or Threads(jobs)
    found = [
        AtTime.of(chips.pattern.time_s, bench.run(chips, where, on_chip=on_chip), percentile)
        for chips in populations
    ]
    facts = {"seed": seed, "target": target, "sigma": sigma, "executor": where.name}
    return _simulation(bench, tuple(found), seconds=time.perf_counter() - started, **facts)


def _simulation(bench: Bench, times: tuple[AtTime, ...], **facts: Any) -> Simulation:
    sigma, target = facts.pop("sigma"), facts["target"]
    return Simulation(
        metric=bench.score.metric,
        images=len(bench.feed),
        data=bench.data,
        sigma=target.device.sigma if sigma is None else sigma,
        fidelity=bench.fidelity,
        mc_passes=bench.mc_passes,
        ideal=bench.ideal,
        times=times,
        **facts,
    )
