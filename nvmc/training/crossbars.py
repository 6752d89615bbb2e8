"""The weights of a graph that a target holds in cells, as torch computes with them.

Codes, scales and levels are those of `nvmc compile`, bit for bit, and noise comes from the same
sources as in the simulator. What is computed from a clean weight W is W + d(W) with d taken as a
constant, so gradients taken at the noisy point reach the clean weight (TRICE, Alg. 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor

from nvmc.errors import OptionError
from nvmc.hardware.devices import NoiseSource, Target
from nvmc.hardware.devices.noise import (
    Additive,
    Draws,
    LogNormalDrift,
    Multiplicative,
    Programming,
    ProgrammingUniform,
    Uniform,
)
from nvmc.hardware.devices.sources.base import Stage
from nvmc.hardware.programming import program_cells, weights_of
from nvmc.hardware.rows import tile_of
from nvmc.hardware.tiling import (
    Channels,
    mean_magnitude,
    tile_lines,
    tile_numbers,
)
from nvmc.training.cells import targets_of, uses_of
from nvmc.training.held import Behind, CellWeights, Held, Seen
from nvmc.training.widths import LearnedWidths

__all__ = ["Crossbars"]

_TABLES = 8
"""Tables of spreads that are kept: a search visits many strengths."""
_TINY = torch.finfo(torch.float32).tiny
"""What a step of zero is divided by: where all weights are zero, so are the codes."""


class Crossbars:
    """The trained weights that cells hold.

    Args:
        model: The network in canonical form.
        weights: Its trained values by name.
        target: The cells.
        skip: Globs of the names of nodes, or of their weights, that stay digital.

    Attributes:
        names: The weights.
        drew_ages: Whether the age of a chip was drawn.
        times_s: Seconds since programming between which a chip's age is drawn, log-uniformly.
        read: Whether a circuit reads the cells, so that each matters on its own.
        binary: Those of one bit whose output channels had one magnitude each at the beginning.
        unbinarised: Those of more bits that had so.
    """

    def __init__(
        self,
        model: ir.Model,
        weights: Mapping[str, Tensor],
        target: Target,
        skip: Sequence[str] = (),
    ) -> None:
        self.target = target
        self._weights = weights
        self.read = False
        self.drew_ages = False
        own = target.age()
        self.times_s = self._default = None if own is None else (own, own)
        self._tables: dict[tuple[Any, ...], Tensor] = {}
        self._targets = targets_of(model, target, tuple(skip))
        self._variants = target.variants
        apart = {n: own.device for n, own in self._targets.items() if own.device != target.device}
        self._apart = {name: (device, device.sources()) for name, device in apart.items()}
        self._uses, self._places = uses_of(model, tuple(skip))
        self._sites: dict[str, dict[str, Any]] = {}
        self._channels = {name: self._own(name) for name in self._places}
        self.names = tuple(name for name in self._channels if name in weights)
        self.widths: LearnedWidths | None = None
        alike = [name for name in self.names if self._is_binary(name)]
        self.binary = tuple(n for n in alike if self._targets[n].weight_bits == 1)
        self.unbinarised = tuple(n for n in alike if self._targets[n].weight_bits != 1)

    def quantized(self) -> CellWeights:
        """What the ideal chip computes with, by name."""
        return self._shifted(lambda name, held: Seen(held.ideal))

    def programmed(self, sources: Sequence[NoiseSource], draws: Draws) -> CellWeights:
        """What a chip computes with: every source acts as in `nvmc.hardware.chip.Chip.program`.

        Args:
            sources: From `Device.sources` of the target's device; layers with a device of their
                own have its sources. Those that act on reads are noted (`Seen.reads`).
            draws: One stream for everything, in the order of `names` and of the sources.
        """
        time_s = self._drawn_time(draws)

        def seen(name: str, held: Held) -> Seen:
            aged = replace(held, time_s=self._age(name, time_s))
            return self._noisy(name, aged, self._sources(name, sources), draws)

        found = self._shifted(seen)
        found.chip = sources, draws
        return found

    def sampled(self, sigma: float | None, draws: Draws) -> CellWeights:
        """What a fresh chip computes with, as far as its law goes.

        Where programming errors are all there is, a weight's error is one Gaussian of the spread in
        closed form: one draw per weight instead of one per cell. Otherwise as `programmed`, and
        where a circuit reads the cells.
        """
        sources = self.target.device.sources(sigma)
        every = (sources, *(own for _, own in self._apart.values()))
        active = [source for each in every for source in each if source.active]
        exact = self.read or any(o.device.clip or o.places is not None for o in self._variants)
        if exact or not all(_is_gaussian(source) for source in active):
            return self.programmed(sources, draws)
        return self.injected(sigma, draws.normal)

    def injected(
        self, sigma: float | None, sample: Callable[[tuple[int, ...]], Tensor]
    ) -> CellWeights:
        """The ideal chip's weights plus noise of their `spread`, by name.

        Args:
            sigma: Strength that the spread is taken at; None for the device's own.
            sample: Standard noise of a shape; asked once, for all weights together.
        """
        sources = self.target.device.sources(sigma)
        sizes = [self._weights[name].numel() for name in self.names]
        parts = torch.split(sample((sum(sizes),)), sizes)
        noise = dict(zip(self.names, parts, strict=True))

        def seen(name: str, held: Held) -> Seen:
            spread = self._spread(held, self._sources(name, sources))
            noisy = torch.addcmul(held.ideal, spread, noise[name].view_as(held.ideal))
            return Seen(noisy, moved=True)

        return self._shifted(seen)

    def deviated(self, deviation: Mapping[str, Tensor]) -> CellWeights:
        """The ideal chip's weights plus a deviation in the network's units, by name."""

        def seen(name: str, held: Held) -> Seen:
            if name not in deviation:
                return Seen(held.ideal)
            return Seen(held.ideal + deviation[name], moved=True)

        return self._shifted(seen)

    def spread(self, sigma: float | None = None) -> dict[str, Tensor]:
        """Standard deviation of every weight over chips, in the network's units, by name.

        s sqrt(sum_i c_i^2 sigma(g_i)^2) for programming errors (TRICE, Eq. 14), together with
        sources that act on the weight itself; to first order for log-normal drift.

        Args:
            sigma: Strength of the device's noise; None for its own.

        Raises:
            OptionError: A source has no such closed form.
        """
        sources = self.target.device.sources(sigma)
        with torch.no_grad():
            spreads = {
                name: self._spread(self.held(name), self._sources(name, sources))
                for name in self.names
            }
        return {name: s.expand_as(self._weights[name]) for name, s in spreads.items()}

    def held(self, name: str) -> Held:
        """Weight `name` as its cells hold it now."""
        with torch.no_grad():
            weight = self._weights[name].detach()
            channels = self._channels[name]
            target, age = self._targets[name], self._age(name, self.time_s)
            bits = target.weight_bits
            if bits is None:
                unit = weight.abs().amax() / target.layout.highest_target
                return Held(target, unit, weight / unit.clamp_min(_TINY), weight, age)
            # In float64 and then rounded, as `scale_of` does it: codes must be those of `compile`.
            if bits == 1:
                mean = mean_magnitude(weight) if channels is None else channels.mean(weight)
                unit, codes = mean.to(torch.float32), torch.where(weight < 0, -1.0, 1.0)
                return Held(target, unit, codes, codes * unit, age)
            unit = (_largest(weight, channels).double() / (2**bits - 1)).to(torch.float32)
            codes = (weight / unit.clamp_min(_TINY)).round_()
            return Held(target, unit, codes, codes * unit, age)

    def _sources(self, name: str, sources: Sequence[NoiseSource]) -> Sequence[NoiseSource]:
        """The noise of a weight's cells, where `sources` are those of the target's device."""
        return self._apart[name][1] if name in self._apart else sources

    def _age(self, name: str, time_s: float | None) -> float | None:
        """The age of a weight's cells on a chip of that age; by default each device's own."""
        if name not in self._apart:
            return time_s
        own, _ = self._apart[name]
        return own.time(None if self.times_s is self._default else time_s) if own.timed else None

    @property
    def time_s(self) -> float | None:
        """The age of chips where none is drawn: the greatest."""
        return None if self.times_s is None else self.times_s[1]

    def _drawn_time(self, draws: Draws) -> float | None:
        """The age of a fresh chip."""
        if self.times_s is None or self.times_s[0] == self.times_s[1]:
            return self.time_s
        self.drew_ages = True
        low, high = map(math.log, self.times_s)
        return math.exp(low + float(draws.uniform((1,))) * (high - low))

    def clip(self, deviations: float) -> None:
        """Clamp every trained weight to so many of its standard deviations around zero, in place.

        Of a tensor, or of each channel where channels have a scale each. One outlier sets the step
        of all codes, and with it the noise of all weights. Weights of one bit, which have no range,
        and computed ones stay.
        """
        with torch.no_grad():
            for name, weight in self.clipped().items():
                channels = self._channels[name]
                spread = (
                    weight.std(correction=0) if channels is None else channels.deviation(weight)
                )
                torch.clamp(weight, -deviations * spread, deviations * spread, out=weight)

    def learn_widths(self) -> LearnedWidths:
        """From now on every weight that can be clipped has a width that is trained."""
        self.widths = LearnedWidths(self.clipped(), self._channels)
        return self.widths

    def clipped(self) -> dict[str, Tensor]:
        """The weights that have a range: trained as such, of more than one bit."""
        weights = {name: self._weights[name] for name in self.names}
        return {
            name: weight
            for name, weight in weights.items()
            if weight.is_leaf and not self._targets[name].layout.binary
        }

    def _own(self, name: str) -> Channels | None:
        """The channels that have a scale each; None for one scale per tensor."""
        cells = self._targets[name]
        return self._places[name] if cells.per_channel or cells.weight_bits == 1 else None

    def _is_binary(self, name: str) -> bool:
        channels, weight = self._places[name], self._weights[name].detach()
        if channels is None or weight.numel() < 2 * channels.count or not bool(weight.any()):
            return False
        return bool((weight.abs() == channels.largest(weight)).all())

    def chip(self, name: str, sources: Sequence[NoiseSource], draws: Draws) -> Tensor:
        """Weight `name` on one chip, as in `programmed`, without gradient."""
        with torch.no_grad():
            return self._noisy(name, self.held(name), self._sources(name, sources), draws).weights

    def behind(self, name: str, weight: Tensor, weights: Mapping[str, Tensor]) -> Behind:
        """What a weight was read out of.

        Args:
            name: Of the weight.
            weight: What the array computes with.
            weights: Where that was given, from `quantized` and its like or any other mapping.
        """
        found = weights.behind.get(name) if isinstance(weights, CellWeights) else None
        if found is None or found.weight is not weight:
            return Behind(weight, self.held(name), Seen(weight, moved=True))
        return found

    def _shifted(self, seen: Callable[[str, Held], Seen]) -> CellWeights:
        found = CellWeights()
        for name in self.names:
            weight = self._weights[name]
            # The difference is a constant, so the gradient at the noisy point reaches the clean
            # weight as it is (straight through).
            with torch.no_grad():
                held = self.held(name)
                now = seen(name, held)
                shift = now.weights - weight
            found[name] = weight + shift.to(weight.dtype)
            if self.widths is not None and name in self.widths:
                found[name] = found[name] + self.widths.passed(name, now.weights, weight.detach())
            found.behind[name] = Behind(found[name], held, now)
        return found

    def _noisy(self, name: str, held: Held, sources: Sequence[NoiseSource], draws: Draws) -> Seen:
        cells = held.cells
        if any(s.active and s.needs_tiles for s in sources):
            cells = replace(cells, **self._tiles(name))

        def acting(stage: Stage) -> Iterator[tuple[Any, Draws]]:
            return ((s, draws) for s in sources if s.active and s.acts_in == stage)

        clip = held.target.device.clip
        levels, sign, _ = program_cells(held.sign, cells, acting, clip)
        weights = weights_of(held, levels, sign, cells, acting)
        moved = any(s.active and s.acts_in == "weight" for s in sources)
        reads = tuple(s.read_law(cells, own) for s, own in acting("read"))
        return Seen(weights, levels, sign, moved, reads)

    def _tiles(self, name: str) -> dict[str, Any]:
        """On which tile the cells of a weight sit and where there, as its first layer uses it."""
        if name not in self._sites:
            cells, shape = self._targets[name], tuple(self._weights[name].shape)
            where = (self._uses[name][0], shape, *tile_of(cells))
            self._sites[name] = {"tiles": tile_numbers(*where), "lines": tile_lines(*where)}
        return self._sites[name]

    def _spread(self, held: Held, sources: Sequence[NoiseSource]) -> Tensor:
        """The spread of one weight; of its shape, or one that broadcasts against it."""
        active = [source for source in sources if source.active]
        if held.target.weight_bits is not None and all(isinstance(s, Programming) for s in active):
            table = self._table(tuple(active), held.target, held.time_s, held.codes.device)
            if table.ndim == 0:
                return table * held.unit
            return table[held.codes.long() + table.numel() // 2] * held.unit
        return self._variance(held, active).sqrt()

    def _table(
        self,
        sources: tuple[NoiseSource, ...],
        target: Target,
        time_s: float | None,
        device: torch.device,
    ) -> Tensor:
        """Spread of the codes -(2^H - 1) ... 2^H - 1 in code steps; a scalar where all are one."""
        key = (sources, target, time_s)
        if key not in self._tables:
            if len(self._tables) >= _TABLES:
                self._tables.clear()
            top = 2 ** (target.weight_bits or 0) - 1
            codes = torch.arange(-top, top + 1, dtype=torch.float32)
            held = Held(target, torch.ones(()), codes, codes, time_s)
            found = self._variance(held, sources).sqrt()
            self._tables[key] = (found[0] if bool((found == found[0]).all()) else found).to(device)
        return self._tables[key]

    def _variance(self, held: Held, sources: Sequence[NoiseSource]) -> Tensor:
        cells = held.cells.placed()
        coefficients = held.layout.coefficients.tolist()
        variance = torch.zeros_like(held.ideal)
        for source in sources:
            match source:
                case Programming() | ProgrammingUniform() if not _verified(source):
                    each = torch.as_tensor(source.spread(cells)).expand_as(cells.targets)
                    cell = sum(c**2 * each[i] ** 2 for i, c in enumerate(coefficients))
                    variance = variance + cell * held.unit**2
                case LogNormalDrift() | Multiplicative():
                    variance = variance + (source.strength * held.ideal) ** 2
                case Additive():
                    variance = variance + (source.strength * cells.full_range) ** 2
                case Uniform():
                    variance = variance + ((source.amplitude or 0) * cells.full_range) ** 2 / 3
                case _:
                    raise OptionError(
                        f"noise source {source.type!r} of device {held.target.device.name!r} has "
                        "no closed-form spread; use a method that injects the device's own noise, "
                        "such as gaussian"
                    )
        return variance


def _verified(source: NoiseSource) -> bool:
    return isinstance(source, Programming) and source.verified


def _is_gaussian(source: NoiseSource) -> bool:
    """Whether it adds zero-mean Gaussian errors to levels, and nothing else."""
    if not isinstance(source, Programming) or source.verified:
        return False
    return source.bias is None and source.table is None


def _largest(weight: Tensor, channels: Channels | None) -> Tensor:
    """max|W| per tensor or channel, as `nvmc.hardware.encoding.scale_of` takes it."""
    if channels is None:
        low, high = torch.aminmax(weight)  # a sixth of what a norm takes
        return torch.maximum(-low, high)
    return channels.largest(weight)
