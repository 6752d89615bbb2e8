"""The regression over the ADCs of Murmann's survey: what a good converter would take."""

from __future__ import annotations

import math

from nvmc.cost.components.adc import Adc
from nvmc.cost.counts import Use
from nvmc.cost.quantity import Length, Rate

__all__ = ["FEWEST_BITS", "SurveyAdc"]

FEWEST_BITS = 4
"""Fewest bits that the regression has converters of."""


class SurveyAdc(Adc, frozen=True):
    """An ADC as the regression over published ones has it.

        SNDR = 20 log10(2) b + 10 log10(1.5)                                         dB
        FOM  = min(213.7807 - 2.8719 ln f, 128.3068 + 3.2205 b)                      dB
        E    = 1/2 10^((SNDR - FOM)/10) exp(26.0496 + 1.8800 ln n - 2.8291 ln b - 1.4702)   pJ
        A    = exp(1.3462 + 0.9933 ln n + 0.1807 ln f + 0.2991 ln E)                 um^2
        t    = 1 / f

    n the node in nm, f the rate in Hz. Source: Andrulis, Chen, Lee, Emer, Sze, Modeling
    Analog-Digital-Converter Energy and Area for Compute-In-Memory Accelerator Design, 2024,
    arXiv:2404.06553; coefficients of hwcomponents-adc 1.0.21 (MIT), adc_data/model.yaml. It answers
    what the best converter would take. Below 4 bits it knows none and 4 are taken.

    Attributes:
        node: n.
        rate: f, conversions of one converter.
    """

    node: Length
    rate: Rate

    def conversion_j(self, bits: int) -> float:
        """Joules of one conversion."""
        return self._picojoules(max(bits, FEWEST_BITS)) * 1e-12

    def conversion_s(self, bits: int) -> float:
        """Seconds of one conversion."""
        return 1 / self.rate.si

    def converter_m2(self, bits: int) -> float:
        """Square metres of one converter."""
        energy = math.log(self._picojoules(max(bits, FEWEST_BITS)))
        node, rate = math.log(self.node.si * 1e9), math.log(self.rate.si)
        sizes = 1.3461916 + 0.9932795 * node + 0.1807154 * rate + 0.2991243 * energy
        return math.exp(sizes) * 1e-12

    def _picojoules(self, bits: int) -> float:
        sndr = 20 * math.log10(2) * bits + 10 * math.log10(1.5)
        by_rate = 213.7806687 - 2.8719030 * math.log(self.rate.si)
        fom = min(by_rate, 128.3068287 + 3.2205115 * bits)
        node = 26.0496216 + 1.8800369 * math.log(self.node.si * 1e9)
        return (
            0.5
            * 10 ** ((sndr - fom) / 10)
            * math.exp(node - 2.8291256 * math.log(bits) - 1.4702022)
        )

    def notes(self, use: Use) -> list[str]:
        """What it assumed, a sentence each."""
        if use.adc_bits >= FEWEST_BITS:
            return []
        return [
            f"The ADC has {use.adc_bits} bits; the survey's regression begins at {FEWEST_BITS}, "
            "which are counted."
        ]
