"""The array: the cells of one weight as the matrices that its tiles multiply by.

A *lane* is what one ADC conversion reads of a weight: a slice, or one polarity of a slice. Lanes
lie side by side as columns, so that one product serves them all.

| encoding         | `subtract` | lanes             | current  |
| ---------------- | ---------- | ----------------- | -------- |
| `sign-magnitude` | analog     | slices            | signed   |
| `sign-magnitude` | digital    | 2 slices, + and - | unsigned |
| `differential`   | analog     | slices            | signed   |
| `differential`   | digital    | 2 slices, + and - | unsigned |
| `offset`         | either     | slices            | unsigned |

Under sign-magnitude the cell of a weight sits in the positive or in the negative column and the
other is left unformed: it conducts nothing and has no noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nvmc.chip import Array, Programmed
from nvmc.runtime.crossbar.lowering import spans

__all__ = ["Block", "Lanes", "View", "beside", "blocks_of", "lanes_of", "levels_of"]

Real = NDArray[np.floating[Any]]
View = Callable[[Real], Real]
"""From a tensor of the weight's ONNX shape to its matrices, (groups, rows, cols)."""


@dataclass(frozen=True)
class Lanes:
    """How a weight is read.

    Attributes:
        levels: Level of every lane, shape (lanes, *weight shape); negative in a lane that
            subtracts polarities itself.
        coefficients: What a lane counts for, in code steps, shape (lanes,).
        signed: Whether currents of both signs arrive at the ADC.
    """

    levels: Real
    coefficients: Real
    signed: bool


@dataclass(frozen=True)
class Block:
    """The tiles that share their rows.

    Attributes:
        rows: Which rows of the matrices.
        currents: Current of each column for a drive of 1, shape (groups, rows, lanes * cols).
        variance: What a drive of 1 adds to the variance of one read, shape as `currents`; None
            where every read is the same.
    """

    rows: slice
    currents: Real
    variance: Real | None

    @property
    def height(self) -> int:
        """Rows in use."""
        return self.rows.stop - self.rows.start


def levels_of(array: Array, programmed: Programmed, moved: bool) -> Real:
    """Levels whose recombination is `programmed.weights`.

    Args:
        array: The array.
        programmed: Its state on the chip.
        moved: Whether sources acted on the recombined weights. What they changed is then put on
            the cells of the highest slice, where it is the smallest part of a cell's range.
    """
    levels = programmed.levels
    if not moved:
        return levels
    layout = array.target.layout
    unit = np.broadcast_to(array.unit, programmed.weights.shape)
    wanted = programmed.weights / np.where(unit == 0, 1, unit)
    missing = np.where(unit == 0, 0, wanted - layout.combine(levels, programmed.sign))
    top = len(levels) - layout.polarities
    levels = levels.copy()
    levels[top] += missing * programmed.sign / layout.coefficients[top]
    return levels


def lanes_of(array: Array, cells: Real, sign: Real, analog: bool, squared: bool = False) -> Lanes:
    """What each conversion reads.

    Args:
        array: The array.
        cells: A number for every cell, shape (planes, *weight shape): levels, or variances.
        sign: The digital sign of every weight.
        analog: Whether polarities are subtracted before the ADC.
        squared: Whether the numbers are variances, which add where levels are subtracted.
    """
    layout = array.target.layout
    coefficients = layout.coefficients
    if layout.encoding == "offset":
        return Lanes(cells, coefficients, signed=False)
    if layout.encoding == "differential":
        positive, negative = cells[0::2], cells[1::2]
        coefficients = coefficients[0::2]
    else:
        positive, negative = cells * (sign > 0), cells * (sign < 0)
    if analog:
        joined = positive + negative if squared else positive - negative
        return Lanes(joined, coefficients, signed=True)
    both = np.concatenate([positive, negative])
    return Lanes(both, np.concatenate([coefficients, -coefficients]), signed=False)


def blocks_of(currents: Real, variance: Real | None, rows: int) -> list[Block]:
    """The matrices of every row of tiles.

    Args:
        currents: Of all rows, shape (groups, rows, lanes * cols).
        variance: Likewise, or None.
        rows: Word lines of a tile.
    """
    return [
        Block(
            block,
            np.ascontiguousarray(currents[:, block]),
            None if variance is None else np.ascontiguousarray(variance[:, block]),
        )
        for block in spans(currents.shape[1], rows)
    ]


def beside(lanes: Real, view: View, dtype: DTypeLike) -> Real:
    """The matrices of all lanes side by side, shape (groups, rows, lanes * cols)."""
    return np.concatenate([view(lane).astype(dtype, copy=False) for lane in lanes], axis=2)
