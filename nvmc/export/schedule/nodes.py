"""What nodes on crossbars have in common: their array, its circuit, and buffers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nvmc.compiled.operators import OPS
from nvmc.errors import ModelError, OptionError
from nvmc.export.pulses import check_pulses
from nvmc.export.schedule.cells import Board
from nvmc.export.schedule.format import Encode, Instruction, View
from nvmc.export.schedule.products import Product, Registers
from nvmc.export.schedule.views import view
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.tiling import Matrix, Place, matrix_of
from nvmc.passes.graph.image_graph import ImageGraph, Step
from nvmc.runtime.crossbar.circuit import Circuit
from nvmc.runtime.crossbar.dac import Dac
from nvmc.runtime.crossbar.operand import CircuitOperand

__all__ = ["Nodes", "Use"]


@dataclass
class Use:
    """One node on crossbars, while its instructions are made.

    Attributes:
        step: The node.
        array: Its weight.
        circuit: The array between its converters.
        matrix: Of the weight.
        x: Value that drives the rows.
        result: Buffer of the results of a vector, (groups, columns).
        vector: Buffer of its codes, (groups, rows).
        steps, signed, shifts: Buffers of what `encode` says of every entry; `shifts` is None where
            negative inputs take two phases.
        top, half, limit: As in `Encode`.
        product: The instructions from `vector` to `result`; given by how much the number of the
            entry grows with the index of each loop.
    """

    step: Step
    array: Array
    circuit: Circuit
    matrix: Matrix
    x: str
    result: str
    vector: str
    steps: str
    signed: str
    shifts: str | None
    top: float
    half: float | None
    limit: float | None
    product: Callable[[dict[str, int]], list[Instruction]]

    def encode(self, source: View, to: View) -> Encode:
        """Turn inputs into codes."""
        return Encode(
            source=source,
            to=to,
            top=self.top,
            limit=self.limit,
            half=self.half,
            step=self.steps,
            signed=self.signed,
            shift=self.shifts,
        )


@dataclass(frozen=True)
class Nodes:
    """What the instructions of nodes are made of.

    Attributes:
        graph: The network.
        arrays: Its arrays by name.
        chip: Whose cells they are.
        board: Their tiles.
        registers: Their buffers and converters.
    """

    graph: ImageGraph
    arrays: dict[str, Array]
    chip: Chip
    board: Board
    registers: Registers

    def input(self, step: Step, name: str) -> str | None:
        """The value of an operand, by its name in the table of operators."""
        index = OPS[step.op].function_inputs.index(name)
        return step.inputs[index] if index < len(step.inputs) else None

    def use(self, step: Step, x: str, entries: int) -> Use:
        """The array of a node, and buffers for its vectors.

        Args:
            step: The node.
            x: Name of the operand that drives the rows.
            entries: Parts of it that have an input range each.

        Raises:
            ModelError: The operand is not float32, or the product is empty.
            OptionError: The format cannot say what surrounds the array.
        """
        source = str(self.input(step, x))
        if self.graph.types.get(source) != "float32":
            raise ModelError(
                f"inputs of {step.op} {step.name!r} are {self.graph.types.get(source)}; this "
                "format computes in float32: compile a float32 network"
            )
        place = Place.of(step.op, step.attributes)
        array = self.arrays[step.attributes["arrays"][0]]
        array = Array(array.name, array.codes, array.scale, array.target, place)
        _check(array)
        held, target, name = self.board.held(array), array.target, step.name
        circuit = CircuitOperand(array, held.programmed, self.chip).circuit(place)
        matrix = matrix_of(place, array.codes.shape)
        if not circuit.blocks or not circuit.unit.size:
            raise ModelError(f"{step.op} {name!r} multiplies by nothing; leave it out")
        make, dac = self.registers.make, circuit.dac
        vector = make(name, "vector", matrix.groups, matrix.rows)
        result = make(name, "result", matrix.groups, matrix.cols)
        steps, signed = make(name, "step", entries), make(name, "signed", entries)
        shifts = make(name, "shift", entries) if dac.offsets else None

        def product(loops: dict[str, int]) -> list[Instruction]:
            shift = None if shifts is None else view(shifts, loops=loops)
            ends = view(steps, loops=loops), view(signed, loops=loops), shift
            bits = dac.serial[0]
            return Product(name, held, circuit, self.registers, vector, *ends, bits).instructions(
                result
            )

        half = dac.half if dac.offsets else None
        limit = None if dac.limit is None else float(np.float32(dac.limit))
        top = Dac(target.periphery).largest_code
        ends = (vector, steps, signed, shifts, top, half, limit, product)
        return Use(step, array, circuit, matrix, source, result, *ends)


def _check(array: Array) -> None:
    """Complain of what surrounds an array and the format cannot say.

    Raises:
        OptionError: There is such a thing.
    """
    target = array.target
    periphery = target.periphery
    for bits, name in ((periphery.dac_bits, "DAC"), (periphery.adc_bits, "ADC")):
        if bits is None:
            raise OptionError(
                f"array {array.name!r} has no {name}, and this format is one of codes; "
                f"compile with --{name.lower()}-bits"
            )
    check_pulses(array.name, periphery)
    if periphery.polarity != "separate" and target.encoding != "offset":
        raise OptionError(
            f"polarities of array {array.name!r} lie {periphery.polarity} on one tile, and tiles "
            "of this format are of one polarity each; compile with --polarity separate"
        )
    if target.reference == "column":
        raise OptionError(
            f"array {array.name!r} has reference columns, which this version of the format cannot "
            "say; compile with --reference none"
        )
    if target.off_at_adc and target.layout.signed:
        raise OptionError(
            f"array {array.name!r} removes its off-current by a digital product with the signs, "
            "which this version of the format does not support; compile with --reference exact"
        )
