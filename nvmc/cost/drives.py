"""What the rows of arrays are driven with, and what is assumed of it where there are no images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.devices import Target

__all__ = ["ASSUMED", "Drives", "assumed_drives"]

ASSUMED = "drives uniform between 0 and the largest code, none of them negative (no --data)"


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

    A bit is then set in half of the pulses; a code d of several bits has means of 1/2 and, for its
    square, (2 c + 1) / 6 c with c the largest code.
    """
    periphery = target.periphery
    bits = periphery.dac_bits or 1
    if periphery.dac_mode == "bit-serial":
        return Drives(bits / 2, bits / 2, bits / 2, bits)
    largest = 2**bits - 1
    return Drives(0.5, (2 * largest + 1) / (6 * largest), 1 - 2.0**-bits, 1)
