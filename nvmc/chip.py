"""A chip: one draw of the state of every cell, named by (seed, index).

`program` is the one place where cells get their state. The Monte Carlo engine, the execution
provider, `nvmc program` and the tests all call it, so a chip is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.devices import Cells, NoiseSource, Target
from nvmc.errors import OptionError
from nvmc.rng import Draw

__all__ = ["Array", "Chip", "Programmed"]

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Array:
    """One programmed weight tensor: what the compiled network says of it.

    Attributes:
        name: Its name in the manifest; keys its random streams.
        codes: Signed codes in the weight's ONNX shape, or the weights themselves when analog.
        scale: The step s, a scalar or of `codes`'s rank with length 1 where it does not vary.
        target: The cells that hold it.
    """

    name: str
    codes: NDArray[Any]
    scale: NDArray[Any]
    target: Target

    @cached_property
    def unit(self) -> NDArray[np.float32]:
        """Network units in one code step."""
        scale = self.scale.astype(np.float32)
        if self.target.weight_bits is not None:
            return scale
        largest = np.max(np.abs(self.codes.astype(np.float32)), initial=0.0) * scale
        return np.asarray(largest / self.target.layout.top, np.float32)

    @cached_property
    def steps(self) -> NDArray[Any]:
        """Codes in code steps: `codes`, or W / unit when analog (zero where all weights are)."""
        if self.target.weight_bits is not None:
            return self.codes
        if not self.unit.any():
            return np.zeros(self.codes.shape, np.float32)
        top = self.target.layout.top
        return np.clip(self.ideal / self.unit, -top, top)  # rounding may leave the range by an ulp

    @cached_property
    def cells(self) -> Cells:
        """The target state of its cells."""
        layout = self.target.layout
        bits = self.target.weight_bits
        largest = layout.top if bits is None else 2**bits - 1
        return Cells(
            targets=layout.levels(self.steps),
            top=self.target.top,
            plane_bits=() if bits is None else tuple(layout.plane_bits.tolist()),
            full_range=self.unit * np.float32(largest),
            signed=layout.signed,
        )

    @cached_property
    def sign(self) -> Float:
        """The digital sign of every weight."""
        return self.target.layout.sign(self.steps)

    @property
    def ideal(self) -> Float:
        """The weights of the ideal chip: codes * scale, float32."""
        return self.codes.astype(np.float32) * self.scale.astype(np.float32)

    def recombined(self, levels: Float, sign: Float) -> Float:
        """The weights that these levels and signs stand for (Eq. 14)."""
        return self.target.layout.combine(levels, sign) * self.unit


@dataclass(frozen=True)
class Programmed:
    """The state of one array on one chip.

    Attributes:
        levels: Programmed level of every cell, shape (planes, *shape), in level steps. Cells on
            target share memory with the array's targets: do not write to them.
        sign: The digital sign of every weight.
        weights: What the array computes with, W_p of Eq. 14, in the network's units.
    """

    levels: Float
    sign: Float
    weights: Float


@dataclass(frozen=True)
class Chip:
    """A chip's name and the noise that made it.

    Attributes:
        seed: Population of chips.
        index: Which chip of it; None for the ideal chip.
        sources: The noise sources at their strengths, from `Device.sources`.
        clip: Whether programmed levels are clipped to 0 ... the device's top level.
    """

    seed: int
    index: int | None
    sources: tuple[NoiseSource, ...] = ()
    clip: bool = False
    _streams: tuple[tuple[str, NoiseSource], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise OptionError(f"seed is {self.seed}; expected a whole number of at least 0")
        if self.index is not None and self.index < 0:
            raise OptionError(f"chip is {self.index}; expected a whole number of at least 0")
        types = [source.type for source in self.sources]
        counts = [types[:i].count(kind) for i, kind in enumerate(types)]
        names = [f"{kind}#{n}" if n else kind for kind, n in zip(types, counts, strict=True)]
        # Silent sources keep their names, so that sigma = 0 leaves the other sources' draws alone.
        loud = [(n, s) for n, s in zip(names, self.sources, strict=True) if not s.silent]
        object.__setattr__(self, "_streams", tuple(loud) if self.index is not None else ())

    @classmethod
    def of(cls, target: Target, seed: int, index: int, sigma: float | None = None) -> Chip:
        """Chip `index` of population `seed` on the target's device at `sigma`."""
        sources = target.device.sources(sigma)
        target.check_sources(sources)
        return cls(seed, index, sources, target.device.clip)

    @classmethod
    def ideal(cls) -> Chip:
        """The chip whose every cell is on target."""
        return cls(0, None)

    def program(self, array: Array) -> Programmed:
        """The state of `array` on this chip. Cost: a few passes over its cells, and their normals.

        Code sources move the targets, then each cell is programmed, then weight sources act on
        the recombined weights (docs/physics.md). Each source draws from a stream of its own.
        """
        cells = array.cells
        levels, sign = cells.targets, array.sign
        for source, draws in self._acting(array, "code"):
            levels, sign = source.apply(levels, sign, cells, draws)
            cells = replace(cells, targets=levels)
        for source, draws in self._acting(array, "cell"):
            levels = source.apply(levels, cells, draws)
        if self.clip and levels is not cells.targets:
            levels = np.clip(levels, 0, cells.top)
        on_target = levels is array.cells.targets and sign is array.sign
        weights = array.ideal if on_target else array.recombined(levels, sign)
        for source, draws in self._acting(array, "weight"):
            weights = source.apply(weights, cells, draws)
        return Programmed(levels, sign, np.asarray(weights, np.float32))

    def _acting(self, array: Array, place: str) -> Iterator[tuple[Any, Draw]]:
        for name, source in self._streams:
            if source.place == place and self.index is not None:
                yield source, Draw(self.seed, self.index, array.name, name)
