"""The ADC: currents to whole output codes, in place.

    code = clip(round(I / step))

Signed currents have codes -(2^(A-1) - 1) ... 2^(A-1) - 1 (a single bit: -1 and 1 around 0),
unsigned ones 0 ... 2^A - 1. A current of zero has code 0.

A column may saturate ahead of it: I = clip(I, -limit, limit). Rounding keeps the order of numbers,
so with a number of bits the highest code is then that of the limit, and nothing else changes.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.hardware.devices import ArrayRange, Target
from nvmc.runtime.crossbar.curves import Curves
from nvmc.runtime.crossbar.dac import Dac
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
        limit: Where columns saturate, in level steps x input steps; None for nowhere.

    Attributes:
        lanes: Lanes whose currents come side by side.
        parts: The reach of each lane, or of each column, (groups, lanes * cols) in C order; None
            where all have one.
        levels: What the codes stand for, in units of current; None where steps are even.
    """

    def __init__(
        self,
        bits: int | None,
        reach: float,
        *,
        signed: bool,
        aligned: bool,
        limit: float | None = None,
    ) -> None:
        self.bits = bits
        self.limit = limit
        self.reach = reach
        self.signed = signed
        self.step = 1.0
        self.lanes = 1
        self.parts: tuple[float, ...] | None = None
        self.levels: tuple[float, ...] | None = None
        self.curves: Curves | None = None
        self._drawn: tuple[Real | None, Real | None] = (None, None)
        if bits is None:
            return
        self.high = top_code(bits, signed)
        self.low = -self.high if signed else 0
        self.step = reach / self.high if reach > 0 else 1.0
        if aligned and 0 < reach <= self.high:
            self.step = 1 / math.floor(self.high / reach)

    def spread(self, lanes: int, seen: ArrayRange | None) -> None:
        """Say how many lanes there are; spread the codes as calibration said.

        Raises:
            OptionError: It was for another number of codes.
        """
        self.lanes = lanes
        if self.bits is None or seen is None:
            return
        if seen.lowest is not None and self.signed:
            self.low, self.high, self.step = _asymmetric(2**self.bits - 1, seen.lowest, self.reach)
        self.parts, self.levels = seen.parts, seen.levels
        codes = self.high - self.low + 1
        if seen.levels is not None and len(seen.levels) != codes:
            raise OptionError(
                f"array {seen.array!r} has {len(seen.levels)} calibrated levels, but an ADC of "
                f"{self.bits} bits has {codes} codes; compile with these --adc-bits"
            )

    def bent(self, curves: Curves) -> Adc:
        """The same ADCs as they really are on a chip."""
        found = copy.copy(self)
        found.curves = curves
        return found

    def unlimited(self) -> Adc:
        """The same, of columns that do not saturate ahead of them."""
        found = copy.copy(self)
        found.limit = None
        return found

    def columns(self, lanes: int, cols: slice) -> Adc:
        """Those of some columns of every lane."""
        return self if self.curves is None else self.bent(self.curves.columns(lanes, cols))

    def drawing(self, normals: Real | None, uniforms: Real | None) -> Adc:
        """The same, about to convert with these numbers of its own (`Curves.convert`)."""
        found = copy.copy(self)
        found._drawn = (normals, uniforms)
        return found

    @property
    def full_scale(self) -> float:
        """The current of the highest code; without bits, the reach it was made for."""
        return self.reach if self.bits is None else self.step * self.high

    @property
    def even(self) -> bool:
        """Whether all columns have the same range and all codes the same step."""
        return self.parts is None and self.levels is None

    def steps_of(self, groups: int, cols: int) -> NDArray[np.float64]:
        """The step of every column of every lane, shape (groups, lanes * cols)."""
        if self.parts is None:
            return np.full((groups, self.lanes * cols), self.step)
        parts = np.array(self.parts)
        if parts.size == self.lanes:
            parts = np.broadcast_to(parts[:, None], (groups, self.lanes, cols))
        return np.where(parts > 0, parts / self.high, self.step).reshape(groups, self.lanes * cols)

    def in_steps(self, currents: Real) -> Real:
        """Currents in steps of the code, shape (..., groups, vectors, lanes * cols)."""
        if self.curves is not None:
            return currents * self.curves.inverse[:, None].astype(currents.dtype)
        return currents * currents.dtype.type(1 / self.step)

    def codes(self, currents: Real) -> Real:
        """The whole codes of currents, which they replace; what levels they stand for aside."""
        if self.curves is not None:
            return self.curves.codes_of(currents, *self._drawn)
        return self.convert(currents)

    @property
    def limits(self) -> tuple[float, float, float] | None:
        """Codes in a unit of current, the lowest code and the highest; None without bits.

        The codes are those that currents within `limit` reach, in float32.
        """
        if self.bits is None:
            return None
        if self.limit is None:
            return 1 / self.step, self.low, self.high
        most = np.float32(self.limit)
        if self.step != 1:
            most *= np.float32(1 / self.step)
        most = float(np.rint(most))
        return 1 / self.step, max(self.low, -most), min(self.high, most)

    def convert(self, currents: Real) -> Real:
        """The codes of currents, which they replace; the currents themselves without bits."""
        self.saturate(currents)
        if self.bits is None:
            return currents
        if self.curves is not None:
            return self.curves.convert(currents, *self._drawn)
        if self.step != 1:
            currents *= currents.dtype.type(1 / self.step)
        np.rint(currents, out=currents)
        return np.clip(currents, self.low, self.high, out=currents)

    def saturate(self, currents: Real) -> None:
        """Clip currents where columns saturate, in place."""
        if self.limit is not None:
            limit = currents.dtype.type(self.limit)
            np.clip(currents, -limit, limit, out=currents)


def _asymmetric(top: int, low: float, high: float) -> tuple[int, int, float]:
    """The lowest code, the highest and the step of least size that reach from low to high."""
    below = np.arange(top + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.where(below < top, high / (top - below), np.inf if high > 0 else 0.0)
        down = np.where(below > 0, -low / below, np.inf if low < 0 else 0.0)
    steps = np.maximum(up, down)
    best = int(np.argmin(steps))
    return -best, top - best, float(steps[best]) or 1.0


def adc_of(target: Target, rows: int, dac: Dac, signed: bool, current: float | None) -> Adc:
    """The ADCs of tiles with that many rows in use.

    Args:
        target: The cells and their periphery.
        rows: Rows in use.
        dac: What drives these.
        signed: Whether currents of both signs arrive.
        current: What calibration showed; None where it showed nothing.
    """
    periphery = target.periphery
    limit = periphery.column_limit
    if periphery.adc_range == "full":
        whole = periphery.dac_bits is not None and target.weight_bits is not None
        whole = whole and target.iv is None
        drive = sum(w * largest_response(target, dac.largest, x) for x, w in dac.converted)
        reach = rows * (target.layout.highest_target + target.off_at_adc) * drive
        return Adc(periphery.adc_bits, reach, signed=signed, aligned=whole, limit=limit)
    reach = periphery.adc_range
    if isinstance(reach, str):
        reach = current or 0.0
    return Adc(periphery.adc_bits, reach, signed=signed, aligned=False, limit=limit)
