"""The pipeline behind `nvmc sweep`: curves over one or two parameters, the same chips everywhere.

Chip k has the same random numbers at every point (they come from streams that know of no
strength, time or periphery), so a curve shows one population changing, and the difference of two
of its points is far surer than either.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from nvmc.arguments import checked
from nvmc.compiled.artifact import Compiled
from nvmc.data import Data, load_data
from nvmc.errors import OptionError, unknown
from nvmc.evaluation.captions import of_text
from nvmc.evaluation.description import Compensated, Description, Fidelity, in_common
from nvmc.evaluation.given_values import Given, as_values
from nvmc.evaluation.goals import as_goal
from nvmc.evaluation.parameters import PARAMETERS, Setup, Value
from nvmc.evaluation.pictures import draw_sweep
from nvmc.evaluation.population import Executor, Population, Threads, Workload
from nvmc.evaluation.records import Archive, Elsewhere
from nvmc.evaluation.reported import WithReport
from nvmc.evaluation.tabulated import point_rows, sweep_table
from nvmc.evaluation.tuning import Tuning
from nvmc.evaluation.workload import Options, check_options, fidelity_of, set_up
from nvmc.hardware.chips import Chips
from nvmc.hardware.compensation import Compensation, marked
from nvmc.hardware.devices import Device, NoiseSource, Target
from nvmc.metrics import as_metric
from nvmc.progress import Progress
from nvmc.report.drawn import Drawn
from nvmc.report.figure import Sheet
from nvmc.statistics import Kpp, Summary, Yield, percentile_performance, summarize, yield_at
from nvmc.tables import Cell, Shown, Table

__all__ = ["FORMAT", "Point", "Sweep", "Workloads", "point_count", "sweep"]

FORMAT = "nvmc.evaluation.sweep/1"

Values = Mapping[str, Sequence[Value]]


@dataclass(frozen=True)
class Point:
    """One population of chips.

    Attributes:
        at: The value of every parameter that was given, by its name in `PARAMETERS`.
        description: Network, chips, images, and how they were run.
        ideal: Value of the chip whose every cell is on target.
        values: One value per chip, in chip order, shape (runs,).
        kpp: K-th percentile performance and its intervals.
        summary: Mean, standard deviation, minimum.
        elsewhere: Chips that others had found.
        compensation: What the chips do against their noise, and what that needs.
        reached: The yield at the goal; None without one.
    """

    at: dict[str, Value]
    description: Description
    ideal: float
    values: NDArray[np.float64]
    kpp: Kpp
    summary: Summary
    elsewhere: Elsewhere = Elsewhere()
    compensation: tuple[Compensated, ...] = ()
    reached: Yield | None = None


@checked
@dataclass(frozen=True, repr=False)
class Sweep(Shown, Drawn, WithReport):
    """Curves over parameters.

    Attributes:
        axes: The parameters with several values, one or two, that with most values first; the
            first one given where none has.
        points: Each curve over the first axis is a run of points.
        seconds: Wall time of everything.
    """

    axes: tuple[str, ...]
    points: tuple[Point, ...]
    seconds: float

    @property
    def metric(self) -> str:
        """What values are; see `nvmc.evaluation.description.Description`."""
        return self.points[0].description.metric

    @property
    def shared(self) -> dict[str, Any]:
        """What the descriptions of all points agree in, as JSON."""
        return in_common([point.description for point in self.points])

    @property
    def elsewhere(self) -> Elsewhere:
        """Chips, at all points together, that others had found."""
        return sum((point.elsewhere for point in self.points), Elsewhere())

    def curves(self) -> list[list[Point]]:
        """The points of each value of the second axis, in the order given."""
        if len(self.axes) < 2:
            return [list(self.points)]
        grouped = itertools.groupby(self.points, key=lambda point: point.at[self.axes[1]])
        return [list(points) for _, points in grouped]

    def headline(self) -> str:
        """What it is and what came out, in one line."""
        values = [f"{name} {self._span(name)}" for name in self.axes]
        of = of_text(*(point.description for point in self.points))
        return f"Sweep over {' and '.join(values)}: {of} at each"

    def _span(self, name: str) -> str:
        texts = list(dict.fromkeys(point.at[name].text for point in self.points))
        return texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]} ({len(texts)} values)"

    def shown(self) -> Table:
        """A row for each point, rounded."""
        return sweep_table(self)

    def records(self) -> Iterator[dict[str, Cell]]:
        """A row for each point: its parameters, and what the chips are worth there."""
        return point_rows(self)

    def _draw(self, sheet: Sheet) -> None:
        """Curves."""
        draw_sweep(self, sheet)

    def to_json(self) -> dict[str, Any]:
        """The result as `nvmc sweep --json` prints it; docs/sweep.md names the keys."""
        shared = self.shared
        return {
            "format": FORMAT,
            "description": shared,
            "axes": [PARAMETERS[name].column for name in self.axes],
            "points": [_point_json(point, shared) for point in self.points],
            "seconds": self.seconds,
        }


def _point_json(point: Point, shared: Mapping[str, Any]) -> dict[str, Any]:
    kpp, summary = point.kpp, point.summary
    facts = point.description.to_json()
    return {
        "at": {PARAMETERS[name].column: value.number for name, value in point.at.items()},
        "description": {k: v for k, v in facts.items() if k not in shared or v != shared[k]},
        "ideal": point.ideal,
        "mean": summary.mean,
        "std": summary.std,
        "min": summary.min,
        "max": summary.max,
        "percentile": kpp.to_json(),
        "yield": None if point.reached is None else point.reached.to_json(),
        "elsewhere": point.elsewhere.to_json(),
        "compensation": [one.to_json() for one in point.compensation],
        "values": point.values.tolist(),
    }


@checked
def sweep(
    compiled: Compiled,
    values: Mapping[str, Given],
    *,
    runs: int = 300,
    first: int = 0,
    device: Device | str | Path | None = None,
    noise: Sequence[NoiseSource | str] = (),
    compensate: Sequence[Compensation | str] = (),
    calibration_data: Data | None = None,
    percentile: float = 1.0,
    seed: int = 0,
    goal: float | str | None = None,
    jobs: int | None = None,
    executor: Executor | None = None,
    store: Archive | None = None,
    on_chip: Callable[[int, float], None] | None = None,
    **options: Unpack[Options],
) -> Sweep:
    """Evaluate `runs` chips of population `seed`, from `first` on, at every combination of values.

    Args:
        compiled: From `open_compiled` or `nvmc.compile_model`.
        values: By parameter, a text such as `0:0.4:0.05`, or numbers; at most two have several.
        runs: Chips per point. This and all below are as in `simulate`, which gives the same.
        first: Index of the first chip.
        device: Another device than the network was compiled for: one, its name, or its file.
        noise: More noise sources behind the device's own: sources, or texts as after `--noise`.
        compensate: What the chips do against their noise, at every point.
        calibration_data: Images that this is calibrated on.
        percentile: k of the k-th percentile performance.
        seed: Population of chips.
        goal: What a chip must reach: the yield at every point is stated.
        jobs: Chips in parallel.
        executor: Where chips are run; in `jobs` threads by default.
        store: Keeps every chip, and knows those that it has; as in `simulate`.
        on_chip: Called with (chip, value) as each chip of each point is done, from any thread.
        **options: Data and the like; see `Options`.

    Raises:
        OptionError, DataError, ModelError, StoreError: By what is wrong.
    """
    started = time.perf_counter()
    check_options(runs, jobs, percentile)
    goal = as_goal(goal, as_metric(options.get("metric")))
    axes = _axes(known := as_values(values))
    setup = Setup.of(compiled.manifest.target, device, noise, compensate=compensate)
    setups = [(at, _changed(setup, at)) for at in _grid(known, axes)]
    tuning = Tuning(setup.compensate, calibration_data)
    workloads = Workloads(compiled, known, setups, seed, tuning, options)
    where, points = executor or Threads(jobs), list[Point]()
    told = on_chip or Progress("chips", runs * len(setups)).one
    for at, setup in setups:
        workload = workloads.of(setup)
        pattern = marked(setup.chip(seed, first), workload.marks)
        described = workload.describe(setup, seed, runs, first)
        records = None if store is None else workload.records(store, described, where)
        population = Population(workload, Chips(pattern, first, runs), where, records, told)
        points.append(_point(population, at, described, percentile, goal))
    return Sweep(axes, tuple(points), time.perf_counter() - started)


def _point(
    population: Population,
    at: dict[str, Value],
    described: Description,
    percentile: float,
    goal: float | None,
) -> Point:
    """What a population is worth, each of whose chips is run on all images."""
    workload, values = population.workload, population.complete()
    less = workload.metric.less_is_better
    return Point(
        at=at,
        description=described,
        ideal=workload.ideal,
        values=values,
        kpp=percentile_performance(
            values, percentile, images=workload.sampled, less_is_better=less
        ),
        summary=summarize(values, less_is_better=less),
        elsewhere=population.elsewhere(len(values)),
        compensation=workload.compensation,
        reached=None if goal is None else yield_at(values, goal, less_is_better=less),
    )


class Workloads:
    """Makes a workload for a target, and keeps the last: neighbours on a curve mostly share one.

    Complains of any point before the first is run.

    Args:
        compiled: The network.
        values: Those of every parameter that is given.
        setups: Where each point lies, and what its chips are made with.
        seed: Population of chips.
        tuning: What the chips do against their noise.
        options: Data and the like.

    Raises:
        OptionError, DataError: A point cannot be, or the data are wrong.
    """

    def __init__(
        self,
        compiled: Compiled,
        values: Values,
        setups: list[tuple[dict[str, Value], Setup]],
        seed: int,
        tuning: Tuning,
        options: Options,
    ) -> None:
        fidelity = options.get("fidelity")
        _check_fidelity(values, fidelity)
        for _, setup in setups:
            setup.chip(seed, 0)
            fidelity_of(setup.target, fidelity)
        data = options.get("data")
        if data is not None:
            options = {**options, "data": load_data(data, limit=options.get("limit"))}
        self._compiled, self._seed, self._options = compiled, seed, options
        self._tuning = replace(tuning, spec=data)
        self._last: tuple[tuple[Target, float | None], Workload] | None = None

    def of(self, setup: Setup) -> Workload:
        """What chips of a setup are run on."""
        tuning = self._tuning
        if tuning.verify is not None:  # what it costs depends on the noise's strength
            tuning = replace(tuning, sigma=setup.sigma)
        key = setup.target, tuning.sigma
        if self._last is None or self._last[0] != key:
            self._last = None  # before the next one is made: each holds the whole network
            made = set_up(
                self._compiled, setup.target, seed=self._seed, tuning=tuning, **self._options
            )
            self._last = (key, made)
        return self._last[1]


def point_count(values: Values) -> int:
    """How many populations `sweep` evaluates.

    Raises:
        OptionError: No parameter has a value, one is unknown, or more than two have several.
    """
    _axes(values)
    return math.prod(len(several) for several in values.values())


def _axes(values: Values) -> tuple[str, ...]:
    """The parameters with several values, most first; the first one given where none has."""
    known = ", ".join(f"--{name}" for name in PARAMETERS)
    if not values or not all(values.values()):
        raise OptionError(f"there is nothing to sweep; give one or two of {known}")
    if strange := sorted(values.keys() - PARAMETERS.keys()):
        raise OptionError(unknown("parameter", strange[0], PARAMETERS))
    several = [name for name in PARAMETERS if len(values.get(name, ())) > 1]
    axes = tuple(sorted(several, key=lambda name: -len(values[name])))
    if len(axes) > 2:
        raise OptionError(
            f"{', '.join(f'--{name}' for name in axes)} have several values each; expected at "
            "most two such parameters: give the others one value"
        )
    return axes or tuple(name for name in PARAMETERS if name in values)[:1]


def _check_fidelity(values: Values, fidelity: Fidelity | None) -> None:
    """Refuse a periphery that no point would have."""
    for name, parameter in PARAMETERS.items() if fidelity == "cells" else ():
        given = values.get(name, ()) if parameter.circuit else ()
        if any(value.number is not None for value in given):
            raise OptionError(
                f"--{name} changes nothing at fidelity 'cells', whose periphery is ideal; use "
                "fidelity 'circuit'"
            )


def _grid(values: Values, axes: tuple[str, ...]) -> Iterator[dict[str, Value]]:
    """Every combination; the first axis varies fastest."""
    names = [*axes, *(name for name in PARAMETERS if name in values and name not in axes)]
    for slowest_first in itertools.product(*(values[name] for name in reversed(names))):
        yield dict(zip(names, reversed(slowest_first), strict=True))


def _changed(setup: Setup, at: Mapping[str, Value]) -> Setup:
    for name, value in at.items():
        setup = PARAMETERS[name].change(setup, value.number)
    return setup
