"""Who watches an array at work: calibration, inspection and what drives cost."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nvmc.runtime.crossbar.adc import Adc
from nvmc.runtime.crossbar.dac import Pulse

__all__ = ["Observer"]

Real = NDArray[np.floating[Any]]


class Observer(Protocol):
    """Sees what passes through one array."""

    def inputs(self, x: Real) -> None:
        """See the inputs of whole entries, in the network's units."""
        ...

    def drives(self, rows: slice, pulse: Pulse) -> None:
        """See what one pulse puts on some rows, shape (entries, groups, vectors, rows)."""
        ...

    def currents(self, currents: Real, adc: Adc, counts: Real) -> None:
        """See what one ADC is about to convert.

        Args:
            currents: In level steps x input steps, shape (entries, groups, vectors, columns), all
                lanes side by side. They are overwritten afterwards.
            adc: The converter.
            counts: What a current of 1 adds to the result, in the network's units, shape
                (entries, groups, 1, columns).
        """
        ...
