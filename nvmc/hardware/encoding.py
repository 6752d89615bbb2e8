"""Weights <-> signed codes <-> levels per cell.

Symbols as in docs/physics.md: W a weight tensor, H weight bits, B cell bits, s scale, g level.
Source: Yan et al., TRICE, Eq. 11, 12 and 14.

    s   = max|W| / (2^H - 1)
    q   = round(|W| / s)                       0 ... 2^H - 1
    g_i = (q >> iB) & (2^B - 1)                slice i = 0 ... ceil(H/B) - 1
    W_p = s * (sign * sum_p c_p g_p - shift)

A *plane* is one cell per weight: a slice, or one polarity of a slice. The encodings of the sign
differ only in the planes' coefficients c_p, the shift, and whether a digital sign is applied:

| encoding         | planes            | c_p             | sign    | shift   |
| ---------------- | ----------------- | --------------- | ------- | ------- |
| `sign-magnitude` | ceil(H/B)         | 2^(iB)          | digital | 0       |
| `differential`   | 2 ceil(H/B)       | 2^(iB), -2^(iB) | none    | 0       |
| `balanced`       | 2 ceil(H/B)       | 2^(iB), -2^(iB) | none    | 0       |
| `offset`         | ceil((H+1)/B)     | 2^(iB)          | none    | 2^H - 1 |

The cells of a `differential` pair hold a digit and 0; those of a `balanced` one lie on both sides
of the middle of the range, floor((t + d)/2) and floor((t - d)/2) for a digit d with its sign and
the slice's highest digit t: 2^B - 1, less in a top slice that is partly used. Their difference is
d, as t + d and t - d are both even or both odd. `offset` with B = H + 1 holds a weight in one cell:
levels 0 ... 2^(H+1) - 2.

All of them represent the same codes -(2^H-1) ... 2^H-1, so the ideal chip does not depend on the
encoding; `offset` needs one more bit for it. A code of zero has sign +1. Analog weights (H = none)
take one cell, or two in pairs, whose level is continuous in [0, top]; of a balanced pair,
(top +- w)/2.

One bit (H = 1) is the sign: codes are -1 and +1, without a zero, s is the mean of |W| per output
channel, and a weight of zero has the code +1 (Rastegari et al., XNOR-Net, 2016, Eq. 6).

| encoding         | cells of +1 | of -1 | c_p   | sign    | shift | bits stored   |
| ---------------- | ----------- | ----- | ----- | ------- | ----- | ------------- |
| `sign-magnitude` | 1           | 1     | 1     | digital | 0     | the sign      |
| `differential`   | 1, 0        | 0, 1  | 1, -1 | none    | 0     | one in each   |
| `offset`         | 1           | 0     | 2     | none    | 1     | one           |

A `balanced` pair of one bit is a differential one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from nvmc.hardware.tiling import Channels, mean_magnitude

__all__ = ["Encoding", "Layout", "as_codes", "quantize", "scale_of"]

Encoding = Literal["sign-magnitude", "differential", "offset", "balanced"]


def scale_of(
    weight: NDArray[Any], bits: int, channels: Channels | None = None
) -> NDArray[np.float64]:
    """The step of Eq. 11: max|W| / (2^H - 1). Of one bit: mean|W|.

    A mean of equal magnitudes is that magnitude exactly, so binary weights come back bit for bit.

    Args:
        weight: Finite weights of any shape.
        bits: H, 1 to 16.
        channels: The output channels that have a scale each; None for one scale per tensor.

    Returns:
        A scalar array, or one that broadcasts against `weight`, of its rank with length 1 on every
        axis that does not tell channels apart. It is zero where all weights are zero.
    """
    if bits == 1:
        return np.asarray(mean_magnitude(weight) if channels is None else channels.mean(weight))
    if channels is None:
        largest = np.max(np.abs(weight), initial=0.0)
    else:
        largest = channels.largest(weight)
    return np.asarray(largest, np.float64) / (2**bits - 1)


def quantize(
    weight: NDArray[Any], scale: NDArray[Any], bits: int
) -> NDArray[np.signedinteger[Any]]:
    """Signed codes sign(W) * round(|W| / s), |code| <= 2^H - 1 (Eq. 11); zero where s is zero.

    Those of one bit are -1 where W < 0, else +1.

    Returns:
        Codes of `weight`'s shape in the smallest of int8, int16 and int32 that holds 2^H - 1.
    """
    if bits == 1:
        return np.where(weight < 0, np.int8(-1), np.int8(1))
    divisor = np.where(scale == 0, 1.0, scale)
    top = 2**bits - 1
    codes = np.asarray(weight / divisor)  # the rest in place: a layer may hold 10^8 weights
    np.clip(np.rint(codes, out=codes), -top, top, out=codes)
    return as_codes(codes, bits)


def as_codes(codes: NDArray[Any], bits: int) -> NDArray[np.signedinteger[Any]]:
    """Whole numbers in the smallest of int8, int16 and int32 that holds 2^H - 1."""
    return codes.astype(np.int8 if bits <= 7 else np.int16 if bits <= 15 else np.int32)


@dataclass(frozen=True)
class Layout:
    """How the cells of one array represent its codes.

    Attributes:
        weight_bits: H from 1 to 16, or None for analog weights.
        cell_bits: B from 1 to H, to H + 1 for `offset` of several bits; not used by analog weights.
        encoding: How the sign is represented.
        analog_top: Level of the largest analog weight; not used by quantised ones.
    """

    weight_bits: int | None
    cell_bits: int
    encoding: Encoding
    analog_top: float = 1.0

    @property
    def highest_target(self) -> float:
        """The largest level that is a target, in level steps: 2^B - 1 when quantised.

        Of an offset array with one cell per weight, 2 (2^H - 1).
        """
        if self.weight_bits is None:
            return self.analog_top
        return 2**self.cell_bits - 1 - (self.cell_bits > self.weight_bits)

    @property
    def code_bits(self) -> int:
        """Bits stored in cells for one weight; 0 when analog, and where the sign is all."""
        if self.weight_bits is None:
            return 0
        if self.binary:
            return 0 if self.signed else 1
        return self.weight_bits + (self.encoding == "offset")

    @property
    def binary(self) -> bool:
        """Whether codes are -1 and +1 only."""
        return self.weight_bits == 1

    @property
    def slices(self) -> int:
        """Cells per weight and polarity."""
        return max(1, -(-self.code_bits // self.cell_bits))

    @property
    def polarities(self) -> int:
        """2 for pairs, else 1."""
        return 2 if self.paired else 1

    @property
    def paired(self) -> bool:
        """Whether a weight is the difference of two cells."""
        return self.encoding in ("differential", "balanced")

    @property
    def planes(self) -> int:
        """Cells per weight: slices times polarities, slice-major."""
        return self.slices * self.polarities

    @property
    def crossbars(self) -> int:
        """Crossbars that hold an array: one for each slice, or two where there are two polarities.

        Under `sign-magnitude` a weight's cell lies in the positive or in the negative one, and its
        place in the other stays unformed: two crossbars a slice with one cell a weight in them.
        """
        return self.slices * (1 if self.encoding == "offset" else 2)

    @property
    def signed(self) -> bool:
        """Whether a digital sign is applied outside the array."""
        return self.encoding == "sign-magnitude"

    @property
    def shift(self) -> float:
        """What is subtracted digitally from the recombined planes, in code steps."""
        if self.encoding != "offset":
            return 0.0
        return self.highest_target if self.weight_bits is None else float(2**self.weight_bits - 1)

    @cached_property
    def coefficients(self) -> NDArray[np.float32]:
        """What each plane's level counts for, in code steps; shape (planes,)."""
        if self.encoding == "offset" and (self.weight_bits is None or self.binary):
            return np.array([2.0], np.float32)  # codes -top ... top on levels 0 ... top
        powers = 2.0 ** (self.cell_bits * np.arange(self.slices))
        signs = [1.0, -1.0][: self.polarities]
        return np.outer(powers, signs).ravel().astype(np.float32)

    @cached_property
    def plane_bits(self) -> NDArray[np.int64]:
        """Bits each plane uses, shape (planes,): B, less in a top slice that is partly used."""
        first = self.cell_bits * np.arange(self.slices)
        used = np.minimum(self.cell_bits, self.code_bits - first)
        return np.repeat(used, self.polarities)

    def levels(self, codes: Any) -> Any:
        """The target level of every cell.

        Args:
            codes: Signed codes of any shape, NumPy or any array-API namespace; real numbers in
                [-top, top] when analog.

        Returns:
            Levels of shape (planes, *codes.shape), float32, in level steps.
        """
        if self.weight_bits is None:
            return self._analog_levels(codes)
        xp = array_namespace(codes)
        planes = xp.empty((self.planes, *codes.shape), dtype=xp.float32, device=codes.device)
        for polarity, digits in enumerate(self._digits(codes)):
            for i in range(self.slices):
                found = self._level(codes, digits, i, polarity)
                planes[i * self.polarities + polarity, ...] = found
        return planes

    def plane(self, codes: Any, number: int) -> Any:
        """The target levels of one plane: `levels(codes)[number]`."""
        if self.weight_bits is None:
            return self._analog_levels(codes)[number, ...]
        piece, polarity = divmod(number, self.polarities)
        return self._level(codes, self._digits(codes)[polarity], piece, polarity)

    def _level(self, codes: Any, digits: Any, number: int, polarity: int) -> Any:
        """The levels of cells for digit `number` of unsigned numbers, float32; 0 is the lowest."""
        xp = array_namespace(digits)
        mask = 2**self.cell_bits - 1
        digit = (digits >> (self.cell_bits * number)) & mask
        if self.encoding == "balanced":
            top = 2 ** min(self.cell_bits, max(1, self.code_bits - self.cell_bits * number)) - 1
            falls = (codes < 0) != bool(polarity)
            digit = (top + xp.where(falls, -digit, digit)) >> 1
        return xp.astype(digit, xp.float32)

    def _digits(self, codes: Any) -> list[Any]:
        """The unsigned number that the cells of each polarity hold."""
        xp = array_namespace(codes)
        # As they are, signed codes and their negatives fit: narrow integers take less time.
        exact = not self.shift and self.encoding != "balanced"
        narrow = exact and codes.dtype in (xp.int8, xp.int16)
        wide = codes if narrow else xp.astype(codes, xp.int32)
        if self.encoding == "differential":
            return [xp.clip(wide, min=0), xp.clip(-wide, min=0)]
        if not self.shift:
            return [xp.abs(wide)] * self.polarities
        return [(wide + int(self.shift)) >> int(self.binary)]

    def _analog_levels(self, codes: Any) -> Any:
        xp = array_namespace(codes)
        wide = xp.astype(codes, xp.float32)
        if self.encoding == "differential":
            return xp.stack([xp.clip(wide, min=0), xp.clip(-wide, min=0)])
        if self.encoding == "balanced":
            top = self.highest_target
            return xp.stack([(top + wide) * 0.5, (top - wide) * 0.5])
        if self.encoding == "offset":
            wide = (wide + self.shift) * 0.5
        return xp.abs(wide)[None, ...]

    def sign(self, codes: Any) -> Any:
        """The digital sign, +1 or -1, of each code; +1 for zero and for unsigned encodings.

        Returns:
            float32 of `codes`'s shape and namespace.
        """
        xp = array_namespace(codes)
        if not self.signed:
            return xp.ones(codes.shape, dtype=xp.float32, device=codes.device)
        return 1 - 2 * xp.astype(codes < 0, xp.float32)  # ten times as fast as a choice

    def combine(self, levels: Any, sign: Any) -> Any:
        """Codes back from levels: sign * sum_p c_p g_p - shift (Eq. 14 without s).

        Args:
            levels: Array of shape (planes, *shape), NumPy or any array-API namespace.
            sign: Array of `shape`, from `sign`.

        Returns:
            Real-valued codes of `shape`, exact when the levels are whole numbers.
        """
        first, *others = self.coefficients.tolist()
        total = levels[0, ...] if first == 1 and others else levels[0, ...] * first
        for plane, coefficient in enumerate(others, start=1):
            total = total + levels[plane, ...] * coefficient
        return self.recombined(total, sign)

    def recombined(self, total: Any, sign: Any) -> Any:
        """Codes from the planes' sum: sign * total - shift."""
        if self.signed:
            return total * sign
        return total - self.shift if self.shift else total
