"""The memory that activations wait in between layers."""

from __future__ import annotations

from typing import ClassVar

from nvmc.cost.components.base import Component
from nvmc.cost.counts import Counts, Use
from nvmc.cost.quantity import Area, Energy, Rate

__all__ = ["Buffer"]


class Buffer(Component, frozen=True):
    """E = energy_read and energy_write a bit; A a tile; t = bits / bandwidth of the layer's tiles.

    Attributes:
        bandwidth: Bits a second that the buffers give to one tile.
    """

    per_image: ClassVar[bool] = True

    energy_read: Energy
    energy_write: Energy
    bandwidth: Rate
    area: Area

    def energy_j(self, counts: Counts, use: Use) -> float:
        """Joules for the events of one image."""
        read = counts.read_bits * self.energy_read.si
        return read + counts.written_bits * self.energy_write.si

    def area_m2(self, counts: Counts, use: Use) -> float:
        """Square metres of those of these tiles."""
        return counts.tiles * self.area.si

    def layer_s(self, counts: Counts, use: Use) -> float:
        """Seconds for all bits of a layer; 0 where there is no tile."""
        bits = counts.read_bits + counts.written_bits
        return bits / (self.bandwidth.si * counts.tiles) if counts.tiles else 0.0
