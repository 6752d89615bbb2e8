"""Shift-and-add: slices, pulses and rows of tiles become one number."""

from __future__ import annotations

from nvmc.cost.components.base import Component
from nvmc.cost.counts import Counts, Use
from nvmc.cost.quantity import Area, Energy

__all__ = ["ShiftAdd"]


class ShiftAdd(Component, frozen=True):
    """E = energy_bit w for every conversion, w the bits of the sum; A = area for every tile.

    Additions keep step with the converters and take no time of their own.
    """

    energy_bit: Energy
    area: Area

    def energy_j(self, counts: Counts, use: Use) -> float:
        """Joules for the events of one image."""
        return counts.additions * counts.width * self.energy_bit.si

    def area_m2(self, counts: Counts, use: Use) -> float:
        """Square metres of those of these tiles."""
        return counts.readers * self.area.si
