"""The weights of a large array on one chip, block after block.

A chip's numbers are drawn plane after plane, each in the order of the weights. Where every source
draws one number per cell (`NoiseSource.pointwise`), only one block of one plane has to be in memory
beside the weights themselves, and it stays in a core's own cache. Bit for bit these are the weights
of `Chip.program`.

The weights of a small array need no blocks: where normals are all that its cells get, they are
drawn, added and recombined in one go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.devices import Cells, Target
from nvmc.hardware.devices.noise import NoiseSource, Programming
from nvmc.hardware.programming import Acting, Clip, beyond_numbers, cells_of, program_cells
from nvmc.rng import Draw

__all__ = ["joined_axes", "quick_weights", "rows_of_block", "weights_in_blocks"]

BLOCK = 1 << 16
"""Weights of a block, where the array's last axis has no more."""


def joined_axes(shape: tuple[int, ...]) -> int:
    """How many of the first axes are joined, so that blocks lie along one axis."""
    fitting = (k for k in range(1, len(shape)) if math.prod(shape[k:]) <= BLOCK)
    return next(fitting, max(1, len(shape) - 1))


def rows_of_block(shape: tuple[int, ...]) -> int:
    """Elements of the joined axes that a block takes."""
    return max(1, BLOCK // max(1, math.prod(shape[joined_axes(shape) :])))


@beyond_numbers
def weights_in_blocks(
    array: Any, told: Callable[[Cells, Target], Cells], acting: Acting, clip: Clip
) -> NDArray[np.float32]:
    """What an array computes with on a chip.

    Args:
        array: An `Array`.
        told: Cells of a target with what they know of the chip.
        acting: The chip's sources, none of them on codes, all pointwise.
        clip: The device's (`Device.clip`).

    Returns:
        A new array of the weights' shape.
    """
    sources = {stage: list(acting(stage)) for stage in ("cell", "weight")}  # each draws on and on
    shape, layout = array.codes.shape, array.layout
    found = np.empty(shape, np.float32)
    rows = found.reshape(-1, *shape[joined_axes(shape) :])
    for plane, coefficient in enumerate(layout.coefficients.tolist()):
        for where, part in array.parts():
            block, weights = rows[where], None
            cells = told(cells_of(part.target, part.steps, part.unit, plane), part.target)
            levels, _, _ = program_cells(None, cells, lambda stage: sources.get(stage, ()), clip)
            if plane == 0:
                np.multiply(levels[0, ...], coefficient, out=block)
            else:
                block += levels[0, ...] * coefficient
            if plane < layout.planes - 1:
                continue
            if levels is cells.targets:  # nothing moves any cell: see `weights_of`
                weights = part.ideal
            else:
                weights = layout.recombined(block, part.sign) * part.unit
            for source, draws in sources["weight"]:
                weights = source.apply(weights, cells, draws)
            block[...] = weights
    return found


def quick_weights(
    array: Any,
    told: Callable[[Cells, Target], Cells],
    cells_of_chip: Callable[[Any], Cells],
    acting: Acting,
    sources: Sequence[NoiseSource],
    clip: Clip,
) -> NDArray[np.float32] | None:
    """What an array computes with on a chip: the weights of `Chip.program`, and only those.

    Args:
        array: An `Array`.
        told: Cells of a target with what they know of the chip.
        cells_of_chip: The array's cells with all that.
        acting: The chip's sources.
        sources: All of them that act on anything but reads.
        clip: The device's (`Device.clip`).

    Returns:
        A new array; None where these sources need the state of all cells.
    """
    if not array.large:
        return _weights_at_once(array, cells_of_chip, acting, sources, clip)
    if all(source.pointwise for source in sources):
        return weights_in_blocks(array, told, acting, clip)
    return None


@beyond_numbers
def _weights_at_once(
    array: Any,
    cells_of_chip: Callable[[Any], Cells],
    acting: Acting,
    sources: Sequence[NoiseSource],
    clip: Clip,
) -> NDArray[np.float32] | None:
    """Weights of which all noise is one normal error a cell, without a mean, written once."""
    source = sources[0] if len(sources) == 1 else None
    if clip or not isinstance(source, Programming) or source.verified:
        return None
    cells = cells_of_chip(array).placed()
    spread, shift = source.errors(cells)
    if cells.verification is not None or shift is not None or not _fits(spread, cells.targets):
        return None
    ((_, draws),) = acting("cell")
    if not isinstance(draws, Draw):
        return None
    layout = array.layout
    total = draws.summed(np.ascontiguousarray(cells.targets), spread, layout.coefficients)
    if layout.signed:
        total *= array.sign
    elif layout.shift:
        total -= layout.shift
    total *= array.unit
    return total


def _fits(spread: Any, targets: NDArray[np.float32]) -> bool:
    """Whether products with a spread are float32 and of the targets' shape."""
    if isinstance(spread, np.ndarray):
        known = cast("NDArray[Any]", spread)
        return known.dtype == np.float32 and known.shape == targets.shape
    return type(spread) is float
