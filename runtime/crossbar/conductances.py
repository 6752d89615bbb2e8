"""What the cells of an array conduct, tile by tile: the matrices that its circuit computes with.

Which cell lies in which polarity says `lanes_of`, and which tile it is on `tiles_of`: the
simulator's own rules. Conductances are float64, of levels in float32: (g - min) / step, rounded to
float32, is the simulator's level to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.operators import PARAMETER
from nvmc.errors import OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Target
from nvmc.hardware.reference_column import reference_of
from nvmc.hardware.rows import tile_of
from nvmc.hardware.tile_cells import ArrayCells, Polarity, TileCells, levels_on_target
from nvmc.hardware.tiling import Matrix, Place, matrices, tiles_of
from nvmc.runtime.crossbar.array import lanes_of, levels_of

__all__ = ["cells_of_array"]

Real = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class _Scale:
    """Levels to microsiemens."""

    min_us: float
    step_us: float

    def conducted(self, levels: Real, formed: NDArray[np.bool_]) -> NDArray[np.float64]:
        """What cells conduct; 0 where none is formed."""
        return np.where(formed, levels.astype(np.float64) * self.step_us + self.min_us, 0.0)


@dataclass(frozen=True)
class _Crossbars:
    """Conductances of all slices of one polarity, shape (slices, groups, rows, cols)."""

    polarity: Polarity
    conducted: NDArray[np.float64]
    formed: NDArray[np.bool_]


def cells_of_array(
    array: Array, chip: Chip, range_us: tuple[float, float] | None = None
) -> ArrayCells:
    """What the cells of an array conduct on a chip.

    Args:
        array: The array, with its place.
        chip: Whose cells; the ideal chip's are on target, where the device's levels lie.
        range_us: What level 0 and the highest level conduct, in µS, where the device does not say.

    Returns:
        All its tiles. Cost: memory of some 30 bytes a cell.

    Raises:
        OptionError: Nobody says what levels conduct; or the array does not know its place.
    """
    target = array.target
    scale = _scale(target, range_us)
    if array.place is None:
        raise OptionError(f"array {array.name!r} does not say which operator uses it")
    target.check_reference()
    levels, sign = _state(array, chip)
    view = partial(matrices, array.place)
    cells: Real = np.stack([view(plane) for plane in levels])
    signs: Real = view(sign)
    beside = target.layout.signed and array.place.op == PARAMETER
    crossbars = _crossbars(target, cells, np.ones_like(signs) if beside else signs, scale, beside)
    reference = _reference(array, chip, scale)
    return ArrayCells(
        array.name,
        Matrix(*signs.shape),
        scale.min_us,
        scale.step_us,
        target.layout.shift,
        _unit(array, array.place),
        signs.astype(np.int8) if beside else None,
        tuple(_tiles(array, crossbars, reference)),
    )


def _scale(target: Target, range_us: tuple[float, float] | None) -> _Scale:
    """What levels conduct: the device's word, or `range_us` where it has none."""
    name, stated = target.device.name, target.device.conductance
    if stated is not None:
        range_us = stated.min_us, stated.max_us
    if range_us is None:
        raise OptionError(
            f"device {name!r} does not state the conductances of its levels; give --range-us "
            "LOW,HIGH in µS, or add conductance = { min_us, max_us } to its file"
        )
    low, high = range_us
    if not 0 <= low < high < np.inf:
        raise OptionError(
            f"--range-us is {low:g},{high:g}; expected LOW,HIGH in µS, at least 0 and ascending"
        )
    return _Scale(low, (high - low) / target.highest_level)


def _state(array: Array, chip: Chip) -> tuple[Real, Real]:
    """Levels of all planes as the circuit has them, and signs."""
    if chip.index is None:
        return levels_on_target(array), array.sign
    programmed = chip.program(array)
    sources = chip.on(array.target.device).sources
    moved = any(source.acts_in == "weight" and source.active for source in sources)
    return levels_of(array, programmed, moved), programmed.sign


def _crossbars(
    target: Target, cells: Real, sign: Real, scale: _Scale, one: bool = False
) -> list[_Crossbars]:
    """The crossbars of each polarity that lanes are read from; `one` holds all cells in one."""
    seen: list[tuple[NDArray[np.float64], NDArray[np.bool_]]] = []

    def see(levels: Any, formed: Any) -> Any:
        seen.append((scale.conducted(levels, formed), formed))
        return levels

    lanes_of(target.layout, cells, sign, analog=False, seen=see)
    polarities: tuple[Polarity, ...] = ("positive", "negative")
    if one or len(seen) == 1:
        polarities = ("both",)
    return [_Crossbars(name, *each) for name, each in zip(polarities, seen, strict=False)]


def _reference(array: Array, chip: Chip, scale: _Scale) -> list[_Crossbars] | None:
    """The reference columns, a matrix's columns being the tiles that lie side by side."""
    if array.target.reference != "column" or (array.place and array.place.op == PARAMETER):
        return None
    reference = reference_of(array)
    levels: Real = (
        levels_on_target(reference) if chip.index is None else chip.program(reference).levels
    )
    return _crossbars(array.target, levels, np.ones(levels.shape[1:], levels.dtype), scale)


def _unit(array: Array, place: Place) -> NDArray[np.float64]:
    """Network units in a code step, as short as it broadcasts against the matrices."""
    if array.unit.size == 1:
        return np.full((1, 1, 1), array.unit.item(), np.float64)
    unit = matrices(place, np.broadcast_to(array.unit, array.codes.shape)).astype(np.float64)
    for axis in range(unit.ndim):
        first = unit.take([0], axis)
        unit = first if np.all(unit == first) else unit
    return unit


def _tiles(
    array: Array, crossbars: list[_Crossbars], reference: list[_Crossbars] | None
) -> Iterator[TileCells]:
    """The tiles of all crossbars, slice by slice, as `tiles.json` lists them."""
    layout = array.target.layout
    slices, polarities = len(crossbars[0].conducted), len(crossbars)
    matrix = Matrix(*crossbars[0].conducted.shape[1:])
    counts = layout.coefficients.astype(np.float64)[:: layout.polarities]
    for number, tile in enumerate(tiles_of(matrix, slices * polarities, *tile_of(array.target))):
        piece, polarity = divmod(tile.plane, polarities)
        half = crossbars[polarity]
        part = slice(*tile.groups), slice(*tile.rows), slice(*tile.cols)
        beside = None
        if reference is not None:
            column = tile.cols[0] // array.target.cols
            where = (*part[:2], slice(column, column + 1))
            beside = _diagonal(reference[polarity].conducted[piece][where])
        yield TileCells(
            array.name,
            number,
            tile.plane,
            piece,
            half.polarity,
            float(counts[piece]) * (-1 if half.polarity == "negative" else 1),
            tile.groups,
            tile.rows,
            tile.cols,
            _diagonal(half.conducted[piece][part]),
            _diagonal(half.formed[part]),
            beside,
        )


def _diagonal(parts: NDArray[Any]) -> NDArray[Any]:
    """Matrices (groups, rows, cols) along the diagonal of one, all else 0; not to be written to."""
    groups, rows, cols = parts.shape
    whole = np.zeros((groups, rows, groups, cols), parts.dtype)
    for group in range(groups):
        whole[group, :, group] = parts[group]
    found = whole.reshape(groups * rows, groups * cols)
    found.flags.writeable = False  # an array's tiles may be kept for the next who asks
    return found
