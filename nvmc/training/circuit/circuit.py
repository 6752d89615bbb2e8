"""The circuits of a network in training: its mapped layers between their converters.

Ranges that `nvmc compile` calibrates are those that it would calibrate for the weights of the
moment, on the same images (`nvmc.runtime.ranges`); see `Circuit.calibrated`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import onnx_ir as ir
import torch
from torch import Tensor, nn

from nvmc.errors import OptionError
from nvmc.hardware.devices import Target
from nvmc.hardware.rows import reads_of_rows
from nvmc.hardware.tiling import Place
from nvmc.passes.graph.layers import label
from nvmc.passes.graph.mappable import layers_of
from nvmc.runtime.crossbar.adc import adc_of
from nvmc.runtime.crossbar.array import Lanes, lanes_of, with_off_current
from nvmc.runtime.crossbar.dac import Dac
from nvmc.training.circuit.converters import Codes, encode, pulses, rounded
from nvmc.training.circuit.gradients import read
from nvmc.training.circuit.grids import OwnRanges
from nvmc.training.circuit.layers import Plain, check_layer, function_of
from nvmc.training.circuit.products import Product
from nvmc.training.circuit.reading import Reading
from nvmc.training.circuit.watching import Watched
from nvmc.training.circuit.wires import Wires
from nvmc.training.crossbars import Crossbars
from nvmc.training.draws import TorchDraw
from nvmc.training.held import Held

__all__ = ["Circuit"]


class Circuit(nn.Module):
    """What stands around the arrays of a network in training.

    Args:
        model: The network in canonical form; its node names are those of `functions`.
        target: The cells and their periphery.
        skip: Globs of the names of nodes, or of their weights, that stay digital.

    Raises:
        OptionError: A layer cannot be trained through its circuit.

    Attributes:
        functions: What computes each mapped node, by its name.
        arrays: Names of the weights, in the order of the ranges.
        inputs: Calibrated ranges of the DACs, in the network's units.
        currents: Calibrated ranges of the ADCs, in level steps x input steps.
        drew: Whether noise of reads was drawn.
        channels_last: Whether images lie in memory with their channels last.
        exact: Whether wires are solved for every reading; else once a turn.
        turn: Number of the turn.
        calibrations: How often ranges were found.
    """

    inputs: Tensor
    currents: Tensor

    def __init__(self, model: ir.Model, target: Target, skip: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.target = target
        self.functions: dict[str, Callable[..., Any]] = {}
        readers: dict[str, _Array] = {}
        for layer in layers_of(model, skip):
            check_layer(layer)
            name = str(layer.weights[0].source.name)
            if name not in readers:
                cells = target.of_layer(layer.node.name or "", name)
                readers[name] = _Array(self, name, len(readers), cells, layer.place)
            if not layer.node.name or layer.node.name in self.functions:
                raise OptionError(f"node {label(layer.node)!r} has no name of its own; give it one")
            self.functions[layer.node.name] = function_of(layer, readers[name])
        self.arrays = tuple(readers)
        self.register_buffer("inputs", torch.zeros(len(readers)))
        self.register_buffer("currents", torch.zeros(len(readers)))
        self.own: OwnRanges | None = None
        self.crossbars: Crossbars | None = None
        self.weights: Mapping[str, Tensor] | None = None
        self.draws: TorchDraw | None = None
        self.watched: Watched | None = None
        self.drew = False
        self.exact, self.channels_last = True, False
        self.turn = self.calibrations = 0

    @property
    def by_lanes(self) -> bool:
        """Whether it matters how a weight is spread over its cells: for ADCs, and for wires."""
        around = [part.periphery for part in self.target.variants]
        return any(periphery.adc_bits is not None or periphery.wired for periphery in around)

    @contextmanager
    def reading(
        self, weights: Mapping[str, Tensor] | None, generator: torch.Generator | None
    ) -> Generator[None]:
        """Layers read the chip with these weights in the block; digital ones without any."""
        before = self.weights, self.draws
        self.weights = weights
        self.draws = None if generator is None else TorchDraw(generator)
        try:
            yield
        finally:
            self.weights, self.draws = before

    @contextmanager
    def calibrated(self) -> Generator[Callable[[bool], Watched]]:
        """Find the ranges of converters anew.

        Yields:
            What is to be called before forward passes of the calibration images on the ideal chip:
            with False before those that show inputs, with True before those that show currents.
        """

        def begin(currents: bool) -> Watched:
            self._take()
            self.watched = Watched(len(self.arrays), currents)
            return self.watched

        self.calibrations += 1
        try:
            yield begin
            self._take()
        finally:
            self.watched = None

    def _take(self) -> None:
        """Keep what was watched."""
        if self.watched is None:
            return
        kept = self.currents if self.watched.of_currents else self.inputs
        kept.copy_(torch.tensor(self.watched.ranges()))


class _Array:
    """One array behind its converters."""

    def __init__(
        self, circuit: Circuit, name: str, number: int, target: Target, place: Place
    ) -> None:
        self._circuit = circuit
        self._name = name
        self._number = number
        self._target = target
        self._dac = Dac(target.periphery)
        self._wires = Wires(target, place) if target.periphery.wired else None
        self._turn: int | None = None
        exact = target.periphery.model_copy(update={"adc_bits": None})
        self._exact = target.model_copy(update={"periphery": exact})

    @property
    def offsets(self) -> bool:
        """Whether the DAC adds an offset."""
        return self._dac.offsets

    @property
    def channels_last(self) -> bool:
        """Whether images lie in memory with their channels last."""
        return self._circuit.channels_last

    @property
    def used(self) -> bool:
        """Whether there is a chip to read."""
        return self._circuit.weights is not None

    def __call__(self, x: Tensor, weight: Tensor, product: Product, plain: Plain) -> Tensor:
        """The outputs; see `layers.Read`."""
        circuit, periphery = self._circuit, self._target.periphery
        watched = circuit.watched
        if watched is not None:
            watched.inputs(self._number, x)
        exact = periphery.adc_bits is None or (watched is not None and not watched.of_currents)
        codes = self._codes(x)
        assert circuit.crossbars is not None
        behind = circuit.crossbars.behind(self._name, weight, circuit.weights or {})
        noisy = circuit.draws is not None and bool(behind.seen.reads)
        circuit.drew |= noisy
        if exact and self._wires is None and not noisy:
            return plain(x if codes is None else rounded(x, codes), weight)
        with torch.no_grad():
            levels, sign = behind.cells()
            seen = behind.read(levels, self._target) if noisy else None
            means, spread = (levels, None) if seen is None else seen
            lanes = self._lanes(means, sign)
        if self._wires is not None or means is not levels:
            weight = weight + (self._at_the_foot(lanes, behind.held) - weight).detach()
        if exact:
            y = plain(x if codes is None else rounded(x, codes), weight)
            return y if spread is None else y + self._noise(x, spread, sign, behind.held, product)
        codes = encode(self._dac, x, None) if codes is None else codes
        return read(x, weight, codes, self._reading(behind.held, lanes, sign, spread, product))

    def _codes(self, x: Tensor) -> Codes | None:
        """The codes of inputs; None where these are exact."""
        watched = self._circuit.watched
        dynamic = watched is not None and not watched.of_currents
        clips = self._target.periphery.clips and not dynamic
        if not clips and not self._dac.whole:
            return None
        limit = self._circuit.inputs[self._number] if clips else None
        if clips and self._circuit.own is not None:
            own = self._circuit.own.of(self._name)
            limit = limit if own is None else own.to(x)
        return encode(self._dac, x, limit)

    def _reading(
        self, held: Held, lanes: Lanes, sign: Tensor, spread: Tensor | None, product: Product
    ) -> Reading:
        circuit, target = self._circuit, self._target
        with torch.no_grad():
            variance = None if spread is None else self._variances(spread, sign).levels
            rows, watched = reads_of_rows(target, product.matrix.rows), None
            if circuit.watched is not None:
                conversions = len(rows) * self._dac.phases * len(self._dac.weights)
                watched = circuit.watched.currents_of(self._number, conversions)
            off, layout = target.off_at_adc, target.layout
            signed = lanes.signed or (target.periphery.wired and target.off_level > off)
            signed = signed or self._dac.bipolar
            lanes = with_off_current(layout, lanes, sign, off)
            counts = lanes.coefficients.tolist()
            nominal = off * sum(count for count in counts if count > 0)
            current = float(circuit.currents[self._number])
            cells = target if watched is None else self._exact
            return Reading(
                product,
                lanes.levels,
                variance,
                counts,
                layout.shift + (nominal if layout.encoding == "offset" else 0.0),
                held.unit,
                self._dac,
                [adc_of(cells, r.stop - r.start, self._dac, signed, current) for r in rows],
                rows,
                None if circuit.draws is None else circuit.draws.normal,
                watched,
                nominal * sign[None] if nominal and layout.signed else None,
            )

    def _lanes(self, levels: Tensor, sign: Tensor) -> Lanes:
        """What each conversion reads, behind the wires where these have resistance."""
        seen = None
        with torch.no_grad():
            if self._wires is not None:
                circuit = self._circuit
                turn = circuit.turn if circuit.watched is None else -circuit.calibrations
                solves = circuit.exact and circuit.watched is None or self._turn != turn
                self._wires.begin(solves, same=circuit.watched is not None)
                self._turn = turn
                seen = self._wires.seen
            layout, analog = self._target.layout, self._target.periphery.subtract == "analog"
            if analog and seen is None and layout.signed:  # the same, in a fifth of the operations
                return Lanes(levels * sign, layout.coefficients, signed=True)
            return lanes_of(layout, levels, sign, analog=analog, seen=seen)

    def _at_the_foot(self, lanes: Lanes, held: Held) -> Tensor:
        """What the feet of columns see on average, behind wires and clipping, in network units."""
        with torch.no_grad():
            counted = zip(lanes.levels, lanes.coefficients.tolist(), strict=True)
            total = cast(Tensor, sum(lane * coefficient for lane, coefficient in counted))
            return (total - self._target.layout.shift) * held.unit

    def _variances(self, spread: Tensor, sign: Tensor) -> Lanes:
        """What a drive of 1 adds to the variance of each conversion; wires do not change it."""
        analog = self._target.periphery.subtract == "analog"
        squares = spread.square()
        return lanes_of(self._target.layout, squares, sign, analog=analog, squared=True)

    def _noise(
        self, x: Tensor, spread: Tensor, sign: Tensor, held: Held, product: Product
    ) -> Tensor:
        """What reads add behind exact ADCs: one normal an output stands for all conversions."""
        draws = self._circuit.draws
        assert draws is not None
        with torch.no_grad():
            codes = self._codes(x) or encode(self._dac, x, None)
            lanes = self._variances(spread, sign)
            axes = (-1, *(1,) * sign.dim())
            squares = torch.tensor(lanes.coefficients**2, dtype=x.dtype, device=x.device)
            total = (lanes.levels * squares.view(axes)).sum(0, keepdim=True)
            driven = cast(Tensor, sum(p.weight**2 * p.drive**2 for p in pulses(self._dac, codes)))
            whole = slice(0, product.matrix.rows)
            deviation = product.currents(driven, total, whole).squeeze(2).sqrt_()
            step = codes.step.view(-1, *(1,) * (deviation.dim() - 1))
            deviation *= step * product.by_column(held.unit)
            return deviation.mul_(draws.normal(tuple(deviation.shape)))
