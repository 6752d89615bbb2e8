"""Which range ADCs should have, by what chips come to: for `nvmc compile --adc-range kpp`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvmc.arguments import checked
from nvmc.compiled.options import CompileOptions
from nvmc.compiler import map_network
from nvmc.data import Data, Dataset, load_data
from nvmc.errors import DataError
from nvmc.evaluation.workload import set_up
from nvmc.hardware.chip import CHOOSING, Chip
from nvmc.hardware.devices import Periphery, Target
from nvmc.passes.bind_inputs import bind_inputs
from nvmc.passes.io.load import load_model
from nvmc.runtime.calibration import CONVERTER_IMAGES
from nvmc.statistics import percentile_performance

__all__ = ["RANGES", "TriedRange", "best_range", "judged"]

RANGES = ("calibrated", "error:2", "error:1.4", "error", "error:0.7", "error:0.5")
"""Ranges that are tried, as `Periphery.adc_range`."""


@dataclass(frozen=True)
class TriedRange:
    """One range.

    Attributes:
        adc_range: As `Periphery.adc_range`.
        ideal: What the chip whose cells are all on target comes to.
        kpp: k-th percentile performance.
    """

    adc_range: str
    ideal: float
    kpp: float


@checked
def best_range(
    source: str | Path,
    target: Target,
    data: Data,
    options: CompileOptions | None = None,
    *,
    sigma: float | None = None,
    chips: int = 100,
    limit: int = 500,
    percentile: float = 1.0,
    on_tried: Callable[[TriedRange], None] | None = None,
) -> tuple[TriedRange, list[TriedRange]]:
    """The ADC range with the best KPP, and all that were tried.

    A range is one of `RANGES`, for all arrays; each array then has its own numbers. All are judged
    on the same chips (common random numbers), which are not those that `simulate` draws, and on the
    same held-out images, as in `nvmc.evaluation.best_clip`. Among equals the first that was tried
    wins. The KPP of the best of several flatters it a little.

    Cost: 6 simulations of 100 circuits.

    Args:
        source: An ONNX file.
        target: The cells, with ADCs; their range is what is looked for.
        data: Images with labels or targets (docs/data.md).
        options: How it will be compiled.
        sigma: Strength of the cells' noise; None for the device's own.
        chips: Chips of a KPP.
        limit: Images of one.
        percentile: k.
        on_tried: Told of each range.

    Raises:
        NvmcError: One of its children, by what is wrong.
    """
    options = options or CompileOptions()
    held_out = load_data(data, "validation", limit)
    if held_out.y is None and held_out.targets is None:
        raise DataError(
            f"{held_out.name} has no labels; --adc-range kpp compares chips by them: add an array "
            "y, or use --adc-range error"
        )
    most = CONVERTER_IMAGES if options.activation_bits is None else None
    images = load_data(data, "train", most)
    population = [Chip.of(target, CHOOSING, k, sigma) for k in range(chips)]
    found: list[TriedRange] = []
    for adc_range in RANGES:
        stated: dict[str, Any] = {**dict(target.periphery), "adc_range": adc_range}
        periphery = Periphery(**stated)
        cells = target.model_copy(update={"periphery": periphery})
        on = images, held_out
        values = judged(Path(source), cells, options, on, population, percentile)
        found.append(TriedRange(adc_range, *values))
        if on_tried is not None:
            on_tried(found[-1])
    return max(found, key=lambda one: one.kpp), found


def judged(
    source: Path,
    target: Target,
    options: CompileOptions,
    data: tuple[Dataset, Dataset],
    population: list[Chip],
    percentile: float,
) -> tuple[float, float]:
    """What the ideal chip and the KPP come to, of a network that is compiled in memory.

    Args:
        source: An ONNX file.
        target: The cells.
        options: How it is compiled.
        data: The images that calibrate, and those to judge on.
        population: The chips.
        percentile: k.
    """
    images, held_out = data
    model = load_model(source)
    bind_inputs(model, options)
    mapped = map_network(model, target, options, images)
    workload = set_up(mapped.model, mapped.target, data=held_out)
    values = workload.run(population)
    return workload.ideal, percentile_performance(values, percentile).value
