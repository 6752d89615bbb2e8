"""Chips that are noisy only in part: some arrays, some slices of a weight, some noise sources.

The noisy part has the very numbers it has on the whole chip: nothing is drawn differently, what is
left out is put back on target after programming.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Cells
from nvmc.hardware.programming import Acting, Programmed

__all__ = ["AblatedChip", "Selection"]


@dataclass(frozen=True)
class Selection:
    """What is noisy; None means all there is of the kind.

    Attributes:
        arrays: Names of arrays.
        slices: Slices of a weight, 0 the least significant; both polarities of one go together.
        whole: Whether noise that sits in no slice is there: flips of a digital sign, and sources
            that act on the recombined weight.
        sources: Names of noise sources, as in `AblatedChip.active`.
    """

    arrays: frozenset[str] | None = None
    slices: frozenset[int] | None = None
    whole: bool = True
    sources: frozenset[str] | None = None


@dataclass(frozen=True)
class AblatedChip(Chip):
    """A chip whose noise is restricted to a selection."""

    only: Selection = Selection()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.only.sources is not None:
            kept = tuple(pair for pair in self._streams if pair[0] in self.only.sources)
            object.__setattr__(self, "_streams", kept)

    @classmethod
    def within(cls, chip: Chip, only: Selection) -> AblatedChip:
        """`chip`, noisy only in `only`."""
        own = {f.name: getattr(chip, f.name) for f in fields(Chip) if f.init}
        return cls(**own, only=only)

    @property
    def active(self) -> tuple[str, ...]:
        """Names of the noise sources that change something, in the order they are listed.

        A source's name is its type; the second of a type is `type#1`.
        """
        seen = (self.on(other.device)._streams for other in self.others)
        names = [name for streams in (self._streams, *seen) for name, _ in streams]
        return tuple(dict.fromkeys(names))

    def program(self, array: Array) -> Programmed:
        """The state of `array`: as on the whole chip where it is noisy, on target elsewhere."""
        if self.only.arrays is not None and array.name not in self.only.arrays:
            return Chip.ideal().program(array)
        return super().program(array)

    def weights(self, array: Array) -> NDArray[np.float32]:
        """As of `program`, which knows what is noisy."""
        return self.program(array).weights

    def _levels(self, array: Array, cells: Cells, acting: Acting) -> tuple[Any, Any, Any | None]:
        levels, sign, pulses = super()._levels(array, cells, acting)
        if self.only.slices is not None or not self.only.whole:
            drawn: NDArray[np.float32] = levels
            goal: NDArray[np.float32] = array.cells.targets
            levels = np.where(self._noisy_planes(array), drawn, goal)
        return levels, sign if self.only.whole else array.sign, pulses

    def _acting(self, array: Array) -> Acting:
        acting = super()._acting(array)
        return lambda stage: () if stage == "weight" and not self.only.whole else acting(stage)

    def read_spread(self, array: Array, levels: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """As of the whole chip where it is noisy; none where nothing is."""
        spread = super().read_spread(array, levels)
        if self.only.arrays is not None and array.name not in self.only.arrays:
            return None
        if spread is None or self.only.slices is None:
            return spread
        return np.where(self._noisy_planes(array), spread, np.float32(0))

    def _noisy_planes(self, array: Array) -> NDArray[np.bool_]:
        """Whether each plane is noisy; broadcasts against the array's levels."""
        layout = array.target.layout
        slices = np.arange(layout.planes) // layout.polarities
        chosen = range(layout.slices) if self.only.slices is None else self.only.slices
        noisy = np.isin(slices, list(chosen))
        return noisy.reshape(-1, *(1,) * array.codes.ndim)
