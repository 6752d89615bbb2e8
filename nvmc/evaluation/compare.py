"""The pipeline behind `nvmc compare`: networks, or devices, on the same chips.

Chip i of each has the same random numbers wherever layers have the same names and shapes (they
come from streams that know of no network, strength or device), so a difference is that of pairs
and is surer than either value.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from nvmc.arguments import checked
from nvmc.compiled.artifact import Compiled
from nvmc.data import Data, load_data
from nvmc.errors import OptionError
from nvmc.evaluation.comparison import Against, Compared, Comparison
from nvmc.evaluation.parameters import Setup
from nvmc.evaluation.population import Executor, Population, Threads, Workload
from nvmc.evaluation.records import Archive
from nvmc.evaluation.tuning import Tuning
from nvmc.evaluation.workload import Options, check_options, set_up
from nvmc.hardware.chips import Chips
from nvmc.hardware.compensation import Compensation, marked
from nvmc.hardware.devices import Device, NoiseSource
from nvmc.metrics import as_metric
from nvmc.progress import Progress
from nvmc.statistics import percentile_performance, summarize
from nvmc.statistics.paired import kpp_difference, mean_difference, share_better

__all__ = ["RUNS", "compare"]

RUNS = 500
"""With k = 1 the difference of two KPPs has both ends from 477 chips on."""
WIDEST = 2.0
"""Width of a metric's bounds beyond which they say nothing of a mean."""

Case = tuple[str, Compiled, Setup]


@checked
def compare(
    *networks: Compiled,
    runs: int = RUNS,
    first: int = 0,
    devices: Sequence[Device | str | Path] = (),
    noise: Sequence[NoiseSource | str] = (),
    sigma: float | None = None,
    compensate: Sequence[Compensation | str] = (),
    calibration_data: Data | None = None,
    percentile: float = 1.0,
    seed: int = 0,
    time_s: float | None = None,
    temperature_c: float | None = None,
    jobs: int | None = None,
    executor: Executor | None = None,
    stores: Sequence[Archive] = (),
    on_chip: Callable[[int, float], None] | None = None,
    **options: Unpack[Options],
) -> Comparison:
    """Run networks, or a network on several devices, on the same chips; each against the first.

    Args:
        networks: From `open_compiled` or `nvmc.compile_model`: two or more, or one with several
            devices.
        runs: Number of chips, at least 1.
        first: Index of the first chip.
        devices: Other devices than the networks were compiled for: one for all of them, or several
            for one network.
        noise: More noise sources behind the devices' own.
        sigma: Strength of the devices' noise instead of their default.
        compensate: What chips do against their noise (docs/compensate.md).
        calibration_data: Images for that; by default the training split of `data`.
        percentile: k of the k-th percentile performance.
        seed: Population of chips.
        time_s: Seconds since programming; the device's own time by default.
        temperature_c: Of the cells, degrees Celsius.
        jobs: Chips in parallel; the cores at hand by default. Changes nothing but the time.
        executor: Where chips are run; in `jobs` threads by default.
        stores: Keep chips: one for all networks, or one for each.
        on_chip: Called with (position, value) as each chip of a network is done, from any thread.
        **options: Data, fidelity and the like; see `Options`.

    Raises:
        OptionError: There is nothing to compare, or metric, images or classes differ; or others.
    """
    options["metric"] = as_metric(options.get("metric"))
    check_options(runs, jobs, percentile)
    cases = _cases(networks, devices, (noise, sigma, time_s, compensate, temperature_c))
    tuning = Tuning(cases[0][2].compensate, calibration_data, sigma, spec=options.get("data"))
    started = time.perf_counter()
    archives, place = _each_store(stores, len(cases)), executor or Threads(jobs)
    workloads = _workloads(cases, tuning, seed, options)
    told, found = on_chip or Progress("chips", runs * len(cases)).one, list[Compared]()
    for i, (case, workload) in enumerate(zip(cases, workloads, strict=True)):
        chips = Chips(case[2].chip(seed, first), first, runs)
        one = _run(case, workload, chips, place, archives[i], told, percentile)
        if i:
            one = replace(one, against=_against(found[0], one, workload, cases, i))
        found.append(one)
    return Comparison(tuple(found), time.perf_counter() - started)


def _each_store(stores: Sequence[Archive], networks: int) -> list[Archive | None]:
    """The store of each network."""
    if len(stores) not in (0, 1, networks):
        raise OptionError(f"there are {len(stores)} stores; expected 1 or {networks}")
    return [*stores] * (networks // len(stores)) if stores else [None] * networks


def _workloads(cases: list[Case], tuning: Tuning, seed: int, options: Options) -> list[Workload]:
    """What chips are run on; all are there, and alike, before a chip is run."""
    if (data := options.get("data")) is not None:  # once for all
        options["data"] = load_data(data, limit=options.get("limit"))
    made = [
        set_up(
            compiled,
            setup.target,
            seed=seed,
            tuning=replace(tuning, compensate=setup.compensate),
            **options,
        )
        for _, compiled, setup in cases
    ]
    _check_alike(cases, made)
    return made


def _cases(
    networks: Sequence[Compiled], devices: Sequence[Device | str | Path], made: tuple[Any, ...]
) -> list[Case]:
    """What is compared: label, network, and how its chips are made."""
    noise, sigma, time_s, compensate, temperature_c = made
    if len(devices) > 1 and len(networks) > 1:
        raise OptionError(
            f"there are {len(networks)} networks and {len(devices)} devices; give one network with "
            "several devices, or several networks with at most one device"
        )
    if not networks or max(len(networks), len(devices)) < 2:
        raise OptionError(
            "there is nothing to compare; give two or more networks, or one with several devices"
        )
    on = list(devices) or [None]
    pairs = [(network, device) for network in networks for device in on]
    setups = [
        Setup.of(n.manifest.target, device, noise, sigma, time_s, compensate, temperature_c)
        for n, device in pairs
    ]
    if len(devices) > 1:
        names = [setup.target.device.name for setup in setups]
    else:
        names = [_name(network) for network in networks]
    compiled = [network for network, _ in pairs]
    labels = _told_apart(names, compiled, setups)
    return list(zip(labels, compiled, setups, strict=True))


def _told_apart(
    names: Sequence[str], compiled: Sequence[Compiled], setups: Sequence[Setup]
) -> list[str]:
    """Names of which no two are the same: by device, by the folder they lie in, or by number."""
    ways = (
        [f"{n} on {setup.target.device.name}" for n, setup in zip(names, setups, strict=True)],
        [f"{Path(c.folder).parent.name}/{_name(c)}".removeprefix("/") for c in compiled],
    )
    labels = [f"{name} ({place})" for place, name in enumerate(names, 1)]
    for name in dict.fromkeys(names):
        same = [place for place, other in enumerate(names) if other == name]
        for way in ([*names], *ways):
            if len({way[place] for place in same}) == len(same):
                for place in same:
                    labels[place] = way[place]
                break
    return labels


def _name(network: Compiled) -> str:
    """Of the folder, without its suffix."""
    return Path(network.folder).name.removesuffix(".nvmc")


def _run(
    case: Case,
    workload: Workload,
    chips: Chips,
    executor: Executor,
    store: Archive | None,
    on_chip: Callable[[int, float], None] | None,
    k: float,
) -> Compared:
    label, _, setup = case
    described = workload.describe(setup, chips.pattern.seed, chips.runs, chips.first)
    chips = replace(chips, pattern=marked(chips.pattern, workload.marks))
    records = None if store is None else workload.records(store, described, executor)
    population = Population(workload, chips, executor, records, on_chip)
    values, less = population.complete(), workload.metric.less_is_better
    images = None if less else workload.sampled
    return Compared(
        label,
        described,
        workload.ideal,
        values,
        percentile_performance(values, k, images=images, less_is_better=less),
        summarize(values, less_is_better=less),
        elsewhere=population.elsewhere(len(values)),
    )


def _against(
    first: Compared, other: Compared, workload: Workload, cases: list[Case], i: int
) -> Against:
    """One network less the first."""
    metric = workload.metric
    less, k = metric.less_is_better, first.kpp.k
    images = None if less else workload.sampled
    bounds = metric.range if metric.range[1] - metric.range[0] <= WIDEST else None
    a, b = first.values, other.values
    return Against(
        kpp_difference(a, b, k, images=images, less_is_better=less),
        mean_difference(a, b, bounds=bounds),
        share_better(a, b, less_is_better=less),
        len(_arrays(cases[0]) & _arrays(cases[i])),
    )


def _arrays(case: Case) -> set[tuple[str, tuple[int, ...]]]:
    return {(array.name, tuple(array.shape)) for array in case[1].manifest.arrays}


def _check_alike(cases: list[Case], workloads: list[Workload]) -> None:
    """Refuse what cannot be compared with each other, before a chip is run.

    Raises:
        OptionError: Metric, images or classes differ.
    """
    told = [_facts(case, workload) for case, workload in zip(cases, workloads, strict=True)]
    for case, other in zip(cases[1:], told[1:], strict=True):
        for what, value in told[0].items():
            if value is not None and other[what] is not None and value != other[what]:
                raise OptionError(
                    f"{what} of {cases[0][0]!r} and {case[0]!r} differ ({value} and "
                    f"{other[what]}); {_FIX[what]}"
                )


_FIX = {
    "metrics": "give both the same --metric",
    "images": "give --data that suits both",
    "output classes": "compare networks of one task",
    "decisions per image": "compare networks of one task, or choose another --output",
}


def _facts(case: Case, workload: Workload) -> dict[str, Any]:
    """What must be equal; None where it is not known."""
    reading = workload.reading
    shapes = {entry.name: entry.shape for entry in case[1].manifest.outputs}
    shape, axis = shapes.get(reading.output), reading.class_axis
    classes = None if shape is None or axis is None or axis >= len(shape) else shape[axis]
    decided = reading.decisions
    return {
        "metrics": workload.metric.name,
        "images": f"{len(workload.feed)} of {workload.data}, {workload.identity['data'][:12]}",
        "output classes": classes if isinstance(classes, int) else None,
        "decisions per image": None if decided is None else math.prod(decided),
    }
