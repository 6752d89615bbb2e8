"""Digital-to-analog converters, one a row."""

from __future__ import annotations

from typing import ClassVar

from nvmc.cost.components.base import Component, sum_of
from nvmc.cost.counts import Counts, Use
from nvmc.cost.quantity import Area, Energy, Time

__all__ = ["Dac"]


class Dac(Component, frozen=True):
    """A DAC of b bits, b those that one pulse puts on a row.

        E = energy + energy_bit b      per pulse and row, whatever the code
        t = time
        A = area + area_bit b          per row

    Capacitors of C farad a bit at the voltage V are an `energy_bit` of C V^2.
    """

    analog: ClassVar[bool] = True

    energy: Energy | None = None
    energy_bit: Energy | None = None
    time: Time | None = None
    area: Area | None = None
    area_bit: Area | None = None

    def energy_j(self, counts: Counts, use: Use) -> float:
        """Joules for the events of one image."""
        return counts.drives * sum_of((self.energy, 1), (self.energy_bit, use.pulse_bits))

    def area_m2(self, counts: Counts, use: Use) -> float:
        """Square metres of the DACs of these tiles."""
        each = sum_of((self.area, 1), (self.area_bit, use.pulse_bits))
        return counts.tiles * use.rows * each

    def read_s(self, use: Use) -> float:
        """Seconds before a pulse stands."""
        return sum_of((self.time, 1))
