"""Sample-and-hold: a column's current waits for its converter while the next pulse is read."""

from __future__ import annotations

from typing import ClassVar

from nvmc.cost.components.base import Component, sum_of
from nvmc.cost.counts import Counts, Use
from nvmc.cost.quantity import Area, Energy

__all__ = ["SampleHold"]


class SampleHold(Component, frozen=True):
    """One for every column.

    E = energy for every conversion, A = area a column. Reading and converting then overlap: a
    pulse takes the longer of the two, not their sum.
    """

    analog: ClassVar[bool] = True

    energy: Energy
    area: Area

    def energy_j(self, counts: Counts, use: Use) -> float:
        """Joules for the events of one image."""
        return counts.conversions * self.energy.si

    def area_m2(self, counts: Counts, use: Use) -> float:
        """Square metres of those of these tiles."""
        return counts.readers * use.cols * sum_of((self.area, 1))

    def overlaps(self) -> bool:
        """It does."""
        return True
