"""Successive approximation: a bit a step, and an array of capacitors that doubles with each bit."""

from __future__ import annotations

from nvmc.cost.components.adc import Adc
from nvmc.cost.components.base import sum_of
from nvmc.cost.quantity import Area, Energy, Time

__all__ = ["SarAdc"]


class SarAdc(Adc, frozen=True):
    """An ADC of successive approximation.

        E = energy_bit b + energy_code 2^b + energy_noise 4^b
        t = time + time_bit b
        A = area + area_bit b + area_code 2^b

    Comparator and logic work once a bit; the capacitors grow with the codes; noise below a code
    asks for capacitors, or for a comparator, that grow with the square of the codes (Saberi et al.,
    TCAS-I 2011; Houshmand et al., 2023).
    """

    energy_bit: Energy | None = None
    energy_code: Energy | None = None
    energy_noise: Energy | None = None
    time: Time | None = None
    time_bit: Time
    area: Area | None = None
    area_bit: Area | None = None
    area_code: Area | None = None

    def conversion_j(self, bits: int) -> float:
        """Joules of one conversion."""
        terms = (self.energy_bit, bits), (self.energy_code, 2**bits), (self.energy_noise, 4**bits)
        return sum_of(*terms)

    def conversion_s(self, bits: int) -> float:
        """Seconds of one conversion."""
        return sum_of((self.time, 1), (self.time_bit, bits))

    def converter_m2(self, bits: int) -> float:
        """Square metres of one converter."""
        return sum_of((self.area, 1), (self.area_bit, bits), (self.area_code, 2**bits))
