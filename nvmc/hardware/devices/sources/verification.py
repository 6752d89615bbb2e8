"""Write-verify of chosen cells, beyond what their device does with all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Verification"]


@dataclass(frozen=True)
class Verification:
    """Cells that are programmed again until they are near enough, and how near that is.

    Attributes:
        chosen: Whether each cell is, an array of bool that broadcasts against the levels.
        max_pulses: Pulses after which a chosen cell stays as it is.
        tolerance: Largest error that is left, in units of the source's basis; the mean error
            counts.
        sigmas: The same as a multiple of the spread of one pulse of the cell; one of the two.
    """

    chosen: Any
    max_pulses: int
    tolerance: float | None = None
    sigmas: float | None = None

    def bound(self, unit: Any, spread: Any) -> Any:
        """Largest error that is left, in level steps.

        Args:
            unit: Level steps in one unit of the source's basis.
            spread: Standard deviation of one pulse of every cell, in level steps.
        """
        if self.tolerance is not None:
            return self.tolerance * unit
        assert self.sigmas is not None
        return self.sigmas * spread
