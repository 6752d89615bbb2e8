"""Leakage: what a tile that waits takes, where nothing switches it off."""

from __future__ import annotations

from nvmc.cost.components.base import Component
from nvmc.cost.quantity import Power

__all__ = ["Leakage"]


class Leakage(Component, frozen=True):
    """P = power of one waiting tile with all that belongs to it.

    What leaks while a tile works is part of the other components' energies, as published powers
    are measured then. Cells keep their state without power, so a waiting tile can be off; it is
    counted only where it is asked for.
    """

    power: Power

    def idle_j(self, tile_seconds: float) -> float:
        """Joules of tiles that wait for so many seconds, all of them together."""
        return self.power.si * tile_seconds
