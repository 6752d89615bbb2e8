"""What all converters share: how many there are, and how long they take for a tile's columns."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

from pydantic import Field

from nvmc.cost.components.base import Component
from nvmc.cost.counts import Counts, Use

__all__ = ["Adc"]


class Adc(Component, frozen=True):
    """An analog-to-digital converter, shared by some columns of a tile.

    A kind of ADC says what one conversion of b bits takes: `conversion_j`, `conversion_s` and
    `converter_m2`.

    Attributes:
        shared: Columns that take turns at one converter.
        integrates: Whether it counts while the columns are read, so that both take place at once.
    """

    analog: ClassVar[bool] = True

    shared: Annotated[int, Field(ge=1, strict=True)]
    integrates: bool = False

    def conversion_j(self, bits: int) -> float:
        """Joules of one conversion."""
        raise NotImplementedError

    def conversion_s(self, bits: int) -> float:
        """Seconds of one conversion."""
        raise NotImplementedError

    def converter_m2(self, bits: int) -> float:
        """Square metres of one converter."""
        raise NotImplementedError

    def count(self, use: Use) -> int:
        """Converters of a tile."""
        return use.adcs or math.ceil(use.cols / self.shared)

    def energy_j(self, counts: Counts, use: Use) -> float:
        """Joules for the events of one image."""
        return counts.conversions * self.conversion_j(use.adc_bits)

    def area_m2(self, counts: Counts, use: Use) -> float:
        """Square metres of the converters of these tiles."""
        return counts.readers * self.count(use) * self.converter_m2(use.adc_bits)

    def convert_s(self, counts: Counts, use: Use) -> float:
        """Columns in turns, one after the other."""
        return math.ceil(counts.columns / self.count(use)) * self.conversion_s(use.adc_bits)

    def overlaps(self) -> bool:
        """Whether it counts while the columns are read."""
        return self.integrates
