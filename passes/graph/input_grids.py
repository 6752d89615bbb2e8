"""Steps that a quantised network gives its layers' inputs, and whether a DAC can take them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from nvmc.hardware.devices import Periphery, Target
from nvmc.passes.graph.attributes import strings_of
from nvmc.passes.graph.mappable import Layer, initializer_of, layer_of, nodes_of

__all__ = ["InputGrid", "dac_limits", "input_grid", "limits_of", "told_of_inputs"]

_PASSED = frozenset(
    """Flatten Identity Max MaxPool Relu Reshape Squeeze Transpose Unsqueeze""".split()
)
"""Operators whose results are some of their first operand's values, or zero."""


@dataclass(frozen=True)
class InputGrid:
    """What a tensor is rounded to: `step` times whole numbers from `low` to `high`."""

    step: float
    low: int
    high: int

    @property
    def bits(self) -> int:
        """What its codes take."""
        return (self.high - self.low).bit_length()

    @property
    def reach(self) -> int:
        """The largest magnitude of a code."""
        return max(-self.low, self.high)


def input_grid(value: ir.Value | None) -> InputGrid | None:
    """The grid that a tensor is rounded to by the network itself, where that is constant.

    That is what DequantizeLinear gives, or a Mul or Div of what Clip and Round, or a Cast, made
    whole. The clip may stand ahead of the scaling, as in PACT: min(relu(x), a) * k.
    """
    node = None if value is None else value.producer()
    while node is not None and node.op_type in _PASSED and not node.domain:
        if node.op_type == "Max" and len(node.inputs) > 1:
            return None
        node = None if node.inputs[0] is None else node.inputs[0].producer()
    if node is None or node.domain:
        return None
    if node.op_type == "DequantizeLinear":
        step = _number(node.inputs[1])
        zero = node.inputs[2] if len(node.inputs) > 2 else None
        codes = _codes(node.inputs[0], zero)
        shift = 0.0 if zero is None else _number(zero)
        return _grid(step, codes, shift)
    if node.op_type == "Mul":
        return _grid(_number(node.inputs[1]), *_rounded(node.inputs[0]))
    if node.op_type == "Div":
        levels = _number(node.inputs[1])
        return _grid(1 / levels if levels else None, *_rounded(node.inputs[0]))
    return _grid(1.0, *_rounded(node.outputs[0]))


def _grid(
    step: float | None, codes: tuple[float, float] | None, shift: float | None = 0.0
) -> InputGrid | None:
    if step is None or codes is None or shift is None or step <= 0 or shift % 1:
        return None
    return InputGrid(step, int(codes[0] - shift), int(codes[1] - shift))


def _rounded(value: ir.Value | None) -> tuple[tuple[float, float] | None, float | None]:
    """Range and zero point of whole numbers: of Clip and Round, or Cast, behind a Sub or not."""
    node = None if value is None else value.producer()
    shift: float | None = 0.0
    if node is not None and node.op_type == "Sub":
        shift = _number(node.inputs[1])
        node = None if node.inputs[0] is None else node.inputs[0].producer()
    met: set[str] = set()
    limits: tuple[float, float] | None = None
    while node is not None and node.op_type in ("Clip", "Round", "Floor", "Ceil"):
        met.add("Clip" if node.op_type == "Clip" else "Round")
        if node.op_type == "Clip":
            low, high = (_number(value) for value in (*node.inputs[1:3], None, None)[:2])
            limits = None if low is None or high is None else (low, high)
        node = None if node.inputs[0] is None else node.inputs[0].producer()
    if met == {"Round"} and node is not None and node.op_type in ("Div", "Mul"):
        factor, ends = _number(node.inputs[1]), _ends(node.inputs[0])
        if factor and factor > 0 and ends is not None:
            factor = factor if node.op_type == "Mul" else 1 / factor
            # In float32 a bound times its levels is whole but for rounding.
            return (float(np.rint(ends[0] * factor)), float(np.rint(ends[1] * factor))), shift
    if met == {"Clip", "Round"}:
        return limits, shift
    if not met and node is not None and node.op_type == "Cast":
        return _codes(node.inputs[0], None), shift
    return None, shift


def _ends(value: ir.Value | None) -> tuple[float, float] | None:
    """The least and the largest number that Clip, or Min behind Relu, lets pass."""
    node = None if value is None else value.producer()
    if node is None or node.domain:
        return None
    if node.op_type == "Clip":
        low, high = (_number(one) for one in (*node.inputs[1:3], None, None)[:2])
        return None if low is None or high is None else (low, high)
    if node.op_type == "Min" and len(node.inputs) == 2 and node.inputs[0] is not None:
        relu, high = node.inputs[0].producer(), _number(node.inputs[1])
        if relu is not None and relu.op_type == "Relu" and high is not None:
            return 0.0, high
    return None


def _codes(value: ir.Value | None, zero: ir.Value | None) -> tuple[float, float] | None:
    """The least and the largest whole number that a tensor of integers holds."""
    node = None if value is None else value.producer()
    if node is not None and node.op_type == "Clip" and len(node.inputs) == 3:
        low, high = _number(node.inputs[1]), _number(node.inputs[2])
        if low is not None and high is not None:
            return low, high
    dtype = next((v.dtype for v in (zero, value) if v is not None and v.dtype is not None), None)
    if dtype is None or not dtype.is_integer():
        return None
    signed = dtype.name.startswith("INT")
    bits = dtype.bitwidth
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def _number(value: ir.Value | None) -> float | None:
    """A constant of one element."""
    tensor = initializer_of(value)
    if tensor is None or tensor.size != 1:
        return None
    return float(tensor.numpy().astype(np.float64).reshape(()))


def dac_limits(model: ir.Model, target: Target) -> dict[str, float]:
    """The ranges at which a calibrated DAC's codes are the network's own, by array.

    The DAC's code 1 then stands for the network's step: two-phase, of D bits, it says the codes
    -(2^D - 1) ... 2^D - 1; with an offset only those without a sign. An array that several layers
    feed in different steps has none.

    Args:
        model: With its layers mapped.
        target: The cells behind their DACs, with the arrays of its layers.
    """
    return limits_of(_fed(model), lambda array: target.of_array(array).periphery)


def limits_of(
    fed: Iterable[tuple[str, InputGrid | None]], periphery_of: Callable[[str], Periphery]
) -> dict[str, float]:
    """As `dac_limits`, for arrays whose inputs have these grids, behind what stands before each."""
    found: dict[str, float | None] = {}
    for name, grid in fed:
        limit = None if grid is None else _limit(grid, periphery_of(name))
        found[name] = limit if found.get(name, limit) == limit else None
    return {name: limit for name, limit in found.items() if limit is not None}


def _limit(grid: InputGrid, periphery: Periphery) -> float | None:
    """The range at which the codes of one DAC are those of a grid, if there is one."""
    if periphery.dac_bits is None or not periphery.clips:
        return None
    top = 2**periphery.dac_bits - 1
    if grid.reach <= top and (grid.low >= 0 or periphery.signed_inputs != "offset"):
        return grid.step * top
    return None


def told_of_inputs(model: ir.Model, target: Target) -> dict[str, str]:
    """What a DAC does to inputs that the network has rounded itself, in words, by array."""
    kept = dac_limits(model, target)
    told: dict[str, str] = {}
    for name, grid in _fed(model):
        if grid is not None and target.of_array(name).periphery.dac_bits is not None:
            what = "are the DAC's" if name in kept else "are rounded again by the DAC"
            told[name] = f"codes of {grid.bits} bits {what}"
    return told


def _fed(model: ir.Model) -> Iterable[tuple[str, InputGrid | None]]:
    """Each array that activations enter, with their grid; recurrent states have none."""
    for node in nodes_of(model):
        layer = layer_of(node)
        if isinstance(layer, Layer) and node.domain:
            first, *others = strings_of(node, "arrays", [])
            yield first, input_grid(node.inputs[layer.activation])
            yield from ((name, None) for name in others)
