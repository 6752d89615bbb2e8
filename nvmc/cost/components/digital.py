"""Digital units: activations, pooling, normalisation, and what no crossbar multiplies."""

from __future__ import annotations

from typing import ClassVar

from nvmc.cost.components.base import Component
from nvmc.cost.counts import Counts, Use
from nvmc.cost.quantity import Area, Energy, Rate

__all__ = ["Digital"]


class Digital(Component, frozen=True):
    """E = energy an operation, energy_multiply_add a multiply-add; A a tile.

    Attributes:
        rate: Operations a second of the units of one tile. Those of a whole chip work on nodes
            that run digitally.
    """

    per_image: ClassVar[bool] = True

    energy: Energy
    energy_multiply_add: Energy
    rate: Rate
    area: Area

    def energy_j(self, counts: Counts, use: Use) -> float:
        """Joules for the events of one image."""
        plain = counts.operations * self.energy.si
        return plain + counts.multiply_adds * self.energy_multiply_add.si

    def area_m2(self, counts: Counts, use: Use) -> float:
        """Square metres of those of these tiles."""
        return counts.tiles * self.area.si

    def layer_s(self, counts: Counts, use: Use) -> float:
        """Seconds for all operations on the units of these tiles; 0 where there is no tile."""
        done = counts.operations + counts.multiply_adds
        return done / (self.rate.si * counts.tiles) if counts.tiles else 0.0
