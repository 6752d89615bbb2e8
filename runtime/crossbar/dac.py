"""The DACs: numbers to input codes, and codes to what drives the rows, pulse after pulse.

    x_q = clip(round(x / dx))        dx = range / largest code

Codes are those of the exact quotient x / dx = x (largest code) / range, halves to the even code; dx
itself, rounded to x's precision, is only what a code of 1 counts for. A code of D bits drives a row
at once (multi-level) or slice by slice of its bits (bit-serial). Negative codes take two phases, or
an offset that is subtracted again digitally, or voltages of both signs (bipolar). Without a number
of bits, inputs are only scaled to their range: codes are real numbers up to 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.devices import Periphery

__all__ = ["Dac", "Drive", "Pulse"]

Real = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Drive:
    """How the entries of a batch were turned into codes.

    Attributes:
        step: The input that a code of 1 stands for, shape (entries,).
        offset: What is added to every code of an entry before it drives a row, shape (entries,).
        signed: Which entries have negative inputs, shape (entries,).
    """

    step: Real
    offset: Real
    signed: NDArray[np.bool_]

    @classmethod
    def exact(cls, entries: int) -> Drive:
        """Inputs that are their own codes."""
        ones = np.ones(entries, np.float32)
        return cls(ones, np.zeros(entries, np.float32), ones < 0)

    def __getitem__(self, block: slice) -> Drive:
        """The drive of some of the entries."""
        return Drive(self.step[block], self.offset[block], self.signed[block])


@dataclass(frozen=True)
class Pulse:
    """What drives the rows for one conversion.

    Attributes:
        index: Number of the pulse among all that an input may take, used or not.
        weight: What its result counts for, in code steps: a power of two, negative in the phase of
            the negative inputs.
        drive: What is put on the rows, at least 0 unless inputs are bipolar.
        last: Whether it is the last of its phase.
    """

    index: int
    weight: float
    drive: Real
    last: bool = True


class Dac:
    """The DACs of one array.

    Args:
        periphery: Their bits, mode and range.
        limit: The calibrated range, in the network's units; None where it is dynamic.

    Attributes:
        bipolar: Whether rows are driven with both signs at once.
        accumulates: Whether currents of a phase's pulses are added up before they are converted.
        slices: Pulses of a phase.
    """

    def __init__(self, periphery: Periphery, limit: float | None = None) -> None:
        self._bits = periphery.dac_bits
        self._serial = periphery.dac_mode == "bit-serial"
        self._offset = periphery.signed_inputs == "offset"
        self._slice = periphery.dac_slice_bits
        self.bipolar = periphery.signed_inputs == "bipolar"
        self.accumulates = periphery.accumulate == "analog"
        self.slices = periphery.input_slices
        self.limit = limit

    @property
    def largest_code(self) -> float:
        """The largest code: 2^D - 1, or 1 where codes are real numbers."""
        return 1.0 if self._bits is None else float(2**self._bits - 1)

    @property
    def largest(self) -> float:
        """The most that one pulse puts on a row."""
        return float(2**self._slice - 1) if self._serial else self.largest_code

    @property
    def converted(self) -> tuple[tuple[float, float], ...]:
        """The most that each pulse of a conversion puts on a row, and what it counts for there."""
        if not self.accumulates:
            return ((self.largest, 1.0),)
        return tuple((float(2**size - 1), float(2**first)) for first, size in self._spans)

    @property
    def whole(self) -> bool:
        """Whether codes are whole numbers."""
        return self._bits is not None

    @property
    def offsets(self) -> bool:
        """Whether negative inputs are driven with an offset."""
        return self._offset

    @property
    def serial(self) -> tuple[int, int]:
        """Bits of a bit-serial code and of one of its slices; zeros where a code is one pulse."""
        return (self._bits, self._slice) if self._serial and self._bits is not None else (0, 0)

    @property
    def _spans(self) -> list[tuple[int, int]]:
        """The first bit of every slice, and how many it has."""
        bits, size = self.serial
        return [(first, min(size, bits - first)) for first in range(0, bits, size or 1)]

    @property
    def weights(self) -> list[float]:
        """What the conversions of one phase count for."""
        if self.accumulates or not self._serial:
            return [1.0]
        return [float(2**first) for first, _ in self._spans]

    @property
    def phases(self) -> int:
        """Phases that an input may take."""
        return 1 if self._offset or self.bipolar else 2

    @property
    def pulses(self) -> int:
        """Pulses that an input may take."""
        return self.slices * self.phases

    def drive(self, x: Real) -> tuple[Real, Drive]:
        """Signed codes of all entries, and what they stand for.

        Args:
            x: Entries along the first axis, any shape; its own dtype is computed in.

        Returns:
            Codes of x's shape, in -top ... top, and the drive.
        """
        flat = x.reshape(len(x), math.prod(x.shape[1:]))
        low = np.min(flat, axis=1, initial=0.0)
        reach = np.maximum(np.max(flat, axis=1, initial=0.0), -low)
        if self.limit is not None:
            reach = np.full_like(reach, self.limit)
        signed = ~(low >= 0)  # NaN may hide what is negative
        half = np.where(signed, self.half, 0.0).astype(x.dtype)
        top = np.where(half > 0, half, self.largest_code).astype(x.dtype)
        step = reach / top
        shape = (-1, *(1,) * (x.ndim - 1))
        if self._bits is None:
            codes: Real = x / np.where(step == 0, 1, step).astype(x.dtype).reshape(shape)
        else:
            ends = (np.where(step == 0, 1, end).reshape(shape) for end in (top, reach))
            codes = _whole_codes(x, *ends)
        if self.limit is not None:
            bound = np.where(step == 0, 0, top).astype(x.dtype).reshape(shape)
            np.clip(codes, -bound, bound, out=codes)
        return codes, Drive(step, half, signed)

    @property
    def half(self) -> float:
        """The offset of an entry with negative inputs."""
        if not self._offset:
            return 0.0
        return 0.5 if self._bits is None else float(2 ** (self._bits - 1) - 1)

    def expand(self, codes: Real, drive: Drive) -> Iterator[Pulse]:
        """The pulses of signed codes, those that drive no row left out.

        Args:
            codes: Shape (entries, ...).
            drive: Of the same entries.
        """
        if self._offset:
            if drive.offset.any():
                codes = codes + drive.offset.reshape(-1, *(1,) * (codes.ndim - 1))
            yield from self._phase(codes, 1, 0)
            return
        if self.bipolar or not drive.signed.any():
            yield from self._phase(codes, 1, 0)
            return
        yield from self._phase(np.maximum(codes, 0), 1, 0)
        yield from self._phase(np.maximum(-codes, 0), -1, self.pulses // 2)

    def _phase(self, codes: Real, sign: int, first: int) -> Iterator[Pulse]:
        if not self._serial or self._bits is None:
            yield Pulse(first, float(sign), codes)
            return
        whole = (np.abs(codes) if self.bipolar else codes).astype(np.int32)
        for number, (bit, size) in enumerate(self._spans):
            pulse = ((whole >> bit) & (2**size - 1)).astype(codes.dtype)
            if self.bipolar:
                np.copysign(pulse, codes, out=pulse)
            last = number == self.slices - 1
            yield Pulse(first + number, float(sign * 2**bit), pulse, last)


def _whole_codes(x: Real, top: Real, reach: Real) -> Real:
    """The exact x top / reach to the nearest whole number, halves to even; top below 2^17.

    Of numbers in float32, x top is exact in float64, and the quotient is so far from any half
    that it does not equal (2^-42 of it) that rounding it to float64 never ends at that half, nor
    beyond it. Of numbers in float64 the exact remainder decides.
    """
    quotient: NDArray[np.float64] = x.astype(np.float64) * top.astype(np.float64)
    quotient /= reach
    codes = np.rint(quotient)
    if x.dtype == np.float64:
        codes = _settled(codes, quotient, x, top, reach)
    np.clip(codes, -top, top, out=codes)  # before what is beyond a calibrated range leaves float32
    return codes.astype(x.dtype, copy=False)


def _settled(codes: Real, quotient: Real, x: Real, top: Real, reach: Real) -> Real:
    """Codes of numbers in float64, those next to a half decided by the exact remainder."""
    below = np.floor(np.abs(quotient))
    near = np.abs(np.abs(quotient) - below - 0.5) < 2.0**-30
    if not near.any():
        return codes
    size, below = np.abs(x), np.where(near, below, 0)
    # Either factor of a half's equation, 2 x top = (2 below + 1) reach, in two parts of 26 bits or
    # less: products with whole numbers of 17 bits are then exact, and so is their difference.
    left, right = (_parts(size), _parts(reach))
    half = 2 * below + 1
    rest = (2 * top * left[0] - half * right[0]) + (2 * top * left[1] - half * right[1])
    nearest = below + np.where(rest == 0, below % 2, rest > 0)
    return np.where(near, np.copysign(nearest, x), codes)


def _parts(x: Real) -> tuple[Real, Real]:
    """Float64 as a sum of its upper and its lower bits."""
    upper = (x.view(np.int64) & ~np.int64((1 << 27) - 1)).view(np.float64)
    return upper, x - upper
