"""Both polarities of every weight on one crossbar, behind its wires (`Periphery.polarity`).

    interleaved    word line r     ==o=====o=====o=====o==      bit lines 2c and 2c + 1: the + and
                                     +c0   -c0   +c1   -c1      the - cell of column c

    opposed        word line 2r    ==o=====o==   driven with x    + cells of row r
                   word line 2r+1  ==o=====o==   driven with -x   - cells of row r
                                     c0    c1

Interleaved polarities load each other's word lines; what they read is subtracted behind the bit
lines. Opposed ones cancel within the bit line, which then carries the difference only: CrossSim's
`interleaved_posneg`, whose pair of cells meets in one node of the bit line, where here a segment
lies between them. Both are linear circuits, so a tile is again a matrix of its inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.devices import Target
from nvmc.hardware.devices.periphery import WireOhm
from nvmc.hardware.rows import tile_of
from nvmc.hardware.tiling import Matrix, tiles_of
from nvmc.runtime.crossbar.parasitics import effective

__all__ = ["Half", "pairs_through_wires"]

Real = NDArray[np.floating[Any]]
Half = tuple[Real, NDArray[np.bool_]]
"""Levels of one polarity, shape (slices, groups, rows, cols), and which of its cells exist."""


def pairs_through_wires(target: Target, halves: Sequence[Half]) -> list[Real]:
    """What the feet of the columns see of both polarities, in level steps.

    As `array.through_wires`, for tiles of R x 2 C or of 2 R x C cells.

    Args:
        target: The cells, their conductances and wires, and where polarities lie.
        halves: The positive and the negative one.

    Raises:
        OptionError: The device states no conductance, or polarities cannot lie so.
    """
    target.check_reading()
    wires, conductance, step = (
        target.periphery.wire_ohm,
        target.device.conductance,
        target.step_us,
    )
    if wires is None or conductance is None or step is None:
        return [levels for levels, _ in halves]
    conducted = np.stack(
        [np.where(formed, levels * step + conductance.min_us, 0.0) for levels, formed in halves]
    )
    seen, opposed = np.empty(conducted.shape), target.periphery.polarity == "opposed"
    for tile in tiles_of(Matrix(*conducted.shape[2:]), 1, *tile_of(target)):
        part = (..., slice(*tile.groups), slice(*tile.rows), slice(*tile.cols))
        seen[part] = _solved(conducted[part], wires, opposed)
    return [
        ((found - conductance.min_us * formed) / step).astype(levels.dtype)
        for found, (levels, formed) in zip(seen, halves, strict=True)
    ]


def _solved(cells: Real, wires: WireOhm, opposed: bool) -> Real:
    """A tile's cells, (2, slices, groups, rows, cols), as the feet of its columns see them.

    Groups on one tile lie along its diagonal.
    """
    halves, slices, groups, rows, cols = cells.shape
    axes = (groups, rows, halves, groups, cols) if opposed else (groups, rows, groups, cols, halves)
    half = 3 if opposed else 5  # its axis, behind that of slices
    whole = np.zeros((slices, *axes))
    of_group = whole.transpose(half, 0, *(axis for axis in range(1, 6) if axis != half))
    for group in range(groups):  # (halves, slices, groups, rows, groups, cols)
        of_group[:, :, group, :, group] = cells[:, :, group]
    lines = groups * rows * (halves if opposed else 1)
    flat = whole.reshape(slices, lines, -1)
    found = effective(flat, wires.row, wires.col, wires.driver, wires.sense).reshape(whole.shape)
    of_group = found.transpose(half, 0, *(axis for axis in range(1, 6) if axis != half))
    return np.stack([of_group[:, :, group, :, group] for group in range(groups)], axis=2)
