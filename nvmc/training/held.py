"""A weight as its cells hold it in a step of training, and what a chip makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from nvmc.hardware.devices import Cells, NoiseSource, Target
from nvmc.hardware.devices.sources.base import Draws, ReadLaw
from nvmc.hardware.encoding import Layout
from nvmc.hardware.programming import cells_of
from nvmc.hardware.reads import clipped_reads
from nvmc.runtime.crossbar.array import moved_levels

__all__ = ["Behind", "CellWeights", "Held", "Seen"]


@dataclass(frozen=True)
class Held:
    """One weight as its cells hold it now; no gradient flows through any of it.

    Attributes:
        target: The cells.
        unit: Network units in one code step, a scalar or of the weight's rank.
        codes: Signed codes as float32, or the weight in code steps when analog.
        ideal: What the ideal chip computes with.
        time_s: Seconds since programming; None where no source depends on it.
    """

    target: Target
    unit: Tensor
    codes: Tensor
    ideal: Tensor
    time_s: float | None = None

    @cached_property
    def layout(self) -> Layout:
        """How its cells represent its codes."""
        return self.target.layout

    @cached_property
    def cells(self) -> Cells:
        """The target state of its cells, at the time of the chip."""
        cells = cells_of(self.target, self.codes, self.unit)
        return replace(cells, time_s=self.time_s, places=self.target.places)

    @cached_property
    def sign(self) -> Tensor:
        """The digital sign of every weight."""
        return self.layout.sign(self.codes)


@dataclass(frozen=True)
class Seen:
    """What a chip computes with in place of a weight.

    Attributes:
        weights: That.
        levels: Of its cells, None for those on target.
        sign: The digital sign of every weight, likewise.
        moved: Whether something acted on the weight itself, beside its cells.
        reads: The noise of reads of these cells.
    """

    weights: Tensor
    levels: Tensor | None = None
    sign: Tensor | None = None
    moved: bool = False
    reads: tuple[ReadLaw, ...] = ()


@dataclass(frozen=True)
class Behind:
    """What a weight was read out of.

    Attributes:
        weight: The very tensor that the graph computes with.
        held: The clean weight as its cells hold it.
        seen: What became of that on the chip.
    """

    weight: Tensor
    held: Held
    seen: Seen

    def cells(self) -> tuple[Tensor, Tensor]:
        """Levels and signs of cells whose recombination is the weight.

        What acted on the weight itself is put on the cells of the highest slice, as in
        `nvmc.runtime.crossbar.array.levels_of`.
        """
        held, seen = self.held, self.seen
        levels = held.cells.targets if seen.levels is None else seen.levels
        sign = held.sign if seen.sign is None else seen.sign
        if seen.moved:
            levels = moved_levels(held.layout, levels, sign, self.weight.detach(), held.unit)
        return levels, sign

    def read_spread(self, levels: Tensor) -> Tensor | None:
        """Standard deviation of one read of every cell; see `nvmc.hardware.chip.Chip.read_spread`.

        Args:
            levels: Present levels, shape (planes, *shape).
        """
        cells = self.held.cells.placed()
        spreads = [law.spread(levels, cells) for law in self.seen.reads]
        if len(spreads) < 2:
            return spreads[0] if spreads else None
        return torch.stack([spread.square() for spread in spreads]).sum(0).sqrt_()

    def read(self, levels: Tensor, target: Target) -> tuple[Tensor, Tensor] | None:
        """Mean and standard deviation of one read; see `nvmc.hardware.chip.Chip.read`.

        Args:
            levels: Present levels, shape (planes, *shape).
            target: The cells.
        """
        spread = self.read_spread(levels)
        if spread is None or target.device.clip != "zero":
            return None if spread is None else (levels, spread)
        tail: Callable[[Tensor], Tensor] = cast(Any, torch.special).ndtr
        return clipped_reads(levels, spread, target.off_level, tail)


class CellWeights(dict[str, Tensor]):
    """Weights by name, with the cells that each was read out of.

    Attributes:
        behind: What each weight was made of.
        chip: The noise sources of the chip whose weights these are, and what it draws from, for
            noise that acts elsewhere than on weights; None of the ideal chip.
    """

    def __init__(self) -> None:
        super().__init__()
        self.chip: tuple[Sequence[NoiseSource], Draws] | None = None
        self.behind: dict[str, Behind] = {}
