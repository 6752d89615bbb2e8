"""How far weights should reach, by what chips come to: for `nvmc compile --clip kpp`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nvmc.arguments import checked
from nvmc.compiled.options import CompileOptions
from nvmc.compiler import map_network
from nvmc.data import Data, Dataset, load_data
from nvmc.errors import DataError
from nvmc.evaluation.workload import set_up
from nvmc.hardware.chip import CHOOSING, Array, Chip
from nvmc.hardware.devices import NoiseSource, Target, as_noise
from nvmc.passes.bind_inputs import bind_inputs
from nvmc.passes.io.load import load_model
from nvmc.passes.program_chip import arrays_of
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
        width: Geometric mean over all weights of the range of their codes, each tensor's or
            channel's, in the network's units; of one bit their magnitude.
    """

    clip: str | None
    ideal: float
    kpp: float
    width: float


@checked
def best_clip(
    source: str | Path,
    target: Target,
    data: Data,
    options: CompileOptions | None = None,
    *,
    sigma: float | None = None,
    noise: Sequence[NoiseSource | str] = (),
    chips: int = 100,
    limit: int = 500,
    percentile: float = 1.0,
    on_tried: Callable[[Tried], None] | None = None,
) -> tuple[Tried, list[Tried]]:
    """The width of weights with the best KPP, and all that were tried.

    Every width is compiled in memory and judged on the same chips (common random numbers), which
    are not those that `simulate` draws, and the same held-out images: the validation split of named
    data, else the first of them. Among equals the widest wins (`Tried.width`), which changes
    weights least, and of equally wide ones the first that was tried. The KPP of the best of several
    flatters it a little: `simulate` on other images is what it is worth.

    Args:
        source: An ONNX file.
        target: The cells.
        data: Images with labels or targets (docs/data.md).
        options: How it will be compiled; `clip` is what is looked for.
        sigma: Strength of the cells' noise; None for the device's own.
        noise: More noise sources behind the device's own, of the chips that are judged: sources, or
            texts as after `--noise`. Widths of least expected error do not know them.
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
    if options.activation_bits is not None or target.needs_data:
        images = load_data(
            data, "train", CONVERTER_IMAGES if options.activation_bits is None else None
        )
    more = tuple(map(as_noise, noise))
    judged = _Judged(Path(source), target, more, images, held_out, percentile)
    noisy = target.on(None, more)
    population = [Chip.of(noisy, CHOOSING, k, sigma) for k in range(chips)]
    found: list[Tried] = []
    for clip in _widths(target, sigma):
        tried = judged.tried(replace(options, clip=clip), population)
        found.append(tried)
        if on_tried is not None:
            on_tried(tried)
    return max(found, key=lambda one: (one.kpp, one.width)), found


def _widths(target: Target, sigma: float | None) -> list[str | None]:
    """Values of `CompileOptions.clip` that are tried, the widest first."""
    fixed = [None, *(f"{width:g}" for width in WIDTHS)]
    if "bitflip" in target.device.required:  # without that no error can be expected
        return fixed
    strength = target.device.sigma if sigma is None else sigma
    if strength is None or not target.device.needs_sigma:
        return [*fixed, "auto"]
    return [*fixed, *(f"auto:{share * strength:g}" for share in STRENGTHS)]


@dataclass(frozen=True)
class _Judged:
    """What every width is judged on."""

    source: Path
    target: Target
    noise: tuple[NoiseSource, ...]
    images: Dataset | None
    held_out: Dataset
    percentile: float

    def tried(self, options: CompileOptions, population: list[Chip]) -> Tried:
        """What the chips come to with the options' width."""
        model = load_model(self.source)
        bind_inputs(model, options)
        mapped = map_network(model, self.target, options, self.images)
        width = _width(arrays_of(mapped.model))
        workload = set_up(mapped.model, mapped.target.on(None, self.noise), data=self.held_out)
        kpp = percentile_performance(workload.run(population), self.percentile)
        return Tried(options.clip, workload.ideal, kpp.value, width)


def _width(arrays: Iterable[Array]) -> float:
    """The geometric mean of `Tried.width`; tensors and channels of zeros do not count."""
    logarithms, weights = 0.0, 0
    for array in arrays:
        bits, largest = array.target.weight_bits, np.abs(array.codes).max(initial=0)
        scale = array.scale.astype(np.float64) * (largest if bits is None else 2**bits - 1)
        wide = np.broadcast_to(scale, array.codes.shape)
        wide = wide[wide > 0]
        logarithms += float(np.log(wide).sum())
        weights += wide.size
    return math.exp(logarithms / weights) if weights else 0.0
