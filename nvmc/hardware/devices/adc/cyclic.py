"""Cyclic: one stage, which works on what it has left over until all bits are found."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.devices.adc.base import Curves, Streams, drawn
from nvmc.hardware.devices.adc.stages import Staged

__all__ = ["Cyclic"]


class Cyclic(Staged, frozen=True):
    """As `Pipeline`, but every bit is found by the same capacitors and comparators.

    Source: Ginetti, Jespers and Vandemeulebroecke, IEEE J. Solid-State Circuits 27(7), 1992; behind
    crossbars Spear et al., IEEE J. Exploratory Solid-State Computational Devices and Circuits,
    2023.
    """

    type: Literal["cyclic"] = "cyclic"

    def own_curves(self, top: int, tiles: NDArray[np.intp], draws: Streams) -> Curves:
        """Of the stage."""
        bits, count = top.bit_length(), len(tiles)
        capacitors = drawn(draws, "mismatch", (count, 1, 2))
        pair, last = drawn(draws, "comparator", (count, 1, 2)), drawn(draws, "last", (count, 1, 2))
        offsets = np.concatenate([np.repeat(pair, bits - 1, axis=1), last], axis=1)
        return self.stages(np.repeat(capacitors, bits - 1, axis=1), offsets, bits).curves(top)
