"""Registers at a tile: the bits on their way to rows, and the codes that converters give."""

from __future__ import annotations

from nvmc.cost.components.base import Component
from nvmc.cost.counts import Counts, Use
from nvmc.cost.quantity import Area, Energy

__all__ = ["Registers"]


class Registers(Component, frozen=True):
    """E = energy_in for every bit of a pulse and energy_out for every bit of a code; A a tile."""

    energy_in: Energy
    energy_out: Energy
    area: Area

    def energy_j(self, counts: Counts, use: Use) -> float:
        """Joules for the events of one image."""
        into = counts.drives * use.pulse_bits * self.energy_in.si
        return into + counts.conversions * use.adc_bits * self.energy_out.si

    def area_m2(self, counts: Counts, use: Use) -> float:
        """Square metres of those of these tiles."""
        return counts.tiles * self.area.si
