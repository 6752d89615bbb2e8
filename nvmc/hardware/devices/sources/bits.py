"""Sources that act on the bits stored, before programming."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from array_api_compat import array_namespace

from nvmc.hardware.devices.laws import Cells
from nvmc.hardware.devices.numbers import Probability
from nvmc.hardware.devices.sources.base import Draws, NoiseSource, Stage

__all__ = ["BitFlip"]


class BitFlip(NoiseSource, frozen=True):
    """Each stored bit flips with probability p (inverted normalization, IV-A2).

    Attributes:
        p: Probability that a bit flips.
        bits: `cells` flips the bits held in cells; `sign` the digital sign of sign-magnitude
            codes; `all` both. All three draw the same flips: first the signs', then each plane's
            from its lowest bit up.
    """

    stage: ClassVar[Stage] = "code"
    quantized_only: ClassVar[bool] = True
    type: Literal["bitflip"] = "bitflip"
    p: Probability
    bits: Literal["cells", "sign", "all"] = "all"

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return self.p != 0

    def apply(self, levels: Any, sign: Any, cells: Cells, draws: Draws) -> tuple[Any, Any]:
        """Target levels and signs with flipped bits."""
        xp = array_namespace(levels)
        shape = tuple(levels.shape)[1:]
        negated = draws.uniform(shape) < self.p
        if cells.signed and self.bits != "cells":
            sign = xp.where(negated, -sign, sign)
        if self.bits == "sign":
            return levels, sign
        planes: list[Any] = []
        for plane, bits in enumerate(cells.plane_bits):
            held = xp.astype(levels[plane, ...], xp.int32)
            flipped = held
            for bit in range(bits):
                flips = xp.astype(draws.uniform(shape) < self.p, xp.int32)
                flipped = xp.bitwise_xor(flipped, flips * 2**bit)
            planes.append(levels[plane, ...] + xp.astype(flipped - held, levels.dtype))
        return xp.stack(planes), sign
