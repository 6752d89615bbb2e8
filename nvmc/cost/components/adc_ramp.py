"""Ramp: a code a step, be it a slope and a comparator or an oscillator and a counter."""

from __future__ import annotations

from nvmc.cost.components.adc import Adc
from nvmc.cost.components.base import sum_of
from nvmc.cost.quantity import Area, Energy, Time

__all__ = ["RampAdc"]


class RampAdc(Adc, frozen=True):
    """A single-slope ADC, or one that counts the periods of an oscillator that a current drives.

        E = energy + energy_step 2^b
        t = time + time_step 2^b
        A = area + area_bit b

    A counter has b bits. A ramp that all columns share is a part of `energy` and `area`.
    """

    energy: Energy | None = None
    energy_step: Energy
    time: Time | None = None
    time_step: Time
    area: Area
    area_bit: Area | None = None

    def conversion_j(self, bits: int) -> float:
        """Joules of one conversion."""
        return sum_of((self.energy, 1), (self.energy_step, 2**bits))

    def conversion_s(self, bits: int) -> float:
        """Seconds of one conversion."""
        return sum_of((self.time, 1), (self.time_step, 2**bits))

    def converter_m2(self, bits: int) -> float:
        """Square metres of one converter."""
        return sum_of((self.area, 1), (self.area_bit, bits))
