"""What calibration images show at the arrays of a network in training.

The ranges are those of `nvmc.runtime.crossbar.ranges.RangeObserver`, found from the largest
currents instead of a histogram of all.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nvmc.runtime.crossbar.ranges import CURRENT_SHARE, upper_end

__all__ = ["Watched"]


class Watched:
    """Watches all arrays.

    Args:
        arrays: How many.
        of_currents: Whether it watches currents, in place of inputs.
    """

    def __init__(self, arrays: int, of_currents: bool) -> None:
        self.of_currents = of_currents
        self._inputs = [0.0] * arrays
        self._counts = [0] * arrays
        self._largest: list[list[Tensor]] = [[] for _ in range(arrays)]
        self._expected = 1.0

    def expect(self, factor: float) -> None:
        """Say how many times what the first forward pass shows all of them show together."""
        self._expected = max(1.0, factor)

    def inputs(self, number: int, x: Tensor) -> None:
        """See the inputs of whole entries at one array."""
        if not self.of_currents:
            self._inputs[number] = max(self._inputs[number], float(x.abs().max()))

    def currents_of(self, number: int, conversions: int) -> Callable[[Tensor], None] | None:
        """What sees the currents of one array.

        Args:
            number: Of the array.
            conversions: How often it is told of currents in one forward pass, at most.
        """
        if not self.of_currents:
            return None

        def see(currents: Tensor) -> None:
            size = currents.abs().flatten()
            self._counts[number] += size.numel()
            # Those beyond the share may all be in one place.
            all_told = size.numel() * conversions * self._expected
            few = math.ceil(1.01 * (1 - CURRENT_SHARE) * all_told) + 2
            top = torch.topk(size, min(few, size.numel()), sorted=False).values
            self._largest[number].append(top)

        return see

    def ranges(self) -> list[float]:
        """What was seen at each array: the largest input, or the reach of its currents."""
        if not self.of_currents:
            return self._inputs
        return [self._reach(number) for number in range(len(self._inputs))]

    def _reach(self, number: int) -> float:
        if not self._largest[number]:
            return 0.0
        values = torch.cat(self._largest[number]).sort(descending=True).values
        beyond = self._counts[number] - math.ceil(CURRENT_SHARE * self._counts[number])
        most, found = float(values[0]), float(values[min(beyond, len(values) - 1)])
        return min(upper_end(found), most) if found > 0 else most
