"""Converters of stages that find a bit and a half each, and hand the rest on, doubled.

A stage compares its input V, in units of the reference, with -1/4 and 1/4 and gives

    d = -1, 0 or 1        V' = (1 + g) V / a - g d / a        g = C_2 / C_1,  a = 1 + 1 / (A beta)

A is the gain of its amplifier and beta = C_1 / (C_1 + C_2). The last stage is one comparator at 0.
Codes are sums of d in powers of two, so that an offset of a comparator of less than 1/4 is made
good by the stages behind it, but a wrong gain is not (Lewis et al., IEEE J. Solid-State Circuits
27(3), 1992). As a function of the input V' is a line between any two decisions, so the curve is
exact: every stage cuts every line in up to three. Codes need not ascend.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.devices.adc.base import AdcKind, Curves, Share
from nvmc.hardware.devices.numbers import Positive

__all__ = ["Staged", "Stages"]

Float = NDArray[np.float64]


class Staged(AdcKind, frozen=True):
    """What converters of stages have in common.

    Attributes:
        mismatch: Relative standard deviation of the capacitors C_1 and C_2.
        comparator: Standard deviation of every comparator's offset, in LSB.
        amplifier: 1 / A, the same for all amplifiers: 0 for an ideal one, 0.001 for 60 dB.
    """

    mismatch: Share = 0.0
    comparator: Positive = 0.0
    amplifier: Share = 0.0

    def stages(self, capacitors: Float, offsets: Float, bits: int) -> Stages:
        """From standard normals, (converters, stages, 2) and (converters, stages + 1, 2)."""
        first, second = np.moveaxis(1 + self.mismatch * capacitors, -1, 0)
        ratio, feedback = second / first, first / (first + second)
        lost = 1 + self.amplifier / feedback
        shifts = self.comparator * offsets / 2.0 ** (bits - 1)
        decisions = np.sort(shifts[:, :-1] + [-0.25, 0.25], axis=-1)
        return Stages((1 + ratio) / lost, ratio / lost, decisions, shifts[:, -1, 0])


@dataclass(frozen=True)
class Stages:
    """The stages of some converters.

    Attributes:
        gain: Of V, shape (converters, stages).
        step: What d counts for in V', likewise.
        decisions: Where d changes, shape (converters, stages, 2).
        last: Where the last comparator decides, shape (converters,).
    """

    gain: Float
    step: Float
    decisions: Float
    last: Float

    def curves(self, top: int) -> Curves:
        """The curves of codes 0 ... top. Cost: about 2 (top + 1) lines a converter."""
        half = float(1 << self.gain.shape[1])
        lines = _Lines.of(len(self.gain))
        for stage in range(self.gain.shape[1]):
            lines = lines.cut(self.decisions[lines.owner, stage])
            own = lines.owner
            gain, step = self.gain[own, stage], self.step[own, stage]
            lines.slope, lines.rest = lines.slope * gain, lines.rest * gain - lines.last * step
            lines.total = 2 * lines.total + lines.last
        lines = lines.cut(self.last[lines.owner, None])
        codes = np.clip(lines.total + lines.last + int(half), 0, top)
        return _tables(lines.owner, lines.start * half + half - 0.5, codes, len(self.gain))


@dataclass
class _Lines:
    """Pieces of the input axis, by converter and ascending, on each of which V' is a line.

    `last` is what was decided on it last: -1, 0 or 1, of two decisions -1 or 0.
    """

    owner: NDArray[np.int64]
    start: Float
    end: Float
    slope: Float
    rest: Float
    total: NDArray[np.int64]
    last: NDArray[np.int64]

    @classmethod
    def of(cls, count: int) -> _Lines:
        """One line a converter: the input itself."""
        ones, zeros = np.ones(count), np.zeros(count, np.int64)
        owner = np.arange(count, dtype=np.int64)
        return cls(owner, -np.inf * ones, np.inf * ones, ones, 0 * ones, zeros, zeros)

    def cut(self, decisions: Float) -> _Lines:
        """Every line cut where V' reaches decisions, shape (lines, 1 or 2); empty ones go."""
        places = (decisions - self.rest[:, None]) / self.slope[:, None]
        places = np.clip(places, self.start[:, None], self.end[:, None])
        starts = np.concatenate([self.start[:, None], places], axis=1)
        ends = np.concatenate([places, self.end[:, None]], axis=1)
        kept = starts < ends
        digits: NDArray[np.int64] = np.arange(starts.shape[1], dtype=np.int64) - 1
        decided = np.tile(digits, (len(starts), 1))

        def each(values: Any) -> Any:
            return np.broadcast_to(values[:, None], starts.shape)[kept]

        slope, rest, total = (each(values) for values in (self.slope, self.rest, self.total))
        owner = each(self.owner)
        return _Lines(owner, starts[kept], ends[kept], slope, rest, total, decided[kept])


def _tables(
    owner: NDArray[np.int64], starts: Float, codes: NDArray[np.int64], count: int
) -> Curves:
    """Tables of all converters, as wide as the longest, from pieces; neighbours alike are one."""
    new = np.ones(len(owner), np.bool_)
    new[1:] = (codes[1:] != codes[:-1]) | (owner[1:] != owner[:-1])
    owner, starts, codes = owner[new], starts[new], codes[new]
    number = np.bincount(owner, minlength=count)
    first = np.cumsum(number) - number
    place = np.arange(len(owner)) - first[owner]
    width = int(number.max(initial=1))
    edges = np.full((count, width), np.inf)
    edges[owner, place] = starts
    filled = np.zeros((count, width), np.int64)
    filled[...] = codes[first + number - 1][:, None]
    filled[owner, place] = codes
    return Curves(edges[:, 1:], filled)
