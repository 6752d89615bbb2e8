"""Random telegraph noise: a trap in the cell catches a carrier and lets it go again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from array_api_compat import array_namespace

from nvmc.hardware.devices.laws import Cells
from nvmc.hardware.devices.numbers import Positive, Probability
from nvmc.hardware.devices.sources.base import Draws, NoiseSource, ReadLaw, Stage

__all__ = ["Telegraph"]


class Telegraph(NoiseSource, frozen=True):
    """Two states a distance A apart: g + A p where the trap is empty, g - A (1 - p) where filled.

    A trap is filled with probability p, so g, which programming aimed at, is the mean. The two
    limits of how fast traps are against reads: `drawn = "chip"` keeps every trap as it is for all
    reads of a chip, `drawn = "read"` draws it anew at every read, independently. Of the latter a
    circuit draws the sum over a column as one normal of that sum's variance, A^2 p (1 - p) x^2 a
    cell: exact in mean and variance, and in law as the number of cells grows.

    Attributes:
        amplitude: A, in units of `basis`.
        basis: `level` steps, fraction of the cell's `full_range`, fraction of the `value` of each
            cell as it is now, or microsiemens.
        occupancy: p, share of the time that a trap is filled.
        share: Probability that a cell has a trap; which have one is the chip's.
        drawn: What a trap's state belongs to: the `chip`, or each `read`.
    """

    stage: ClassVar[Stage] = "cell"
    type: Literal["telegraph"] = "telegraph"
    amplitude: Positive
    basis: Literal["level", "full_range", "value", "us"]
    occupancy: Probability = 0.5
    share: Probability = 1.0
    drawn: Literal["chip", "read"]

    @property
    def acts_in(self) -> Stage:
        """`cell` or `read`, as `drawn` says."""
        return "read" if self.drawn == "read" else "cell"

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return self.amplitude != 0 and self.share != 0 and 0 < self.occupancy < 1

    @property
    def pointwise(self) -> bool:
        """Always."""
        return True

    @property
    def needs_conductance(self) -> bool:
        """Whether it is in microsiemens."""
        return self.basis == "us"

    def apply(self, levels: Any, cells: Cells, draws: Draws) -> Any:
        """Levels with every trap in its state. One uniform a cell says whether, and which."""
        xp = array_namespace(levels)
        u = draws.uniform(tuple(levels.shape))
        unit = self.amplitude * cells.unit(self.basis, levels) + 0 * levels
        empty = xp.where(u < self.share, self.occupancy * unit, 0 * levels)
        filled = u < self.share * self.occupancy
        return levels + xp.where(filled, (self.occupancy - 1) * unit, empty)

    def read_law(self, cells: Cells, draws: Draws) -> ReadLaw:
        """Noise of reads, of those cells that have a trap."""
        if self.share == 1:
            return _Reads(self)
        return _Reads(self, draws.uniform(tuple(cells.targets.shape)) < self.share)


@dataclass(frozen=True)
class _Reads:
    source: Telegraph
    trapped: Any = None

    def spread(self, levels: Any, cells: Cells) -> Any:
        """Standard deviation of every cell in one read; see `Read.spread`."""
        source = self.source
        scale = source.amplitude * math.sqrt(source.occupancy * (1 - source.occupancy))
        xp = array_namespace(levels)
        spread = xp.abs(scale * cells.unit(source.basis, levels) + 0 * levels)
        return spread if self.trapped is None else xp.where(self.trapped, spread, 0 * spread)
