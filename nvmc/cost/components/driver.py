"""What charges word lines."""

from __future__ import annotations

from typing import ClassVar

from nvmc.cost.components.base import Component, sum_of
from nvmc.cost.counts import Counts, Use
from nvmc.cost.quantity import Area, Capacitance, Time, Voltage

__all__ = ["Driver"]


class Driver(Component, frozen=True):
    """A driver of a word line with n cells.

    E = (capacitance + capacitance_cell n) V^2      per pulse that is not 0
    A = area                                       per row
    """

    analog: ClassVar[bool] = True

    voltage: Voltage
    capacitance: Capacitance | None = None
    capacitance_cell: Capacitance
    time: Time | None = None
    area: Area | None = None

    def energy_j(self, counts: Counts, use: Use) -> float:
        """Joules for the events of one image."""
        line = sum_of((self.capacitance, 1), (self.capacitance_cell, use.cols))
        return counts.active * line * self.voltage.si**2

    def area_m2(self, counts: Counts, use: Use) -> float:
        """Square metres of the drivers of these tiles."""
        return counts.tiles * use.rows * sum_of((self.area, 1))

    def read_s(self, use: Use) -> float:
        """Seconds before a line stands."""
        return sum_of((self.time, 1))
