"""Successive approximation: a bit a step, against an array of capacitors that doubles with each."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nvmc.hardware.devices.adc.base import AdcKind, Curves, Share, Streams, drawn
from nvmc.hardware.devices.numbers import Positive

__all__ = ["Sar"]

Float = NDArray[np.float64]


class Sar(AdcKind, frozen=True):
    """A comparator, and a capacitive DAC whose bits are tried from the highest down.

    Bit i has a capacitor of 2^i units, and another unit ends the array:

        C_i = 2^i (1 + mismatch z_i / sqrt(2^i))        V(d) = 2^b sum_i w_i d_i / (sum_i w_i + w_t)

    with w = C. A bit is kept where v + 1/2 >= V(trial code) + comparator z. Of a split array the
    lowest `split` bits (L) lie behind a bridge of C_b = 2^L / (2^L - 1) units, with mismatch, and
    count for less:

        w_i = C_i C_b / (C_b + C_L)         C_L = sum of the capacitors behind it + parasitic

    their own mismatch being that of capacitors 2^L times smaller. Signed currents are converted in
    offset binary, so that the highest bit changes at no current. Where references do not ascend the
    search still ends at one code: codes are missing, and none comes twice.

    Source: McCreary and Gray, IEEE J. Solid-State Circuits 10(6), 1975; a split array as in Spear
    et al., IEEE J. Exploratory Solid-State Computational Devices and Circuits, 2023, which compares
    kinds of ADC behind crossbars.

    Attributes:
        mismatch: Relative standard deviation of a unit capacitor.
        comparator: Standard deviation of the comparator's offset, in LSB.
        split: Bits behind the bridge; 0 for none.
        parasitic: Capacitance to ground of the node behind the bridge, in units; no random part.
    """

    type: Literal["sar"] = "sar"
    mismatch: Share = 0.0
    comparator: Positive = 0.0
    split: Annotated[int, Field(ge=0, le=15, strict=True)] = 0
    parasitic: Positive = 0.0

    @property
    def _errors(self) -> list[str]:
        """Without `split`, which is none by itself."""
        return [name for name in super()._errors if name != "split"]

    def own_curves(self, top: int, tiles: NDArray[np.intp], draws: Streams) -> Curves:
        """Of the capacitors and the comparator."""
        bits = top.bit_length()
        weights, ending = self._weights(bits, len(tiles), draws)
        trial = np.arange(1 << bits)[:, None] >> np.arange(bits) & 1
        references = (weights @ trial.T.astype(np.float64)) * (
            2.0**bits / (weights.sum(axis=1) + ending)[:, None]
        )
        references -= 0.5
        if self.comparator:
            references += self.comparator * drawn(draws, "comparator", (len(tiles), 1))
        return self.plain(_searched(references, bits)[:, :top])

    def _weights(self, bits: int, count: int, draws: Streams) -> tuple[Float, Float]:
        """What each bit counts for at the comparator, lowest first, and what ends the array."""
        split = min(self.split, bits - 1)
        sizes = 2.0 ** np.where(np.arange(bits) < split, np.arange(bits), np.arange(bits) - split)
        bridge = 2.0**split / (2.0**split - 1) if split else 1.0
        units = np.concatenate([sizes, [1.0, bridge]])
        found = np.tile(units, (count, 1))
        if self.mismatch:
            found += self.mismatch * np.sqrt(units) * drawn(draws, "mismatch", found.shape)
        own, ending = found[:, :bits].copy(), found[:, bits].copy()
        if split:
            bridges = found[:, bits + 1]
            behind = own[:, :split].sum(axis=1) + ending + self.parasitic
            passed = bridges / (bridges + behind)
            own[:, :split] *= passed[:, None]
            ending = (ending + self.parasitic) * passed
        return own, ending


def _searched(references: Float, bits: int) -> Float:
    """Where the codes of a binary search really change, given the reference of every trial code.

    A trial code is only tried between the edges above it in the search: its own edge is its
    reference, held between these. Shape (converters, 2^bits), without the first.
    """
    edges = np.full((len(references), (1 << bits) + 1), np.inf)
    edges[:, 0] = -np.inf
    for level in range(bits):
        step = 1 << (bits - 1 - level)
        here = slice(step, None, 2 * step)
        low, high = edges[:, 0 : -step : 2 * step], edges[:, 2 * step :: 2 * step]
        edges[:, here] = np.clip(references[:, here], low, high)
    return edges[:, 1:-1]
