"""Wear: what writes and reads do to cells, as laws in their number."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, Self

from array_api_compat import array_namespace
from pydantic import model_validator

from nvmc.hardware.devices.laws import Cells
from nvmc.hardware.devices.numbers import Above, Positive, Probability
from nvmc.hardware.devices.sources.base import Draws, NoiseSource, Stage

__all__ = ["Endurance", "ReadDisturb"]


class Endurance(NoiseSource, frozen=True):
    """Cells after N writes: some have failed, and what the others reach has narrowed.

    A cell has failed with probability F(N) = 1 - exp(-(N/life)^shape), Weibull's law, and then
    reads its top level with probability `high`, else level 0. The window is
    w = 1 - closing log10(N/closing_from), from 0 to 1, of its levels around their middle: a cell
    that aims beyond stays at its edge. All cells have been written equally often.

    Attributes:
        writes: N, writes of every cell before this programming.
        life: Writes after which 63.2 % (1 - 1/e) of cells have failed; None where none fail.
        shape: Weibull's exponent; 1 for failures at a constant rate.
        high: Share of failed cells that stick at their top level.
        closing: Share of the window that is lost for every factor of 10 in writes.
        closing_from: Writes from which on it closes.
    """

    stage: ClassVar[Stage] = "cell"
    type: Literal["endurance"] = "endurance"
    writes: Positive
    life: Above | None = None
    shape: Above | None = None
    high: Probability | None = None
    closing: Positive | None = None
    closing_from: Above | None = None

    @model_validator(mode="after")
    def _laws(self) -> Self:
        failing = [self.life is None, self.shape is None, self.high is None]
        if any(failing) and not all(failing):
            raise ValueError("failures need life, shape and high; give all or none")
        if (self.closing is None) != (self.closing_from is None):
            raise ValueError("a closing window needs closing and closing_from; give both or none")
        if self.life is None and self.closing is None:
            raise ValueError("give life, shape and high, or closing and closing_from, or all")
        return self

    @property
    def failed(self) -> float:
        """F(N), the probability that a cell has failed."""
        if self.life is None or not self.writes:
            return 0.0
        logarithm = (self.shape or 1.0) * (math.log(self.writes) - math.log(self.life))
        return -math.expm1(-math.exp(min(logarithm, 700.0)))

    @property
    def window(self) -> float:
        """w, the share of the levels' range that can still be reached."""
        if self.closing is None or self.closing_from is None or self.writes <= self.closing_from:
            return 1.0
        decades = math.log10(self.writes) - math.log10(self.closing_from)
        return max(0.0, 1 - self.closing * decades)

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return self.failed > 0 or self.window < 1

    @property
    def pointwise(self) -> bool:
        """Always."""
        return True

    def apply(self, levels: Any, cells: Cells, draws: Draws) -> Any:
        """Levels within the window, and those of failed cells.

        One uniform a cell, used from both ends: more writes only add failures.
        """
        xp, top = array_namespace(levels), cells.highest_level
        if self.window < 1:
            levels = xp.clip(levels, top * (1 - self.window) / 2, top * (1 + self.window) / 2)
        if self.life is None:
            return levels
        u, high = draws.uniform(tuple(levels.shape)), self.high or 0.0
        stuck = xp.where(u < self.failed * (1 - high), 0 * levels, levels)
        return xp.where(1 - u <= self.failed * high, 0 * levels + top, stuck)


class ReadDisturb(NoiseSource, frozen=True):
    """Cells after N reads, each of which pushes them towards an end: all a little, or some wholly.

    With `rate` r, g = end + (g0 - end) exp(-r N e^(s z)), z a standard normal for each cell; with
    `p`, a cell is at the end with probability 1 - (1 - p)^N, else as it was. All cells have been
    read equally often.

    Attributes:
        reads: N, reads of every cell since programming.
        rate: r, share of the way to the end that a read takes a cell.
        rate_std: s, how far the logarithm of the rate varies from cell to cell.
        p: Probability that a read switches a cell.
        towards: The end: `low` (level 0), `high` (the top level) or `zero` conductance.
    """

    stage: ClassVar[Stage] = "cell"
    type: Literal["read-disturb"] = "read-disturb"
    reads: Positive
    rate: Positive | None = None
    rate_std: Positive = 0.0
    p: Probability | None = None
    towards: Literal["low", "high", "zero"]

    @model_validator(mode="after")
    def _one_law(self) -> Self:
        if (self.rate is None) == (self.p is None):
            raise ValueError("give either rate or p")
        if self.rate is None and self.rate_std:
            raise ValueError("rate_std is of rate; give rate instead of p, or remove it")
        return self

    @property
    def switched(self) -> float:
        """1 - (1 - p)^N, the probability that a cell is at the end; 0 with a rate."""
        if not self.p or not self.reads:
            return 0.0
        return 1.0 if self.p == 1 else -math.expm1(self.reads * math.log1p(-self.p))

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return bool(self.reads and (self.rate or self.p))

    @property
    def pointwise(self) -> bool:
        """Always."""
        return True

    def apply(self, levels: Any, cells: Cells, draws: Draws) -> Any:
        """Levels after the reads."""
        xp, shape = array_namespace(levels), tuple(levels.shape)
        ends = {"low": 0.0, "high": cells.highest_level, "zero": 0.0 - cells.off_level}
        end = ends[self.towards]
        if self.rate is None:
            return xp.where(draws.uniform(shape) < self.switched, 0 * levels + end, levels)
        way = self.reads * self.rate * xp.exp(self.rate_std * draws.normal(shape))
        return end + (levels - end) * xp.exp(-way)
