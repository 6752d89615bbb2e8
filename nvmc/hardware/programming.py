"""What gives cells their state: code stage, cell stage, clipping, recombination, weight stage.

Written once against the Python array API: chips of the simulator (`nvmc.hardware.chip`, NumPy) and
networks in training (`nvmc.training.crossbars`, torch) are programmed by the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from array_api_compat import array_namespace

from nvmc.hardware.devices import Cells, Target
from nvmc.hardware.devices.noise import Draws, Programming
from nvmc.hardware.devices.sources.base import Stage

__all__ = [
    "Acting",
    "Clip",
    "Programmed",
    "Weight",
    "beyond_numbers",
    "cells_of",
    "program_cells",
    "weights_of",
]

beyond_numbers = np.errstate(over="ignore", invalid="ignore")
"""Cells that a device moves beyond all numbers of float32 become infinite, and NaN from there.

Decisions that come of NaN are wrong (`nvmc.metrics`), so there is nothing to warn of.
"""

Clip = bool | Literal["zero"]

Acting = Callable[[Stage], Iterable[tuple[Any, Draws]]]
"""The active sources of a stage, in the order of the device, each with what it draws from."""


class Weight(Protocol):
    """A weight tensor as its cells are to hold it; arrays of one namespace.

    Typed loosely, as pyright takes no `cached_property` for a property of a protocol.
    """

    @property
    def layout(self) -> Any:
        """How its cells represent its codes: a `Layout`."""
        ...

    @property
    def unit(self) -> Any:
        """Network units in one code step."""
        ...

    @property
    def cells(self) -> Any:
        """The target state of its cells: `Cells`."""
        ...

    @property
    def sign(self) -> Any:
        """The digital sign of every weight."""
        ...

    @property
    def ideal(self) -> Any:
        """The weights of the ideal chip, float32."""
        ...


@dataclass(frozen=True)
class Programmed:
    """The state of one array on one chip.

    Attributes:
        levels: Programmed level of every cell, shape (planes, *shape), in level steps. Cells on
            target share memory with the array's targets: do not write to them.
        sign: The digital sign of every weight.
        weights: What the array computes with, W_p of Eq. 14, in the network's units.
        pulses: Programming pulses that each cell took, like `levels`; None without write-verify.
    """

    levels: Any
    sign: Any
    weights: Any
    pulses: Any = None


def cells_of(target: Target, steps: Any, unit: Any, plane: int | None = None) -> Cells:
    """The target state of cells.

    Args:
        target: The cells.
        steps: Codes, or weights in code steps when analog.
        unit: Network units in one code step, a scalar or one that broadcasts against `steps`.
        plane: The only plane whose cells they are; all planes by default.
    """
    layout, bits = target.layout, target.weight_bits
    largest = layout.highest_target if bits is None else 2**bits - 1
    plane_bits = () if bits is None else tuple(layout.plane_bits.tolist())
    if plane is None:
        targets = layout.levels(steps)
    else:
        targets, plane_bits = layout.plane(steps, plane)[None, ...], plane_bits[plane : plane + 1]
    return Cells(
        targets=targets,
        highest_level=target.highest_level,
        plane_bits=plane_bits,
        full_range=unit * largest,
        signed=layout.signed,
        conductance=target.device.conductance,
    )


@beyond_numbers
def program_cells(
    sign: Any, cells: Cells, acting: Acting, clip: Clip
) -> tuple[Any, Any, Any | None]:
    """The state of a weight's cells, all draws made in the order of stages and sources.

    Args:
        sign: The digital sign of every weight.
        cells: The cells, at the time of the chip and with what its sources ask for.
        acting: The sources.
        clip: The device's (`Device.clip`).

    Returns:
        Levels, signs, and pulses or None, as in `Programmed`.
    """
    levels, pulses = cells.targets, None
    for source, draws in acting("code"):
        levels, sign = source.apply(levels, sign, cells, draws)
        cells = replace(cells, targets=levels, found=None)
    cells = cells.placed()
    levels = cells.targets
    for source, draws in acting("cell"):
        if isinstance(source, Programming):
            levels, taken = source.program(levels, cells, draws)
            if taken is not None:
                pulses = taken if pulses is None else pulses + taken
        else:
            levels = source.apply(levels, cells, draws)
    if clip and levels is not cells.targets:
        low, high = (0.0 - cells.off_level, None) if clip == "zero" else (0, cells.highest_level)
        levels = array_namespace(levels).clip(levels, low, high)
    return levels, sign, pulses


@beyond_numbers
def weights_of(weight: Weight, levels: Any, sign: Any, cells: Cells, acting: Acting) -> Any:
    """The weights that levels and signs stand for (Eq. 14), with what acts on weights themselves.

    Where every cell is on target they start from the ideal weights, not from their recombination,
    which an analog weight does not survive to the last bit.
    """
    if levels is weight.cells.targets and sign is weight.sign:
        weights = weight.ideal
    else:
        weights = weight.layout.combine(levels, sign)
        weights *= weight.unit  # a new array: no second one of a large weight is made
    for source, draws in acting("weight"):
        weights = source.apply(weights, cells, draws)
    return weights
