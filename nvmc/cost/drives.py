"""What the rows of arrays are driven with, and what is assumed of it where there are no images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.devices import Target

__all__ = ["ASSUMED", "Drives", "assumed_drives"]

ASSUMED = "rows driven by codes uniform between 0 and the largest, none negative (no --data)"


@dataclass(frozen=True)
class Drives:
    """What one vector puts on the rows of an array, all its pulses added up, on average.

    Attributes:
        linear: Sum over pulses of the drive as a fraction of the largest, a number or one for each
            row of shape (groups, rows).
        squared: The same of squared drives.
        active: Pulses above 0 on a row.
        pulses: Pulses of a vector.
    """

    linear: float | NDArray[np.float64]
    squared: float | NDArray[np.float64]
    active: float
    pulses: float


def assumed_drives(target: Target) -> Drives:
    """Codes uniform between 0 and the largest, none of them negative.

    So are the slices of a bit-serial code: one of b bits has means of 1/2 and, for its square,
    (2 c + 1) / 6 c of its largest, c = 2^b - 1, which in the last slice may be less than a pulse's.
    """
    periphery = target.periphery
    bits = periphery.dac_bits or 1
    size = periphery.dac_slice_bits if periphery.dac_mode == "bit-serial" else bits
    most, sizes = 2**size - 1, [min(size, bits - first) for first in range(0, bits, size)]
    return Drives(
        sum((2**b - 1) / (2 * most) for b in sizes),
        sum((2**b - 1) * (2**b - 0.5) / (3 * most**2) for b in sizes),
        sum(1 - 2.0**-b for b in sizes),
        len(sizes),
    )
