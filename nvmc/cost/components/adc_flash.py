"""Flash: a comparator for every code but one, all at once."""

from __future__ import annotations

from nvmc.cost.components.adc import Adc
from nvmc.cost.components.base import sum_of
from nvmc.cost.quantity import Area, Energy, Time

__all__ = ["FlashAdc"]


class FlashAdc(Adc, frozen=True):
    """A flash ADC.

        E = energy + energy_comparator (2^b - 1)
        t = time
        A = area + area_comparator (2^b - 1)

    The constant parts are references and the encoder.
    """

    energy: Energy | None = None
    energy_comparator: Energy
    time: Time
    area: Area | None = None
    area_comparator: Area

    def conversion_j(self, bits: int) -> float:
        """Joules of one conversion."""
        return sum_of((self.energy, 1), (self.energy_comparator, 2**bits - 1))

    def conversion_s(self, bits: int) -> float:
        """Seconds of one conversion."""
        return self.time.si

    def converter_m2(self, bits: int) -> float:
        """Square metres of one converter."""
        return sum_of((self.area, 1), (self.area_comparator, 2**bits - 1))
