"""DACs that are not linear: each row's own curve from a code to what drives the row.

    put(k) = k + 4 x (1 - x) (a + b s)        x = k / top, s = 2 x - 1
    a = inl z,  b = (3 sqrt(3) / 2) inl z'    z, z' standard normals of the row's DAC

A bow and an S, whose peaks are inl times a normal, in steps of the code; both ends are exact
(end-point INL, as IEEE Std 1658 has it for DACs). Negative codes are put on rows as their magnitude
is, with the other sign. The compiled kernels (`csrc/panel.inc`) do the same, to the bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Periphery
from nvmc.hardware.tiling import Matrix
from nvmc.rng import Draw

__all__ = ["Inl", "inl_of"]

Real = NDArray[np.floating[Any]]
_S_PEAK = 2 / (3 * math.sqrt(3))  # of s - s^3 for s in 0 ... 1


@dataclass(frozen=True)
class Inl:
    """The errors of the DACs of some rows.

    Attributes:
        bow: a of every row, shape (groups, rows).
        curl: b likewise.
        top: The largest code of a DAC.
    """

    bow: NDArray[np.float64]
    curl: NDArray[np.float64]
    top: float

    def of_rows(self, rows: slice) -> Inl:
        """Those of some rows."""
        return Inl(self.bow[:, rows], self.curl[:, rows], self.top)

    def put(self, drive: Real) -> Real:
        """What is put on rows for codes of shape (entries, groups, vectors, rows)."""
        size = np.abs(drive).astype(np.float64)
        x = size / self.top
        size += 4 * x * (1 - x) * (self.bow[:, None] + self.curl[:, None] * (2 * x - 1))
        return np.copysign(size.astype(drive.dtype), drive)


def inl_of(periphery: Periphery, chip: Chip, array: str, matrix: Matrix, top: float) -> Inl | None:
    """What is wrong with the DACs of an array on a chip; None where nothing is.

    A row has one DAC, which drives all tiles that lie side by side, of all planes.

    Args:
        periphery: The DACs.
        chip: The chip; the ideal one has linear DACs.
        array: Name of the array, of whose stream "dac", "inl" the normals are: z of all rows, then
            z', each (groups, rows).
        matrix: The weight.
        top: The largest code of a DAC.
    """
    if not periphery.dac_inl or chip.index is None:
        return None
    draws = Draw(chip.seed, chip.index, array, "dac", "inl")
    bow, curl = (draws.normal((matrix.groups, matrix.rows)).astype(np.float64) for _ in range(2))
    return Inl(periphery.dac_inl * bow, periphery.dac_inl / _S_PEAK * curl, top)
