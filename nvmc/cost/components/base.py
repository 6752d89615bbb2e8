"""What a component of the hardware is asked: its energy, its area, and how long it takes."""

from __future__ import annotations

from typing import Any, ClassVar

from nvmc.cost.counts import Counts, Use
from nvmc.cost.quantity import Quantity
from nvmc.hardware.devices.laws import Strict

__all__ = ["Component", "si_of", "sum_of"]


class Component(Strict, frozen=True):
    """One part of the hardware. Its fields are what a hardware file says of it.

    A kind of component is one file with one class and one row of
    `nvmc.cost.components.COMPONENTS`. It overrides the methods that are not 0 for it.

    Attributes:
        analog: Whether noise and not gates decide what it takes; how it scales between nodes.
        per_image: Whether it works for whole layers, not for tiles: it takes no part in the peak
            figures, which are of tiles and what converts for them.
    """

    analog: ClassVar[bool] = False
    per_image: ClassVar[bool] = False

    def energy_j(self, counts: Counts, use: Use) -> float:
        """Joules for the events of one image."""
        return 0.0

    def area_m2(self, counts: Counts, use: Use) -> float:
        """Square metres of what serves these tiles."""
        return 0.0

    def read_s(self, use: Use) -> float:
        """Seconds that one pulse takes before columns can be converted."""
        return 0.0

    def convert_s(self, counts: Counts, use: Use) -> float:
        """Seconds in which all columns of a tile are converted after a pulse."""
        return 0.0

    def layer_s(self, counts: Counts, use: Use) -> float:
        """Seconds that it needs for all of these events, beside what tiles need."""
        return 0.0

    def overlaps(self) -> bool:
        """Whether thanks to it the next pulse is read while columns are converted."""
        return False

    def notes(self, use: Use) -> list[str]:
        """What it assumed, a sentence each."""
        return []


def si_of(quantity: Quantity | None) -> float:
    """A quantity in SI units; 0 where the file does not give it."""
    return 0.0 if quantity is None else quantity.si


def sum_of(*terms: tuple[Any, float]) -> float:
    """The sum of quantities, each times a number; those that a file leaves out count 0."""
    return sum(si_of(quantity) * number for quantity, number in terms)
