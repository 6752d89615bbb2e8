"""Programming errors between two bounds, all equally likely."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from array_api_compat import array_namespace

from nvmc.hardware.devices.laws import PER_CELL, Cells, SpreadLaw
from nvmc.hardware.devices.numbers import Positive
from nvmc.hardware.devices.sources.base import Draws, NoiseSource, Stage

__all__ = ["ProgrammingUniform"]


class ProgrammingUniform(SpreadLaw, NoiseSource, frozen=True):
    """Flat error of a programmed level: gp = g + U(-a, a) f(g).

    CrossSim's uniform generic devices state the whole width, 2a.

    Attributes:
        amplitude: a, half the width, in units of `basis`; none means the device's sigma.
        basis: `level` steps, fraction of the cell's `full_range`, fraction of the `value` g,
            microsiemens, or `inverse` (see `Programming`).
        profile, polynomial, saturating: f(g), at most one (`SpreadLaw`); 1 without.
    """

    stage: ClassVar[Stage] = "cell"
    type: Literal["programming-uniform"] = "programming-uniform"
    amplitude: Positive | None = None
    basis: Literal["level", "full_range", "value", "us", "inverse"]

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return self.amplitude != 0

    def with_sigma(self, sigma: float) -> NoiseSource:
        """This source with the device's sigma as its amplitude, unless it states one."""
        return self if self.amplitude is not None else self.model_copy(update={"amplitude": sigma})

    @property
    def pointwise(self) -> bool:
        """Always."""
        return True

    @property
    def profiles(self) -> tuple[tuple[float, ...], ...]:
        """Every list that holds one number per level."""
        return () if self.profile is None else (self.profile,)

    @property
    def needs_conductance(self) -> bool:
        """Whether it is in microsiemens."""
        return self.basis == "us"

    def bound(self, cells: Cells) -> Any:
        """Largest error of every cell in level steps: an array like targets, or a float."""
        if self.amplitude is None:
            raise ValueError(f"noise source {self.type!r} has no amplitude yet; see Device.sources")
        unit = cells.unit(self.basis, cells.targets)
        scale = self.amplitude * (1.0 if self.basis in PER_CELL else unit)
        bound = self.factor(scale, cells.targets, cells)
        return bound * unit if self.basis in PER_CELL else bound

    def spread(self, cells: Cells) -> Any:
        """Standard deviation of every cell in level steps, a/sqrt(3); as of `bound`."""
        return self.bound(cells) / math.sqrt(3)

    def apply(self, levels: Any, cells: Cells, draws: Draws) -> Any:
        """Levels with their programming error added."""
        bound = cells.once(self, lambda: self.bound(cells))
        drawn = draws.uniform(tuple(levels.shape))
        u = array_namespace(levels).astype(drawn, levels.dtype)
        return levels + bound * (2 * u - 1)
