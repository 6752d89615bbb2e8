"""Many chips of a population, none of which is made before it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.chip import Chip

__all__ = ["Chips", "Chosen"]


@dataclass(frozen=True)
class Chips(Sequence[Chip]):
    """Consecutive chips of a population, made as they are asked for.

    Attributes:
        pattern: A chip of the population; the others differ in their index.
        first: Index of the first.
        runs: How many.
    """

    pattern: Chip
    first: int
    runs: int

    def __len__(self) -> int:
        return self.runs

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[position] for position in range(*number.indices(self.runs))]
        if not -self.runs <= number < self.runs:
            raise IndexError(number)
        return replace(self.pattern, index=self.first + number % self.runs)


class Chosen(Sequence[Chip]):
    """Some of many chips, none of which is made before it is asked for."""

    def __init__(self, chips: Sequence[Chip], positions: NDArray[np.int64]) -> None:
        self._chips = chips
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self._chips[int(position)] for position in self._positions[number]]
        return self._chips[int(self._positions[number])]
