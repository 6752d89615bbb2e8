"""Sources that act on programmed cells beside their programming: faults and common offsets."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from array_api_compat import array_namespace
from pydantic import model_validator

from nvmc.hardware.devices.laws import Cells
from nvmc.hardware.devices.numbers import Probability
from nvmc.hardware.devices.sources.base import Draws, GaussianSource, NoiseSource, Stage

__all__ = ["Global", "StuckAt"]


class StuckAt(NoiseSource, frozen=True):
    """A cell that reads level 0 with probability p_low, or its top level with p_high.

    One uniform decides both, from its two ends, so that raising either probability only adds stuck
    cells to those a chip already has.
    """

    stage: ClassVar[Stage] = "cell"
    type: Literal["stuck-at"] = "stuck-at"
    p_low: Probability = 0.0
    p_high: Probability = 0.0

    @model_validator(mode="after")
    def _at_most_all(self) -> StuckAt:
        if self.p_low + self.p_high > 1:
            raise ValueError(f"p_low + p_high is {self.p_low + self.p_high}; expected at most 1")
        return self

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return self.p_low != 0 or self.p_high != 0

    @property
    def pointwise(self) -> bool:
        """Always."""
        return True

    def apply(self, levels: Any, cells: Cells, draws: Draws) -> Any:
        """Levels with stuck cells replaced."""
        xp = array_namespace(levels)
        u = draws.uniform(tuple(levels.shape))
        low = xp.asarray(0.0, dtype=levels.dtype, device=levels.device)
        high = xp.asarray(cells.highest_level, dtype=levels.dtype, device=levels.device)
        return xp.where(u < self.p_low, low, xp.where(1 - u <= self.p_high, high, levels))


class Global(GaussianSource, frozen=True):
    """One offset that all cells of a chip, an array or a tile share: gp = g + N(0, sigma).

    Attributes:
        sigma: Standard deviation in units of `basis`.
        basis: `level` steps, fraction of the cell's `full_range`, microsiemens, or fraction of
            the `value` of each cell (a common gain).
        scope: Which cells share one normal: all of the `chip`, those of one `array` (one weight
            tensor), or those of one `tile`, which holds one plane.
    """

    stage: ClassVar[Stage] = "cell"
    type: Literal["global"] = "global"
    basis: Literal["level", "full_range", "value", "us"]
    scope: Literal["chip", "array", "tile"]

    @property
    def needs_conductance(self) -> bool:
        """Whether it is in microsiemens."""
        return self.basis == "us"

    @property
    def needs_tiles(self) -> bool:
        """Whether each tile has an offset of its own."""
        return self.scope == "tile"

    @property
    def chip_wide(self) -> bool:
        """Whether all arrays share the offset."""
        return self.scope == "chip"

    @property
    def shared(self) -> bool:
        """Always."""
        return True

    def apply(self, levels: Any, cells: Cells, draws: Draws) -> Any:
        """Levels moved together."""
        scale = self.strength * cells.unit(self.basis, levels)
        if self.scope == "tile":
            return levels + scale * _of_tiles(levels, cells, draws)
        return levels + scale * draws.normal((1,))


def _of_tiles(levels: Any, cells: Cells, draws: Draws) -> Any:
    """Each cell's share of one normal a tile, an array like `levels`; plane after plane."""
    if cells.tiles is None:
        raise ValueError("cells do not say which tile they sit on; a tile's offset needs it")
    xp = array_namespace(levels)
    number = xp.asarray(cells.tiles, dtype=xp.int64, device=levels.device)
    count = int(xp.max(number)) + 1 if levels.shape[0] and 0 not in number.shape else 0
    normals = draws.normal((levels.shape[0], count))
    flat = xp.reshape(number, (-1,))
    planes = [xp.take(normals[i, ...], flat, axis=0) for i in range(levels.shape[0])]
    return xp.reshape(xp.stack(planes), levels.shape)
