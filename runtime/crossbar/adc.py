"""The ADC: currents to whole output codes, in place.

    code = clip(round(I / step))

Signed currents have codes -(2^(A-1) - 1) ... 2^(A-1) - 1 (a single bit: -1 and 1 around 0),
unsigned ones 0 ... 2^A - 1. A current of zero has code 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.devices import Target
from nvmc.runtime.crossbar.responding import largest_response

__all__ = ["Adc", "adc_of", "top_code"]

Real = NDArray[np.floating[Any]]


def top_code(bits: int, signed: bool) -> int:
    """The highest code; where currents of both signs arrive, the lowest is its negative."""
    return max(1, 2 ** (bits - 1) - 1) if signed else 2**bits - 1


class Adc:
    """The converter at the foot of a tile's columns.

    Args:
        bits: A, or None for currents that are read exactly.
        reach: The largest magnitude of current in range, in level steps x input steps.
        signed: Whether currents of both signs arrive.
        aligned: Whether ideal currents are whole numbers. Where there is a step for each of them,
            the step is then a whole fraction of one, so that they are read exactly.
    """

    def __init__(self, bits: int | None, reach: float, *, signed: bool, aligned: bool) -> None:
        self.bits = bits
        self.reach = reach
        self.signed = signed
        self.step = 1.0
        if bits is None:
            return
        self.high = top_code(bits, signed)
        self.low = -self.high if signed else 0
        self.step = reach / self.high if reach > 0 else 1.0
        if aligned and 0 < reach <= self.high:
            self.step = 1 / math.floor(self.high / reach)

    @property
    def full_scale(self) -> float:
        """The current of the highest code; without bits, the reach it was made for."""
        return self.reach if self.bits is None else self.step * self.high

    @property
    def limits(self) -> tuple[float, float, float] | None:
        """Codes in a unit of current, the lowest code and the highest; None without bits."""
        return None if self.bits is None else (1 / self.step, self.low, self.high)

    def convert(self, currents: Real) -> Real:
        """The codes of currents, which they replace; the currents themselves without bits."""
        if self.bits is None:
            return currents
        if self.step != 1:
            currents *= currents.dtype.type(1 / self.step)
        np.rint(currents, out=currents)
        return np.clip(currents, self.low, self.high, out=currents)


def adc_of(target: Target, rows: int, drive: float, signed: bool, current: float | None) -> Adc:
    """The ADCs of tiles with that many rows in use.

    Args:
        target: The cells and their periphery.
        rows: Rows in use.
        drive: The most that one pulse puts on a row (`Dac.largest`).
        signed: Whether currents of both signs arrive.
        current: What calibration showed; None where it showed nothing.
    """
    periphery = target.periphery
    if periphery.adc_range == "full":
        whole = periphery.dac_bits is not None and target.weight_bits is not None
        whole, drive = whole and target.iv is None, largest_response(target, drive)
        reach = rows * (target.layout.highest_target + target.off_at_adc) * drive
        return Adc(periphery.adc_bits, reach, signed=signed, aligned=whole)
    reach = periphery.adc_range
    if isinstance(reach, str):
        reach = current or 0.0
    return Adc(periphery.adc_bits, reach, signed=signed, aligned=False)
