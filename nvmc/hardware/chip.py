"""A chip: one draw of the state of every cell, named by (seed, index).

`program` is the one place where cells get their state. The Monte Carlo engine, the execution
provider, `nvmc program` and the tests all call it, so a chip is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from nvmc.arguments import checked
from nvmc.errors import ArtifactError, OptionError
from nvmc.hardware.blocks import joined_axes, quick_weights, rows_of_block
from nvmc.hardware.devices import Cells, Device, NoiseSource, Target
from nvmc.hardware.devices.laws import MOST_KEPT
from nvmc.hardware.devices.sources.activations import Activation
from nvmc.hardware.devices.sources.base import Stage, stream_names
from nvmc.hardware.encoding import Layout
from nvmc.hardware.programming import (
    Acting,
    Clip,
    Programmed,
    beyond_numbers,
    cells_of,
    program_cells,
    weights_of,
)
from nvmc.hardware.reads import clipped_reads
from nvmc.hardware.rows import tile_of
from nvmc.hardware.tiling import Lines, Place, matrices, tile_lines, tile_numbers
from nvmc.rng import Draw

__all__ = ["CHOOSING", "PHYSICS", "REFERENCE", "Array", "Chip", "OwnNoise", "Programmed"]

PHYSICS = 5
"""Version of what decides a chip's value: raised with every change of a number that is drawn or of
what is computed with it, so that results from before are not taken for results of now."""

CHOOSING = 1 << 32
"""Added to seeds of populations that choices are made by: no choice is made on the chips that
`nvmc simulate` will draw."""

REFERENCE = "reference column"
"""Keys the streams of reference columns, behind the name of their array."""

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Array:
    """One programmed weight tensor: what the compiled network says of it.

    Attributes:
        name: Its name in the manifest; keys its random streams.
        codes: Signed codes in the weight's ONNX shape, or the weights themselves when analog.
        scale: The step s, a scalar or of `codes`'s rank with length 1 where it does not vary.
        target: The cells that hold it.
        place: How its layer uses it, which says on which tiles its cells sit; only needed where a
            noise source tells tiles apart, and for reference columns.
        beside: The array whose reference columns these are (`reference_of`); None of any other.

    Raises:
        ArtifactError: Codes of one bit hold a zero, as those of nvmc did before PHYSICS 3.
    """

    name: str
    codes: NDArray[Any]
    scale: NDArray[Any]
    target: Target
    place: Place | None = None
    beside: Array | None = None

    def __post_init__(self) -> None:
        if self.layout.binary and self.beside is None and not np.all(self.codes):
            raise ArtifactError(
                f"array {self.name!r} has 1-bit codes of 0; expected -1 and +1: compile again"
            )

    def __getstate__(self) -> dict[str, Any]:
        """Without what was derived, which the receiver derives again."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @cached_property
    def layout(self) -> Layout:
        """How its cells represent its codes."""
        return self.target.layout

    @cached_property
    def unit(self) -> NDArray[np.float32]:
        """Network units in one code step."""
        scale = self.scale.astype(np.float32)
        if self.target.weight_bits is not None:
            return scale
        ends = self.codes.max(initial=0), self.codes.min(initial=0)  # no copy of a large array
        largest = np.float32(max(float(ends[0]), -float(ends[1]))) * scale
        return np.asarray(largest / self.layout.highest_target, np.float32)

    @cached_property
    def steps(self) -> NDArray[Any]:
        """Codes in code steps: `codes`, or W / unit when analog (zero where all weights are)."""
        if self.target.weight_bits is not None:
            return self.codes
        if not self.unit.any():
            return np.zeros(self.codes.shape, np.float32)
        top = self.layout.highest_target
        return np.clip(self.ideal / self.unit, -top, top)  # rounding may leave the range by an ulp

    @cached_property
    def cells(self) -> Cells:
        """The target state of its cells."""
        return replace(cells_of(self.target, self.steps, self.unit), found={})

    @cached_property
    def tiles(self) -> NDArray[np.int32]:
        """The tile of each weight's cells, numbered within a plane.

        Raises:
            OptionError: The array does not know its place.
        """
        if self.beside is not None and self.beside.place is not None:
            return matrices(self.beside.place, self.beside.tiles)[..., :: self.target.cols]
        if self.place is None:
            raise OptionError(
                f"array {self.name!r} does not say which operator uses it, so its cells are on no "
                "known tile; give Array its place"
            )
        return tile_numbers(self.place, self.codes.shape, *tile_of(self.target))

    @cached_property
    def lines(self) -> Lines | None:
        """Where on its tile each weight's cells sit; None of reference columns, which share some.

        Asked for with `tiles`.
        """
        if self.beside is not None:
            return None
        return tile_lines(cast(Place, self.place), self.codes.shape, *tile_of(self.target))

    @cached_property
    def sign(self) -> Float:
        """The digital sign of every weight."""
        return self.layout.sign(self.steps)

    @property
    def ideal(self) -> Float:
        """The weights of the ideal chip: codes * scale, float32."""
        return self.codes.astype(np.float32) * self.scale.astype(np.float32)

    def scaled(self, weights: Float, gain: float) -> Float:
        """`weights` where results are multiplied by `gain` before the encoding's shift goes off.

        Itself where `gain` is 1, else a new array.
        """
        if gain == 1:
            return weights
        found = weights * np.float32(gain)
        if self.layout.shift:
            found += np.float32((gain - 1) * self.layout.shift) * self.unit
        return found

    @property
    def large(self) -> bool:
        """Whether what follows from the codes is too much to be kept."""
        return self.codes.size * self.layout.planes > MOST_KEPT

    def passing(self) -> Array:
        """Itself; of a large array a copy, whose derived parts go when the caller returns."""
        return replace(self) if self.large else self

    def parts(self) -> Iterator[tuple[slice, Array]]:
        """The array in blocks: where each lies along the joined first axes, and the block."""
        shape = self.codes.shape
        joined = joined_axes(shape)

        def along(step: NDArray[Any]) -> NDArray[Any]:
            if step.size == 1:
                return step.reshape(())
            rest = step.shape[joined:]
            return np.broadcast_to(step, shape[:joined] + rest).reshape(-1, *rest)

        codes = self.codes.reshape(-1, *shape[joined:])
        scale, unit = along(self.scale), along(self.unit)
        for first in range(0, len(codes), rows := rows_of_block(shape)):
            where = slice(first, first + rows)
            part = Array(
                self.name, codes[where], scale[where] if scale.ndim else scale, self.target
            )
            part.__dict__["unit"] = unit[where] if unit.ndim else unit  # of the whole array
            yield where, part


@dataclass(frozen=True)
class OwnNoise:
    """What a chip has of its own on one device of several: see `Chip`, of which these are fields.

    Attributes:
        device: The device.
        sources: Its noise sources.
        clip: Its clipping.
        time_s: Seconds since programming; None where it does not age.
    """

    device: Device
    sources: tuple[NoiseSource, ...]
    clip: Clip
    time_s: float | None


@checked
@dataclass(frozen=True, repr=False)
class Chip:
    """A chip's name and the noise that made it.

    Attributes:
        seed: Population of chips.
        index: Which chip of it; None for the ideal chip.
        sources: The noise sources at their strengths, from `Device.sources`.
        clip: Whether programmed levels are clipped to 0 ... the device's top level, or only at
            zero conductance (`Device.clip`).
        time_s: Seconds since programming; None where no source depends on it. The same chip at
            another time has the same cells, aged.
        others: The noise of arrays on other devices than the target's.
    """

    seed: int
    index: int | None
    sources: tuple[NoiseSource, ...] = ()
    clip: Clip = False
    time_s: float | None = None
    others: tuple[OwnNoise, ...] = ()
    _streams: tuple[tuple[str, NoiseSource], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise OptionError(f"seed is {self.seed}; expected a whole number of at least 0")
        if self.index is not None and self.index < 0:
            raise OptionError(f"chip is {self.index}; expected a whole number of at least 0")
        names = stream_names(self.sources)
        # Silent sources keep their names, so that sigma = 0 leaves the other sources' draws alone.
        active = [(n, s) for n, s in zip(names, self.sources, strict=True) if s.active]
        object.__setattr__(self, "_streams", tuple(active) if self.index is not None else ())

    def __repr__(self) -> str:
        who = "ideal" if self.index is None else f"{self.index} of seed {self.seed}"
        age = "" if self.time_s is None else f", {self.time_s:g} s after programming"
        return f"<Chip {who}: {', '.join(name for name, _ in self._streams) or 'no noise'}{age}>"

    @classmethod
    @checked
    def of(
        cls,
        target: Target,
        seed: int,
        index: int,
        sigma: float | None = None,
        time_s: float | None = None,
    ) -> Chip:
        """Chip `index` of population `seed` on the target's device at `sigma`, `time_s` old.

        Layers on a device of their own have that device's sigma; `time_s` is the age of all.

        Raises:
            OptionError: A number is out of range, or nothing on the device depends on it.
        """
        device, *others = target.devices
        sources, age = device.sources(sigma), target.age(time_s)
        target.check_sources(sources)
        own = tuple(
            OwnNoise(d, d.sources(), d.clip, d.time(time_s) if d.timed else None) for d in others
        )
        return cls(seed, index, sources, device.clip, age, own)

    @classmethod
    def ideal(cls) -> Chip:
        """The chip whose every cell is on target, its levels evenly spaced."""
        return cls(0, None)

    def on(self, device: Device) -> Self:
        """This chip as arrays on a device see it: with that device's noise alone."""
        if not self.others:
            return self
        own = next((other for other in self.others if other.device == device), self)
        return replace(self, sources=own.sources, clip=own.clip, time_s=own.time_s, others=())

    @property
    def reads(self) -> tuple[tuple[str, NoiseSource], ...]:
        """Active read noise, each source with the name that keys its streams."""
        return tuple(pair for pair in self._streams if pair[1].acts_in == "read")

    @property
    def activations(self) -> dict[str, float]:
        """Strength of each active source of noise on activations, by what keys its streams."""
        return {n: s.strength for n, s in self._streams if isinstance(s, Activation)}

    @property
    def needs_circuit(self) -> bool:
        """Whether every read differs, so that no set of weights stands for this chip."""
        return bool(self.reads) or any(self.on(o.device).reads for o in self.others)

    def program(self, array: Array) -> Programmed:
        """The state of `array` on this chip. Cost: a few passes over its cells, and their normals.

        Code sources move the targets, then each cell is programmed, then weight sources act on
        the recombined weights (docs/physics.md). Each source draws from a stream of its own. Read
        noise is no part of the state.
        """
        if self.others:
            return self.on(array.target.device).program(array)
        array = array.passing()
        cells, acting = self._cells(array), self._acting(array)
        levels, sign, pulses = self._levels(array, cells, acting)
        weights = weights_of(array, levels, sign, cells, acting)
        return Programmed(levels, sign, np.asarray(weights, np.float32), pulses)

    def weights(self, array: Array) -> Float:
        """What `array` computes with on this chip: `program(array).weights`, perhaps the very same.

        Cost: for a large array, where all sources are pointwise, no memory beside the weights.
        """
        if self.others:
            return self.on(array.target.device).weights(array)
        sources = [source for _, source in self._streams if source.acts_in != "read"]
        told, acting = (self._told, self._cells), self._acting(array)
        found = quick_weights(array, *told, acting, sources, self.clip)
        return self.program(array).weights if found is None else found

    def gain(self, array: Array) -> float:
        """What the results of `array` are multiplied by digitally, a number of float32.

        `weights` has it; `program`, whose levels are those of the cells, has not.
        """
        del array
        return 1.0

    @beyond_numbers
    def read_spread(self, array: Array, levels: Float) -> Float | None:
        """Standard deviation of one read of every cell that now is at `levels`, in level steps.

        All read sources together, of shape (planes, *shape), were nothing clipped (`read`); None
        where every read is the same.
        """
        if self.others:
            return self.on(array.target.device).read_spread(array, levels)
        cells = self._cells(array.passing()).placed()
        laws = [source.read_law(cells, draws) for source, draws in self._acting(array)("read")]
        spreads = [law.spread(levels, cells) for law in laws]
        if len(spreads) < 2:
            return spreads[0] if spreads else None
        return np.sqrt(sum(np.square(spread) for spread in spreads))

    @beyond_numbers
    def read(self, array: Array, levels: Float) -> tuple[Float, Float] | None:
        """Mean and standard deviation of one read of every cell that now is at `levels`.

        Both in level steps, of shape (planes, *shape); None where every read is the same. Where the
        device clips at zero conductance so is every read, which moves its mean up.
        """
        if self.others:
            return self.on(array.target.device).read(array, levels)
        spread = self.read_spread(array, levels)
        if spread is None or self.clip != "zero":
            return None if spread is None else (levels, spread)
        from scipy.special import ndtr  # `import nvmc` is to stay quick

        return clipped_reads(levels, spread, array.target.off_level, ndtr)

    def _cells(self, array: Array) -> Cells:
        wanted = any(source.needs_tiles for _, source in self._streams)
        told = self._told(array.cells, array.target)
        return replace(told, tiles=array.tiles, lines=array.lines) if wanted else told

    def _told(self, cells: Cells, target: Target) -> Cells:
        """`cells` with what they know of the chip."""
        age, places = self.time_s, None if self.index is None else target.places
        return replace(cells, time_s=age, places=places) if age or places or age == 0 else cells

    def _levels(self, array: Array, cells: Cells, acting: Acting) -> tuple[Any, Any, Any | None]:
        """Levels, signs and pulses of an array's cells."""
        return program_cells(array.sign, cells, acting, self.clip)

    def _label(self, array: Array) -> tuple[str, ...]:
        """What keys an array's streams, but for those of its reference columns."""
        return (array.name,)

    def _acting(self, array: Array) -> Acting:
        def acting(stage: Stage) -> Iterator[tuple[Any, Draw]]:
            for name, source in self._streams:
                if source.acts_in == stage and self.index is not None:
                    own = () if array.beside is None or source.shared else (REFERENCE,)
                    names = (name,) if source.chip_wide else (*self._label(array), *own, name)
                    yield source, Draw(self.seed, self.index, *names)

        return acting
