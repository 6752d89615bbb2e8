"""How far weights should reach, by what chips come to: for `nvmc compile --clip kpp`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from nvmc.arguments import checked
from nvmc.compiled.options import CompileOptions
from nvmc.compiler import map_network
from nvmc.data import Data, Dataset, load_data
from nvmc.errors import DataError
from nvmc.evaluation.workload import set_up
from nvmc.hardware.chip import CHOOSING, Chip
from nvmc.hardware.devices import Target
from nvmc.passes.bind_inputs import bind_inputs
from nvmc.passes.io.load import load_model
from nvmc.runtime.calibration import CONVERTER_IMAGES
from nvmc.statistics import percentile_performance

__all__ = ["WIDTHS", "Tried", "best_clip"]

WIDTHS = (3.0, 2.5, 2.0, 1.5)
"""Standard deviations that are tried."""
STRENGTHS = (0.5, 1.0, 1.5, 2.0)
"""Noise for which the width of least expected error is tried, over that which chips have."""


@dataclass(frozen=True)
class Tried:
    """One width.

    Attributes:
        clip: As `CompileOptions.clip`; None for weights as they are.
        ideal: What the ideal chip comes to.
        kpp: k-th percentile performance.
    """

    clip: str | None
    ideal: float
    kpp: float


@checked
def best_clip(
    source: str | Path,
    target: Target,
    data: Data,
    options: CompileOptions | None = None,
    *,
    sigma: float | None = None,
    chips: int = 100,
    limit: int = 500,
    percentile: float = 1.0,
    on_tried: Callable[[Tried], None] | None = None,
) -> tuple[Tried, list[Tried]]:
    """The width of weights with the best KPP, and all that were tried.

    Every width is compiled in memory and judged on the same chips (common random numbers), which
    are not those that `simulate` draws, and the same held-out images: the validation split of named
    data, else the first of them. Among equals the first that was tried wins: no
    clipping, then the widest number of deviations, then least expected error. The KPP of the best
    of several flatters it a little: `simulate` on other images is what it is worth.

    Args:
        source: An ONNX file.
        target: The cells.
        data: Images with labels or targets (docs/data.md).
        options: How it will be compiled; `clip` is what is looked for.
        sigma: Strength of the cells' noise; None for the device's own.
        chips: Chips of a KPP.
        limit: Images of one.
        percentile: k.
        on_tried: Told of each width.

    Raises:
        NvmcError: One of its children, by what is wrong.
    """
    options = options or CompileOptions()
    held_out, images = load_data(data, "validation", limit), None
    if held_out.y is None and held_out.targets is None:
        raise DataError(
            f"{held_out.name} has no labels; --clip kpp compares chips by them: add an array y, or "
            "use --clip auto"
        )
    if options.activation_bits is not None or target.periphery.needs_data:
        images = load_data(
            data, "train", CONVERTER_IMAGES if options.activation_bits is None else None
        )
    population = [Chip.of(target, CHOOSING, k, sigma) for k in range(chips)]
    found: list[Tried] = []
    for clip in _widths(target.device.sigma if sigma is None else sigma):
        chosen = replace(options, clip=clip)
        tried = _tried(Path(source), target, chosen, images, held_out, population, percentile)
        found.append(tried)
        if on_tried is not None:
            on_tried(tried)
    return max(found, key=lambda one: one.kpp), found


def _widths(sigma: float | None) -> list[str | None]:
    """Values of `CompileOptions.clip` that are tried, the widest first."""
    fixed = [None, *(f"{width:g}" for width in WIDTHS)]
    if sigma is None:
        return [*fixed, "auto"]
    return [*fixed, *(f"auto:{strength * sigma:g}" for strength in STRENGTHS)]


def _tried(
    source: Path,
    target: Target,
    options: CompileOptions,
    images: Dataset | None,
    held_out: Dataset,
    population: list[Chip],
    percentile: float,
) -> Tried:
    model = load_model(source)
    bind_inputs(model, options)
    mapped = map_network(model, target, options, images)
    workload = set_up(mapped.model, mapped.target, data=held_out)
    values = workload.run(population)
    return Tried(options.clip, workload.ideal, percentile_performance(values, percentile).value)
