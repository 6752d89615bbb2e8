"""The pipeline behind `nvmc sensitivity`: which part of a chip's noise costs how much.

Every part (an array, a slice of the weights, a noise source) is taken out alone, and left in
alone, on the same chips with the same random numbers. What a part costs is therefore a difference
of paired values, and its standard error comes from resampling chips, not values.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from nvmc.arguments import checked
from nvmc.compiled.artifact import Compiled
from nvmc.errors import OptionError
from nvmc.evaluation.captions import of_text
from nvmc.evaluation.description import Description
from nvmc.evaluation.parameters import Setup
from nvmc.evaluation.pictures import draw_sensitivities
from nvmc.evaluation.population import Executor, Threads
from nvmc.evaluation.sensitivity_words import PERCENTILE, sensitivity_table
from nvmc.evaluation.tabulated import kpp_text
from nvmc.evaluation.workload import Options, check_options, set_up
from nvmc.hardware.devices import Device, NoiseSource
from nvmc.hardware.devices.checks import check_cells_only
from nvmc.hardware.restriction import AblatedChip, Selection
from nvmc.progress import Progress
from nvmc.report.drawn import Drawn
from nvmc.report.figure import Sheet
from nvmc.rng import stream
from nvmc.statistics import Kpp, percentile_index, percentile_performance
from nvmc.tables import Cell, Shown, Table

__all__ = [
    "FEWEST_BELOW",
    "FORMAT",
    "Difference",
    "Part",
    "PartCost",
    "Sensitivity",
    "paired_difference",
    "population_count",
    "row_of",
    "sensitivity",
]

FORMAT = "nvmc.evaluation.sensitivity/1"
RESAMPLES = 1000
FEWEST_BELOW = 5
"""Chips below the KPP from which on the standard errors of differences are to be relied on."""

KINDS = ("layer", "slice", "source")
EVERYTHING = Selection()
NOTHING = Selection(arrays=frozenset())

Float = NDArray[np.float64]
Kind = Literal["layer", "slice", "source"]


@dataclass(frozen=True)
class Part:
    """A part of a chip's noise.

    Attributes:
        kind: `layer` (an array), `slice` (cells of one weight digit in all arrays) or `source`.
        name: The array, the slice's number (0 is the least significant), or the noise source.
        without: What is noisy when it is taken out.
        alone: What is noisy when it is left in alone.
    """

    kind: Kind
    name: str
    without: Selection
    alone: Selection


@dataclass(frozen=True)
class Difference:
    """How much better one population is than another of the same chips.

    Attributes:
        kpp: Difference of the k-th percentile performances.
        kpp_error: Its standard error over chips, on these images, from a bootstrap.
        mean: Difference of the means.
        mean_error: Its standard error, sd(differences) / sqrt(runs); None for one run.
    """

    kpp: float
    kpp_error: float
    mean: float
    mean_error: float | None


@dataclass(frozen=True)
class PartCost:
    """What a part costs.

    Attributes:
        kpp_without: KPP of the chips without this part's noise.
        cost: What that is better by than the whole chips: the cost among all other noise.
        kpp_alone: KPP of the chips with this part's noise alone.
        cost_alone: What that is worse by than the ideal chip: the cost by itself.
    """

    part: Part
    kpp_without: float
    cost: Difference
    kpp_alone: float
    cost_alone: Difference


@dataclass(frozen=True, repr=False)
class Sensitivity(Shown, Drawn):
    """What every part of the noise costs, dearest first within each kind.

    Attributes:
        description: Network, whole chips, images, and how they were run.
        ideal: Value of the chip whose every cell is on target.
        kpp: Of the whole chips.
        mean: Of the whole chips.
        costs: Layers, then slices, then sources.
        seconds: Wall time of everything.
    """

    description: Description
    ideal: float
    kpp: Kpp
    mean: float
    costs: tuple[PartCost, ...]
    seconds: float

    def headline(self) -> str:
        """What it is and what came out, in one line."""
        worth = kpp_text(self.description.metric, self.kpp)
        return f"Sensitivity of {of_text(self.description)}: {len(self.costs)} parts, {worth}"

    def shown(self) -> Table:
        """A row for each part, rounded."""
        return sensitivity_table(self)

    def records(self) -> Iterator[dict[str, Cell]]:
        """A row for each part: its kind and name, what it costs, and the errors of that."""
        return (dict(row_of(cost)) for cost in self.costs)

    def _draw(self, sheet: Sheet) -> None:
        """What each part costs."""
        draw_sensitivities(self, sheet)

    def to_json(self) -> dict[str, Any]:
        """The result as `nvmc sensitivity --json` prints it; docs/sensitivity.md names the keys."""
        return {
            "format": FORMAT,
            "description": self.description.to_json(),
            "ideal": self.ideal,
            "mean": self.mean,
            "percentile": self.kpp.to_json(),
            "resamples": RESAMPLES,
            "parts": [row_of(cost) for cost in self.costs],
            "seconds": self.seconds,
        }


def row_of(cost: PartCost) -> dict[str, str | float | None]:
    """One part as a flat row, for JSON and CSV."""
    return {
        "kind": cost.part.kind,
        "name": cost.part.name,
        "kpp_without": cost.kpp_without,
        "cost": cost.cost.kpp,
        "cost_error": cost.cost.kpp_error,
        "mean_cost": cost.cost.mean,
        "mean_cost_error": cost.cost.mean_error,
        "kpp_alone": cost.kpp_alone,
        "cost_alone": cost.cost_alone.kpp,
        "cost_alone_error": cost.cost_alone.kpp_error,
        "mean_cost_alone": cost.cost_alone.mean,
        "mean_cost_alone_error": cost.cost_alone.mean_error,
    }


@checked
def sensitivity(
    compiled: Compiled,
    *,
    runs: int = 100,
    device: Device | str | Path | None = None,
    noise: Sequence[NoiseSource | str] = (),
    sigma: float | None = None,
    time_s: float | None = None,
    temperature_c: float | None = None,
    percentile: float = PERCENTILE,
    seed: int = 0,
    jobs: int | None = None,
    executor: Executor | None = None,
    on_chip: Callable[[int, float], None] | None = None,
    **options: Unpack[Options],
) -> Sensitivity:
    """Evaluate chips 0 … runs - 1 whole, without each part, and with each part alone.

    Cost: `population_count` times that of `nvmc.evaluation.simulation.simulate`.

    Args:
        compiled: From `open_compiled` or `nvmc.compile_model`.
        runs: Chips per population; this and all below as in `nvmc.evaluation.simulation.simulate`.
        device: Another device than the network was compiled for: one, its name, or its file.
        noise: More noise sources behind the device's own: sources, or texts as after `--noise`.
        sigma: Strength of the device's noise instead of its default.
        time_s: Seconds since programming; the device's own time by default.
        temperature_c: Of the cells, degrees Celsius; what their noise sources say by default.
        percentile: k of the k-th percentile performance; 5 by default, since the error of the 1st
            percentile of 100 chips is not to be known from them (docs/sensitivity.md).
        seed: Population of chips.
        jobs: Chips in parallel.
        executor: Where chips are run; in `jobs` threads by default.
        on_chip: Called with (chip, value) as each chip is done, from any thread.
        **options: Data and the like; see `nvmc.evaluation.workload.Options`.

    Raises:
        OptionError, DataError, ModelError: By what is wrong, such as a chip without noise.
    """
    check_options(runs, jobs, percentile)
    made = (device, noise, sigma, time_s, (), temperature_c)
    setup = Setup.of(compiled.manifest.target, *made)
    parts, started = _parts(compiled, setup), time.perf_counter()
    workload = set_up(compiled, setup.target, seed=seed, **options)
    chips = [setup.chip(seed, index) for index in range(runs)]
    found: dict[Selection, Float] = {NOTHING: np.full(runs, workload.ideal)}
    count = on_chip or Progress("chips", runs * len(_populations(parts))).one
    for only in _populations(parts):
        partial = [AblatedChip.within(chip, only) for chip in chips]
        found[only] = workload.run(partial, executor or Threads(jobs), on_chip=count)
    told: Any = {"images": workload.sampled, "less_is_better": workload.metric.less_is_better}
    costs = [_cost(part, found, percentile, seed, told["less_is_better"]) for part in parts]
    return Sensitivity(
        description=workload.describe(setup, seed, runs),
        ideal=workload.ideal,
        kpp=percentile_performance(found[EVERYTHING], percentile, **told),
        mean=float(np.mean(found[EVERYTHING])),
        costs=tuple(sorted(costs, key=_dearest_first)),
        seconds=time.perf_counter() - started,
    )


def population_count(compiled: Compiled, setup: Setup) -> int:
    """How many populations `sensitivity` evaluates: whole, and each part without and alone.

    Fewer where two of them are the same, or the ideal chip.

    Raises:
        OptionError: There is no noise, or noise of activations.
    """
    return len(_populations(_parts(compiled, setup)))


def paired_difference(
    better: Float, worse: Float, percentile: float, generator: np.random.Generator
) -> Difference:
    """How much `better` exceeds `worse`, two values of each chip.

    The standard error of the KPPs' difference is the root mean square of what it moves by over
    `RESAMPLES` bootstrap samples of chips; both values of a chip are drawn together, so that what
    they share cancels (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 6, 8 and
    10). A sample's mean difference is off by the bias of a percentile of few chips, so it is what
    was found that the samples are compared with, and not their mean.

    Args:
        better: Values of shape (runs,).
        worse: Values of the same chips.
        percentile: k of the KPP.
        generator: Draws the samples; equal generators draw the same samples.
    """
    runs = len(better)
    index = percentile_index(runs, percentile)
    drawn = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        sample = generator.integers(runs, size=runs)
        drawn[i] = _ranked(better[sample], index) - _ranked(worse[sample], index)
    differences = better - worse
    found = _ranked(better, index) - _ranked(worse, index)
    return Difference(
        kpp=found,
        kpp_error=float(np.sqrt(np.mean((drawn - found) ** 2))),
        mean=float(np.mean(differences)),
        mean_error=float(np.std(differences, ddof=1) / np.sqrt(runs)) if runs > 1 else None,
    )


def _dearest_first(cost: PartCost) -> tuple[int, float, float]:
    return KINDS.index(cost.part.kind), -cost.cost.kpp, -cost.cost.mean


def _ranked(values: Float, index: int) -> float:
    return float(np.partition(values, index)[index])


def _parts(compiled: Compiled, setup: Setup) -> list[Part]:
    check_cells_only(setup.target.device.noise, "no layer or slice of weights is its part")
    active = AblatedChip.within(setup.chip(0, 0), EVERYTHING).active
    if not active:
        raise OptionError(
            f"device {setup.target.device.name!r} has no noise here, so no part of it costs "
            "anything; give --sigma above 0, --noise or another --device"
        )
    parts: list[Part] = []
    arrays = frozenset(entry.name for entry in compiled.manifest.arrays)
    for entry in compiled.manifest.arrays:
        others, one = arrays - {entry.name}, frozenset([entry.name])
        parts.append(Part("layer", entry.name, Selection(arrays=others), Selection(arrays=one)))
    cells = (setup.target.of_array(name).layout for name in arrays)
    slices = frozenset(range(max(layout.slices for layout in cells)))
    for i in sorted(slices) if len(slices) > 1 else ():
        alone = Selection(slices=frozenset([i]), whole=False)
        parts.append(Part("slice", str(i), Selection(slices=slices - {i}), alone))
    for name in active:
        others, one = frozenset(active) - {name}, frozenset([name])
        parts.append(Part("source", name, Selection(sources=others), Selection(sources=one)))
    return [_plain(part, len(arrays), len(active)) for part in parts]


def _plain(part: Part, arrays: int, sources: int) -> Part:
    """The part with the one name for all and the one for nothing, where it is the only one."""
    if (part.kind, arrays) == ("layer", 1) or (part.kind, sources) == ("source", 1):
        return replace(part, without=NOTHING, alone=EVERYTHING)
    return part


def _populations(parts: list[Part]) -> list[Selection]:
    """What must be run, each once; the whole chips first."""
    wanted = [EVERYTHING, *(only for part in parts for only in (part.without, part.alone))]
    return [only for only in dict.fromkeys(wanted) if only != NOTHING]


def _cost(
    part: Part, found: dict[Selection, Float], percentile: float, seed: int, less: bool
) -> PartCost:
    sign = -1.0 if less else 1.0  # the greater of these is the better chip
    whole, ideal = sign * found[EVERYTHING], sign * found[NOTHING]
    without, alone = sign * found[part.without], sign * found[part.alone]
    index = percentile_index(len(whole), percentile)
    return PartCost(
        part=part,
        kpp_without=sign * _ranked(without, index),
        cost=paired_difference(without, whole, percentile, stream(seed, 0, "bootstrap")),
        kpp_alone=sign * _ranked(alone, index),
        cost_alone=paired_difference(ideal, alone, percentile, stream(seed, 0, "bootstrap")),
    )
