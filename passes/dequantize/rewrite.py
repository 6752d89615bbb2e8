"""What every family of `nvmc.passes.dequantize` writes its nodes with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.passes.graph.grids import Grid, note_grid
from nvmc.passes.graph.mappable import initializer_of
from nvmc.passes.graph.names import Names

__all__ = ["Rewrite"]

Attributes = dict[str, Any]

_PRODUCTS = frozenset(["Attention", "Conv", "Gemm", "LSTM", "MatMul"])


class Rewrite:
    """Standard nodes in the place of one that is not, each inserted before it.

    Args:
        node: What is replaced; `finish` removes it.
        names: Of the model, for what is new.
        assume: Takes a sentence on what is not done as the operator has it.
    """

    def __init__(self, node: ir.Node, names: Names, assume: Callable[[str], None]) -> None:
        self.node = node
        self.assume = assume
        self._names = names

    def input(self, index: int) -> ir.Value | None:
        """An input of the node; None where it is left out."""
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def inputs(self, count: int) -> list[ir.Value | None]:
        """The first inputs, those left out as None."""
        return [self.input(index) for index in range(count)]

    def array(self, value: ir.Value | None) -> NDArray[Any] | None:
        """The numbers of a constant."""
        tensor = initializer_of(value)
        return None if tensor is None else tensor.numpy()

    def axis(self, value: ir.Value | None, behind: int) -> int:
        """An axis that counts from the end, counted from the start where the rank is known."""
        array = self.array(value)
        return behind if array is None else array.ndim + behind

    def is_single(self, value: ir.Value | None) -> bool:
        """Whether a step or zero point, if there is one, is known to be one for all."""
        array, producer = self.array(value), None if value is None else value.producer()
        if value is None or array is not None:
            return array is None or array.size == 1
        dynamic = producer is not None and producer.op_type == "DynamicQuantizeLinear"
        return dynamic or (value.shape is not None and all(size == 1 for size in value.shape))

    def kept(self, *names: str) -> Attributes:
        """Those of the node's attributes, as far as it sets them."""
        found = self.node.attributes
        return {name: found[name].value for name in names if name in found}

    def op(self, kind: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """A standard node before this one; the product of weights takes the node's own name.

        Args:
            kind: Operator.
            *inputs: Its operands.
            **attributes: Its attributes; `domain` is that of the operator.
        """
        domain = attributes.pop("domain", "")
        given = list(inputs)
        while given and given[-1] is None:
            given.pop()
        return self.insert(ir.node(kind, given, attributes, domain=domain))[0]

    def insert(self, made: ir.Node) -> list[ir.Value]:
        """Insert and name a node; returns its outputs."""
        kind = made.op_type
        product = kind in _PRODUCTS and self.node.name
        made.name = self.node.name if product else self._names.fresh(f"{self._stem}_{kind}")
        for output in made.outputs:
            output.name = self._names.fresh(f"{self._stem}_{kind}_out")
        assert self.node.graph is not None
        self.node.graph.insert_before(self.node, made)
        return list(made.outputs)

    def flat(self, value: ir.Value | None) -> ir.Value | None:
        """A constant on one axis, as DequantizeLinear wants the steps of columns."""
        array = self.array(value)
        if value is None or array is None or array.ndim < 2:
            return value
        return self.constant("flat", array.reshape(-1))

    def constant(self, suffix: str, array: NDArray[Any]) -> ir.Value:
        """A new initializer."""
        return self._names.initializer(f"{self._stem}_{suffix}", array)

    def weight(self, name: str, values: NDArray[Any], steps: NDArray[Any], kind: str) -> ir.Value:
        """A float weight that lies on a grid, under the name of what it was made of.

        Args:
            name: Of the codes in the network.
            values: The weight.
            steps: What its codes count in, of the weight's rank.
            kind: Type of the codes.
        """
        value = self._names.initializer(f"{name}_float", np.ascontiguousarray(values))
        note_grid(value, Grid(steps.astype(np.float64), kind))
        return value

    def dequantized(
        self,
        value: ir.Value | None,
        scale: ir.Value | None,
        zero: ir.Value | None = None,
        *,
        axis: int | None = None,
    ) -> ir.Value:
        """What integers stand for.

        Args:
            value: The integers.
            scale: Their step, of size 1, or one for each place along `axis`.
            zero: Their zero point, likewise.
            axis: Of a step for each place; None where there is one for all.
        """
        steps, shift = self.array(scale), self.array(zero)
        if steps is not None and steps.size > 1 and axis is not None:
            if shift is not None and shift.size == 1:
                zero = self.constant("zero", np.full(steps.shape, shift.reshape(())))
            return self.op("DequantizeLinear", value, scale, zero, axis=axis)
        return self.op("DequantizeLinear", value, self._scalar(scale), self._scalar(zero))

    def quantized(self, value: ir.Value, scale: ir.Value | None, zero: ir.Value | None) -> ir.Value:
        """Integers that stand for `value`, of the zero point's type."""
        return self.op("QuantizeLinear", value, self._scalar(scale), self._scalar(zero))

    def finish(self, *values: ir.Value) -> bool:
        """Let those take the place of the node's outputs, and remove it."""
        node = self.node
        for old, new in zip(node.outputs, values, strict=False):
            new.shape, new.type = old.shape or new.shape, old.type or new.type
            name, old.name = old.name, None
            ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
            new.name = name
        assert node.graph is not None
        node.graph.remove(node, safe=True)
        return True

    @property
    def _stem(self) -> str:
        return str(self.node.name or self.node.outputs[0].name or self.node.op_type)

    def _scalar(self, value: ir.Value | None) -> ir.Value | None:
        """A constant of one element without axes; what is computed is taken as it is."""
        array = self.array(value)
        if value is None or array is None or array.ndim == 0 or array.size != 1:
            return value
        return self.constant("scalar", array.reshape(()))
