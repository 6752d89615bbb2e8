"""The error of a layer's outputs, split by what causes it.

A layer is given what the ideal chip's layers before it give. On these inputs it is read several
times on the same chip, each time with one source of errors switched on, and once with all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Periphery, Target
from nvmc.hardware.restriction import AblatedChip, Selection
from nvmc.runtime.crossbar.operand import CircuitOperand, Operand, Start
from nvmc.runtime.provider import Call

__all__ = ["ALL", "ErrorSources", "LayerErrors", "Variant", "known", "quiet_chip", "variants_of"]

ALL = "all together"
IDEAL, QUIET, CELLS = "ideal", "quiet", "cells"

Parts = Callable[[Periphery], Periphery]


@dataclass(frozen=True)
class Variant:
    """A way to read a layer.

    Attributes:
        name: The source that is on.
        chip: The chip.
        parts: What is left of the periphery.
        against: Name of the variant that its outputs are compared with; empty for none.
    """

    name: str
    chip: Chip
    parts: Parts
    against: str = ""


def _none(periphery: Periphery) -> Periphery:
    del periphery
    return Periphery(reference="exact")


def _whole(periphery: Periphery) -> Periphery:
    return periphery


def _dac(periphery: Periphery) -> Periphery:
    left_out = ("adc_bits", "column_limit", "wire_ohm", "read_v")
    return periphery.model_copy(update=dict.fromkeys(left_out))


def _converters(periphery: Periphery) -> Periphery:
    return periphery.model_copy(update={"wire_ohm": None, "read_v": None})


def _currents(periphery: Periphery) -> Periphery:
    return periphery.model_copy(update={"adc_bits": None, "wire_ohm": None})


def _wires(periphery: Periphery) -> Periphery:
    kept = ["wire_ohm", "wire_solution", "reference", "polarity"]
    if periphery.waiting_rows != "ground":  # so that what is lost depends on whose turn it is
        kept += ["rows_on", "waiting_rows"]
    return Periphery.model_validate({name: getattr(periphery, name) for name in kept})


def _reference(periphery: Periphery) -> Periphery:
    return Periphery(reference=periphery.reference)


def quiet_chip(chip: Chip) -> Chip:
    """The ideal chip under the number of `chip`: its masks are those of `chip`."""
    nothing: frozenset[str] = frozenset()
    return AblatedChip.within(chip, Selection(arrays=nothing, sources=nothing))


def variants_of(target: Target, chip: Chip) -> list[Variant]:
    """Every way in which a layer is read; those that others are compared with come first.

    The sources are: uneven levels (what cells on target conduct beside even levels), each active
    noise source by its name, the cells of reference columns, DAC, ADC (behind the DAC, whose steps
    its range counts in, with what saturates ahead of it), the cells' law of the current (likewise)
    and wires.

    Args:
        target: What holds the arrays.
        chip: The chip.
    """
    parts, peripheries = target.variants, [part.periphery for part in target.variants]
    silent = AblatedChip.within(chip, Selection(sources=frozenset()))
    found = [Variant(IDEAL, quiet_chip(chip), _none), Variant(QUIET, silent, _none)]
    if any(part.places is not None for part in parts):
        found.append(Variant("uneven levels", silent, _none, IDEAL))
    for name in AblatedChip.within(chip, Selection()).active:
        alone = AblatedChip.within(chip, Selection(sources=frozenset([name])))
        found.append(Variant(name, alone, _none, QUIET))
    if any(
        part.reference == "column" for part in parts
    ):  # whose cells have the noise of the others
        found.append(Variant(CELLS, chip, _none))
        found.append(Variant("reference column", chip, _reference, CELLS))
    if any(one.dac_bits is not None or one.clips for one in peripheries):
        found.append(Variant("DAC", silent, _dac, QUIET))
    behind = "DAC" if found[-1].name == "DAC" else QUIET
    if any(part.iv is not None for part in parts):
        found.append(Variant("I-V", silent, _currents, behind))
    if any(one.adc_bits is not None or one.column_limit is not None for one in peripheries):
        found.append(Variant("ADC", silent, _converters, behind))
    if any(one.wired for one in peripheries):
        found.append(Variant("wires", silent, _wires, QUIET))
    return [*found, Variant(ALL, chip, _whole, IDEAL)]


def known(error: float) -> float | None:
    """The error, or None where it is relative to nothing."""
    return error if math.isfinite(error) else None


@dataclass(frozen=True)
class LayerErrors:
    """What was found of one layer.

    Attributes:
        name: Of its node.
        op: Its operator.
        arrays: Names of the arrays that it reads.
        errors: Root mean square error of its outputs by source, over that of the ideal outputs.
        together: With all sources on.
        output: Root mean square of the ideal outputs, in the network's units.
        arriving: Root mean square error with all layers before it on the chip too, over that of
            the ideal outputs.
    """

    name: str
    op: str
    arrays: tuple[str, ...]
    errors: dict[str, float]
    together: float
    output: float
    arriving: float

    @property
    def remainder(self) -> float:
        """`together` less the root of the sum of the squared parts.

        0 where errors are independent and small: then their squares add up.
        """
        return self.together - math.sqrt(sum(error**2 for error in self.errors.values()))

    def to_json(self) -> dict[str, Any]:
        """As `nvmc inspect --json` prints it; null of a layer that gives zeros only."""
        return {
            "layer": self.name,
            "op": self.op,
            "arrays": list(self.arrays),
            "output_rms": self.output,
            "errors": {name: known(error) for name, error in self.errors.items()},
            "together": known(self.together),
            "remainder": known(self.remainder),
            "arriving": known(self.arriving),
        }


@dataclass
class _Layer:
    """A layer's operands, and sums over its outputs."""

    operands: dict[str, list[Operand]]
    squares: dict[str, float] = field(default_factory=dict[str, float])
    output: float = 0.0
    values: int = 0
    arriving: float = 0.0
    named: tuple[str, str, tuple[str, ...]] = ("", "", ())
    waiting: list[NDArray[np.float64]] = field(default_factory=list[NDArray[np.float64]])


class ErrorSources:
    """Watches the layers of an ideal session, and of one on the chip that runs the same images.

    Args:
        target: What holds the arrays on the chip.
        chip: The chip.
        wanted: Whether a layer is looked at, by the names of its arrays.
        start: How many images and steps the sessions run at once.
    """

    def __init__(
        self, target: Target, chip: Chip, wanted: Callable[[Call], bool], start: Start
    ) -> None:
        self._target = target
        self._variants = variants_of(target, chip)
        self._wanted = wanted
        self._start = start
        self._layers: dict[tuple[int, int], _Layer] = {}

    def ideal(self, call: Call) -> None:
        """See a run of a layer in the ideal session: read it in every way."""
        if not self._wanted(call):
            return
        layer = self._layers.get(call.order)
        if layer is None:
            layer = self._layers[call.order] = self._layer(call)
        found = {
            variant.name: _plain(call.with_weights(layer.operands[variant.name])[0])
            for variant in self._variants
        }
        ideal = found[IDEAL]
        layer.output += _square(ideal)
        layer.values += ideal.size
        for variant in self._variants:
            if variant.against:
                error = _square(found[variant.name] - found[variant.against])
                layer.squares[variant.name] = layer.squares.get(variant.name, 0.0) + error
        layer.waiting.append(ideal)

    def noisy(self, call: Call) -> None:
        """See the run of the same layer, on the same images, in the session on the chip."""
        layer = self._layers.get(call.order)
        if layer is not None and layer.waiting:
            ideal = layer.waiting.pop(0)
            found = _plain(call.outputs[0])
            if found.shape == ideal.shape:
                layer.arriving += _square(found - ideal)

    def _layer(self, call: Call) -> _Layer:
        names = tuple(array.name for array in call.arrays)
        operands = {v.name: self._operands(call, v) for v in self._variants}
        return _Layer(operands, named=(call.name or names[0], call.op, names))

    def _operands(self, call: Call, variant: Variant) -> list[Operand]:
        found: list[Operand] = []
        for array, user in zip(call.arrays, call.users, strict=True):
            target = self._target.of_array(array.name)
            periphery = variant.parts(target.periphery)
            target = target.model_copy(update={"periphery": periphery})
            read = replace(array, target=target)
            state = variant.chip.program(read)
            found.append(CircuitOperand(read, state, variant.chip, user, start=self._start))
        return found

    @property
    def results(self) -> list[LayerErrors]:
        """What was found, layers as they stand in the network."""
        return [_result(self._layers[order]) for order in sorted(self._layers)]


def _result(layer: _Layer) -> LayerErrors:
    name, op, arrays = layer.named

    def relative(square: float) -> float:
        return math.sqrt(square / layer.output) if layer.output else 0.0 if not square else math.inf

    errors = {name: relative(square) for name, square in layer.squares.items()}
    together = errors.pop(ALL)
    output = math.sqrt(layer.output / max(1, layer.values))
    return LayerErrors(name, op, arrays, errors, together, output, relative(layer.arriving))


def _plain(values: NDArray[Any]) -> NDArray[np.float64]:
    """Numbers of its own, whatever the network computes in."""
    return np.array(values, np.float64)


def _square(values: NDArray[np.float64]) -> float:
    return float(np.sum(np.square(values)))
