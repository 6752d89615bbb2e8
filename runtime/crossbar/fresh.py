"""What is drawn anew at every read of an array: the noise of its cells, and of its conversions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Fresh", "Numbers", "Rule", "drawn"]

Real = NDArray[np.floating[Any]]
Rule = Callable[[tuple[int, int, int], tuple[int, ...]], Real]
"""From a counter and a shape to numbers."""


class Numbers(Protocol):
    """Standard numbers that are found by their number."""

    @property
    def key(self) -> tuple[int, int]:
        """Of their Philox stream."""
        ...

    def normal(self, counter: tuple[int, int, int], shape: tuple[int, ...]) -> Real:
        """The normals of one conversion.

        Args:
            counter: Number of the conversion in its product, of the product in its entry, and of
                the entry.
            shape: Of the result, float32.
        """
        ...

    def uniform(self, counter: tuple[int, int, int], shape: tuple[int, ...]) -> Real:
        """The uniforms of one conversion, in [0, 1); see `normal`."""
        ...


@dataclass(frozen=True)
class Fresh:
    """The streams of what is drawn; None of what is not.

    Attributes:
        cells: Of the noise of cells.
        conversions: Of the noise of ADCs.
        rounding: Of codes that are rounded at random.
    """

    cells: Numbers | None = None
    conversions: Numbers | None = None
    rounding: Numbers | None = None

    @property
    def rules(self) -> tuple[Rule | None, Rule | None]:
        """What gives the numbers of conversions, and those of their rounding."""
        noise = None if self.conversions is None else self.conversions.normal
        return noise, None if self.rounding is None else self.rounding.uniform

    @property
    def keys(self) -> tuple[tuple[int, int] | None, ...] | None:
        """As the compiled kernels take them; None where nothing is drawn."""
        every = (self.cells, self.conversions, self.rounding)
        if not any(every):
            return None
        return tuple(None if each is None else each.key for each in every)


def drawn(
    rule: Rule,
    conversion: int,
    reads: tuple[NDArray[np.int64], NDArray[np.int64]],
    shape: tuple[int, ...],
) -> Real:
    """Numbers of one conversion of every entry.

    Args:
        rule: What gives them.
        conversion: Its number.
        reads: Numbers of each entry and part.
        shape: Of the currents of all entries.
    """
    found: Real = np.empty(shape, np.float32)
    for index, (entry, part) in enumerate(zip(*reads, strict=True)):
        found[index] = rule((conversion, int(part), int(entry)), shape[1:])
    return found
