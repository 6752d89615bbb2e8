"""The network on chip."""

from __future__ import annotations

from typing import ClassVar

from nvmc.cost.components.base import Component
from nvmc.cost.counts import Counts, Use
from nvmc.cost.quantity import Area, Energy, Rate

__all__ = ["Router"]


class Router(Component, frozen=True):
    """E = energy a bit and hop; A a tile; t = bits / bandwidth of the layer's tiles.

    Attributes:
        bandwidth: Bits a second that the network brings to one tile.
    """

    per_image: ClassVar[bool] = True

    energy: Energy
    bandwidth: Rate
    area: Area

    def energy_j(self, counts: Counts, use: Use) -> float:
        """Joules for the events of one image."""
        return counts.moved_bits * self.energy.si

    def area_m2(self, counts: Counts, use: Use) -> float:
        """Square metres of those of these tiles."""
        return counts.tiles * self.area.si

    def layer_s(self, counts: Counts, use: Use) -> float:
        """Seconds for all bits of a layer; 0 where there is no tile."""
        return counts.moved_bits / (self.bandwidth.si * counts.tiles) if counts.tiles else 0.0
