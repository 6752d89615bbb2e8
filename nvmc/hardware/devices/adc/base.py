"""What every kind of ADC is: the curve from a current to a code, and what may be wrong with it.

A converter reads v, the current in steps above that of the lowest code; an ideal one goes from code
k - 1 to code k where v = k - 1/2. What is fixed once a converter is made is a table: edges of v,
and the code between any two. So one search in a table serves every kind. What differs from one
conversion to the next is noise at the input, one normal per conversion.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nvmc.hardware.devices.numbers import Positive
from nvmc.hardware.devices.sources.base import Draws
from nvmc.hardware.options import CheckedModel

__all__ = ["AdcKind", "Curves", "Share", "Streams", "drawn", "ideal_edges"]

Float = NDArray[np.float64]
Share = Annotated[float, Field(ge=0, le=0.1, allow_inf_nan=False, strict=True)]
"""A relative standard deviation: at most 0.1, so that no drawn part is near zero."""
Streams = Callable[[str], Draws]
"""From the name of a parameter to its draws, which go on from call to call."""

_S_PEAK = 2 / (3 * math.sqrt(3))  # of s - s^3 for s in 0 ... 1


@dataclass(frozen=True)
class Curves:
    """What converters put out.

    Attributes:
        edges: Where the code changes, ascending, in steps above the current of the lowest code,
            shape (converters, edges); infinite where a converter has fewer.
        codes: Below the first edge, between any two and above the last, from 0; shape
            (converters, edges + 1).
    """

    edges: Float
    codes: NDArray[np.int64]


def drawn(draws: Streams, name: str, shape: tuple[int, ...]) -> Float:
    """Standard normals of a parameter, in float64."""
    found: Float = draws(name).normal(shape).astype(np.float64)
    return found


def ideal_edges(top: int) -> Float:
    """Edges of an ideal converter of codes 0 ... top: 1/2, 3/2 ..."""
    return np.arange(top, dtype=np.float64) + 0.5


class AdcKind(CheckedModel, extra="forbid", frozen=True):
    """Base of all kinds: errors that any converter may have, drawn per converter and chip.

    With z a standard normal for each converter and error,

        a current's v is read as    zero + (1 + gain z) (v - zero) + offset z
        and an edge is moved by     inl z 4 x (1 - x) + inl z (3 sqrt(3) / 2) (s - s^3)

    where x is the edge's place from 0 to 1, s = 2 x - 1 and `zero` the place of no current. Widths
    of codes are max(0, 1 + dnl z), a z each, with the two end edges held: errors in the end-point
    sense of IEEE Std 1241.

    Attributes:
        gain: Relative.
        offset: In steps of the code (LSB).
        inl: Peak of a bow and peak of an S, in LSB.
        dnl: Of the width of every code, in LSB.
        noise: Of every conversion, at the input, in LSB.
    """

    type: str
    gain: Share = 0.0
    offset: Positive = 0.0
    inl: Positive = 0.0
    dnl: Positive = 0.0
    noise: Positive = 0.0

    @property
    def curved(self) -> bool:
        """Whether converters are not ideal apart from their noise."""
        return any(getattr(self, name) for name in self._errors)

    @property
    def active(self) -> bool:
        """Whether any conversion is not ideal."""
        return self.curved or self.noise > 0

    @property
    def _errors(self) -> list[str]:
        """Names of the fields that change curves where they are not 0."""
        return [name for name in type(self).model_fields if name not in ("type", "noise")]

    def curves(self, top: int, zero: int, tiles: NDArray[np.intp], draws: Streams) -> Curves:
        """The curves of some converters.

        Args:
            top: Their highest code.
            zero: The code of no current.
            tiles: The tile of each, shape (converters,), ascending.
            draws: A stream for each error.
        """
        own = self.own_curves(top, tiles, draws)
        edges = self._with_widths(own.edges, top, draws)
        edges = self._with_bow(edges, top, draws)
        shape = (len(tiles), 1)
        if self.offset:
            edges = edges - self.offset * drawn(draws, "offset", shape)
        if self.gain:
            edges = (edges - zero) / (1 + self.gain * drawn(draws, "gain", shape)) + zero
        return Curves(np.maximum.accumulate(edges, axis=1), own.codes)

    def own_curves(self, top: int, tiles: NDArray[np.intp], draws: Streams) -> Curves:
        """The curves without gain, offset, inl and dnl; ideal ones unless a kind says otherwise."""
        del draws
        return self.plain(np.broadcast_to(ideal_edges(top), (len(tiles), top)))

    @staticmethod
    def plain(edges: Float) -> Curves:
        """Curves that count how many edges a current has passed."""
        codes = np.arange(edges.shape[1] + 1, dtype=np.int64)
        return Curves(edges, np.broadcast_to(codes, (len(edges), len(codes))))

    def _with_widths(self, edges: Float, top: int, draws: Streams) -> Float:
        if not self.dnl or top < 2:
            return edges
        normals = drawn(draws, "dnl", (len(edges), top - 1))
        moved = np.cumsum(np.maximum(1 + self.dnl * normals, 0) - 1, axis=1)
        moved -= moved[:, -1:] * (np.arange(1, top) / (top - 1))
        moved = np.concatenate([np.zeros((len(edges), 1)), moved], axis=1)
        place = np.clip(edges - 0.5, 0, top - 1)  # between edges as the nearest two are moved
        low = np.minimum(place.astype(np.int64), top - 2)
        left, right = (np.take_along_axis(moved, low + more, axis=1) for more in (0, 1))
        return edges + left + (place - low) * (right - left)

    def _with_bow(self, edges: Float, top: int, draws: Streams) -> Float:
        if not self.inl:
            return edges
        bow, curl = (drawn(draws, "inl", (len(edges), 1)) for _ in range(2))
        x = np.clip(edges / top, 0, 1)
        s = 2 * x - 1
        return edges + self.inl * (bow * 4 * x * (1 - x) + curl * (s - s**3) / _S_PEAK)
