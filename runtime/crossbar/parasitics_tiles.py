"""Wire resistance in the units of the circuit: the matrices of a plane, cut into tiles.

Each plane, and each polarity of it, has tiles of its own. A matrix is cut from its first row and
column; a tile that it does not fill is filled from the corner next to drivers and sense ends, so
that the unused cells lie on wires' open ends and carry nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.devices.device import Target
from nvmc.errors import OptionError
from nvmc.runtime.crossbar.lowering import spans
from nvmc.runtime.crossbar.parasitics import effective

__all__ = ["wired"]

Real = NDArray[np.floating[Any]]


def wired(levels: Real, target: Target, formed: NDArray[np.bool_] | None = None) -> Real:
    """The levels that a plane's cells seem to have behind the wires of their tiles.

    Args:
        levels: Programmed levels of one plane and polarity, in level steps, not signed, shape
            (groups, rows, cols), of any size.
        target: Gives the tiles' size, `wire_ohm`, and what levels conduct.
        formed: Which cells are there, shape as `levels`; None for all. The others conduct
            nothing, not even what level 0 does.

    Returns:
        Shape (groups, rows, cols), float64, in level steps, so that a tile's current is
        `drive @ wired(...)`. The nominal current of level 0 is subtracted at its value without
        wires, as the periphery does it, for the formed cells. Without wires: the levels, and 0
        where no cell is formed.

    Raises:
        OptionError: The device does not say what its levels conduct, or the circuit has no
            stable state (see `parasitics.effective`).
    """
    there = np.ones(levels.shape, np.bool_) if formed is None else formed
    wires = target.periphery.wire_ohm
    result = np.where(there, levels, 0).astype(np.float64)
    if wires is None or (wires.row == 0 and wires.col == 0):
        return result
    step = target.step_us
    if step is None:
        raise OptionError(
            f"device {target.device.name!r} does not say what its levels conduct, which wires of "
            f"{wires.row} and {wires.col} ohm need; add conductance with min_us and max_us, or "
            "leave the wires out"
        )
    off = target.off_level * there
    conductances = (result + off) * step
    for rows in spans(levels.shape[1], target.rows):
        for cols in spans(levels.shape[2], target.cols):
            tile = effective(conductances[:, rows, cols], wires.row, wires.col) / step
            result[:, rows, cols] = tile - off[:, rows, cols]
    return result
