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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import DTypeLike, NDArray

from nvmc.hardware.chip import Array, Programmed
from nvmc.hardware.devices import Target
from nvmc.hardware.devices.currents import Response
from nvmc.hardware.encoding import Layout
from nvmc.hardware.rows import tile_of, turns, waiting
from nvmc.hardware.tiling import Matrix, Tile, tiles_of
from nvmc.runtime.crossbar.dac_errors import Inl
from nvmc.runtime.crossbar.parasitics import approximate, effective
from nvmc.runtime.crossbar.solved import Solved

__all__ = [
    "Block",
    "Lanes",
    "Seen",
    "Together",
    "View",
    "beside",
    "blocks_of",
    "lanes_of",
    "levels_of",
    "moved_levels",
    "through_wires",
    "with_off_current",
]

Real = NDArray[np.floating[Any]]
View = Callable[[Real], Real]
"""From a tensor of the weight's ONNX shape to its matrices, (groups, rows, cols)."""
Seen = Callable[[Any, Any], Any]
"""From the levels of one polarity and which cells are formed to what the column's foot sees."""
Together = Callable[[Sequence[tuple[Any, Any]]], Sequence[Any]]
"""The same, of both polarities."""


@dataclass(frozen=True)
class Lanes:
    """How a weight is read.

    Attributes:
        levels: Of every lane, shape (lanes, groups, rows, cols), or (lanes, *shape) of cells of
            another shape; negative in a lane that subtracts polarities itself.
        coefficients: What a lane counts for, in code steps, shape (lanes,).
        signed: Whether currents of both signs arrive at the ADC.
    """

    levels: Any
    coefficients: Real
    signed: bool


@dataclass(frozen=True)
class Block:
    """The tiles that share their rows.

    Attributes:
        rows: Which rows of the matrices.
        currents: Current of each column for a drive of 1, shape (groups, rows, lanes * cols).
        variance: What a drive of 1 adds to the variance of one read, shape (groups, rows,
            lanes * cols); None where every read is the same.
        responses: What cells make of a drive, where it is not proportional to it: for each of
            them `currents` has all rows once more, one response after the other.
        inl: What the DACs of its rows make of codes; None where they are linear.
        solved: What finds the currents of every read, in place of the matrices, which are then an
            approximation; None where they are not needed for that.
    """

    rows: slice
    currents: Real
    variance: Real | None
    responses: tuple[Response, ...] = ()
    inl: Inl | None = None
    solved: Solved | None = None

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
    unit = np.broadcast_to(array.unit, programmed.weights.shape)
    return moved_levels(array.target.layout, levels, programmed.sign, programmed.weights, unit)


def moved_levels(layout: Layout, levels: Any, sign: Any, weights: Any, unit: Any) -> Any:
    """Levels whose recombination is `weights`: the cells of the highest slice take the difference.

    Args:
        layout: How cells represent codes.
        levels: Of the cells before, shape (planes, *shape); NumPy or torch.
        sign: The digital sign of every weight.
        weights: In the network's units.
        unit: Network units in one code step, which broadcasts against `weights`.
    """
    xp = array_namespace(weights)
    wanted = weights / xp.where(unit == 0, xp.ones_like(unit), unit)
    missing = wanted - layout.combine(levels, sign)
    missing = xp.where(unit == 0, xp.zeros_like(missing), missing)
    top = len(levels) - layout.polarities
    levels = xp.asarray(levels, copy=True)
    levels[top, ...] += missing * sign / float(layout.coefficients[top])
    return levels


def lanes_of(
    layout: Layout,
    cells: Any,
    sign: Any,
    *,
    analog: bool,
    squared: bool = False,
    seen: Seen | None = None,
    together: Together | None = None,
) -> Lanes:
    """What each conversion reads.

    Args:
        layout: How cells represent codes.
        cells: A number for every cell, shape (planes, groups, rows, cols), or (planes, *shape) of
            any: levels, or variances. NumPy or torch.
        sign: The digital sign of every weight, shape (groups, rows, cols), or *shape.
        analog: Whether polarities are subtracted before the ADC.
        squared: Whether the numbers are variances, which add where levels are subtracted.
        seen: What the foot of the columns sees of levels; as they are without wires.
        together: The same of both polarities, where they share a crossbar.
    """
    coefficients = layout.coefficients.astype(np.float64)
    everywhere = sign == sign
    if layout.encoding == "offset":
        return Lanes(cells if seen is None else seen(cells, everywhere), coefficients, signed=False)
    if layout.paired:
        coefficients = coefficients[0::2]
        halves = [(cells[0::2], everywhere), (cells[1::2], everywhere)]
    else:
        halves = [(cells * formed, formed) for formed in (sign > 0, sign < 0)]
    if together is not None:
        positive, negative = together(halves)
    elif seen is None:
        positive, negative = (half for half, _ in halves)
    else:
        positive, negative = (seen(half, formed) for half, formed in halves)
    if analog:
        joined = positive + negative if squared else positive - negative
        return Lanes(joined, coefficients, signed=True)
    both = array_namespace(cells).concat([positive, negative])
    return Lanes(both, np.concatenate([coefficients, -coefficients]), signed=False)


def with_off_current(layout: Layout, lanes: Lanes, sign: Any, off: float) -> Lanes:
    """Lanes whose formed cells conduct `off` more, in level steps; themselves where that is 0.

    Args:
        layout: How cells represent codes.
        lanes: Levels, whose 0 conducts nothing.
        sign: The digital sign of every weight, of a lane's shape.
        off: What reaches the ADC of a cell at level 0 (`Target.off_at_adc`).
    """
    if not off:
        return lanes
    xp = array_namespace(sign)
    if layout.encoding != "sign-magnitude":
        return replace(lanes, levels=lanes.levels + off)
    if lanes.signed:
        return replace(lanes, levels=lanes.levels + off * sign)
    halves = [xp.astype(formed, sign.dtype) for formed in (sign > 0, sign < 0)]
    slices = len(lanes.coefficients) // 2
    more = xp.stack([half for half in halves for _ in range(slices)])
    return replace(lanes, levels=lanes.levels + off * more)


def through_wires(target: Target, levels: Real, formed: NDArray[np.bool_]) -> Real:
    """Levels as the foot of the columns sees them behind the resistance of the wires.

    A tile with wires is another matrix (`parasitics.effective`, or `approximate`). What formed
    cells conduct at level 0 is taken out again, as it is without wires.

    Args:
        target: The cells, their conductances and wires.
        levels: Of one polarity, shape (slices, groups, rows, cols), in level steps.
        formed: Which cells exist, shape (groups, rows, cols).

    Raises:
        OptionError: The device states no conductance.
    """
    target.check_reading()
    conductance = target.device.conductance
    if target.periphery.wire_ohm is None or conductance is None:
        return levels
    step = (conductance.max_us - conductance.min_us) / target.highest_level
    conducted = np.where(formed, levels * step + conductance.min_us, 0.0)
    seen = np.empty(levels.shape)
    exact = target.iv is not None or target.periphery.wire_solution != "approximate"
    matrix = Matrix(*levels.shape[1:])
    for tile in tiles_of(matrix, 1, *tile_of(target)):
        _wire_tile(target, conducted, seen, tile, exact)
    return ((seen - conductance.min_us * formed) / step).astype(levels.dtype)


def _wire_tile(target: Target, conducted: Real, seen: Real, tile: Tile, exact: bool) -> None:
    """Put what is seen of the groups on one tile, which lie along its diagonal, into `seen`.

    Rows that are read in turn have a circuit each time, with the others as they wait.
    """
    part = (slice(None), slice(*tile.groups), slice(*tile.rows), slice(*tile.cols))
    cells = conducted[part]
    slices, groups, rows, cols = cells.shape
    whole = np.zeros((slices, groups, rows, groups, cols))
    for group in range(groups):
        whole[:, group, :, group] = cells[:, group]
    for on in [slice(0, rows)] if waiting(target) == "ground" else turns(target, rows):
        found = _solved_tile(target, whole, on, exact)
        for group in range(groups):
            seen[part][:, group, on] = found[:, group, on, group]


def _solved_tile(target: Target, whole: Real, on: slice, exact: bool) -> Real:
    """A tile's cells, (slices, groups, rows, groups, cols), as they are seen while rows are on."""
    wires = target.periphery.wire_ohm
    assert wires is not None
    slices, groups, rows, _, cols = whole.shape
    idle = np.ones(rows, np.bool_)
    idle[on] = False
    free: NDArray[np.bool_] | None = np.tile(idle, groups)
    if waiting(target) == "off" or not exact:
        whole, free = np.where(idle[:, None, None], 0.0, whole), None
    flat = whole.reshape(slices, groups * rows, groups * cols)
    ohm = wires.row, wires.col, wires.driver, wires.sense
    flat = effective(flat, *ohm, free) if exact else approximate(flat, *ohm)
    return flat.reshape(whole.shape)


def blocks_of(
    currents: Real | Sequence[Real],
    variance: Real | None,
    rows: Sequence[slice],
    responses: tuple[Response, ...] = (),
    inl: Inl | None = None,
    solved: Solved | None = None,
) -> list[Block]:
    """The matrices of all rows that are driven together.

    Args:
        currents: Of all rows, shape (groups, rows, lanes * cols); of each response, where there
            are any.
        variance: Likewise, or None.
        rows: Which are (`reads_of_rows`).
        responses: See `Block`.
        inl: Of all rows; see `Block`.
        solved: Likewise, of any rows.
    """
    parts = [currents] if isinstance(currents, np.ndarray) else list(currents)
    return [
        Block(
            block,
            _stacked([part[:, block] for part in parts]),
            None if variance is None else np.ascontiguousarray(variance[:, block]),
            responses,
            None if inl is None else inl.of_rows(block),
            None if solved is None else replace(solved, driven=block),
        )
        for block in rows
    ]


def _stacked(parts: list[Real]) -> Real:
    return np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1))


def beside(lanes: Real, dtype: DTypeLike) -> Real:
    """The matrices of all lanes side by side.

    Args:
        lanes: Shape (lanes, groups, rows, cols).
        dtype: Of the result.

    Returns:
        Shape (groups, rows, lanes * cols).
    """
    groups, rows = lanes.shape[1:3]
    return lanes.transpose(1, 2, 0, 3).astype(dtype).reshape(groups, rows, -1)
