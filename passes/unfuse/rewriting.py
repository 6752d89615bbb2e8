"""Standard operators in place of one node, for `nvmc.passes.unfuse_operators`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from nvmc.passes.graph.attributes import float_of, int_of, text_of
from nvmc.passes.graph.layers import is_constant
from nvmc.passes.graph.names import Names

__all__ = ["Rewriting", "UnfusableError"]


class UnfusableError(Exception):
    """The node stays as it is: a form that is not known here."""


class Rewriting:
    """Builds what takes the place of a node; nothing of the model changes before `finish`.

    Attributes:
        node: The fused node.
        opset: Version of the standard operators.
        nodes: What was built so far, in order.
    """

    def __init__(self, node: ir.Node, opset: int, names: Names) -> None:
        self.node = node
        self.opset = opset
        self.nodes: list[ir.Node] = []
        self._names = names

    def input(self, index: int) -> ir.Value | None:
        """An input of the node; None where it is left out."""
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def needed(self, index: int) -> ir.Value:
        """An input of the node that must be there."""
        value = self.input(index)
        if value is None:
            raise UnfusableError(f"its input {index} is left out")
        return value

    def output_used(self, index: int) -> bool:
        """Whether anything reads an output of the node."""
        if index >= len(self.node.outputs):
            return False
        value = self.node.outputs[index]
        return bool(value.uses()) or value.is_graph_output()

    def unused(self, *indices: int) -> None:
        """Make sure that nothing reads these outputs."""
        for index in indices:
            if self.output_used(index):
                raise UnfusableError(f"its output {index} is read")

    def absent(self, *indices: int) -> None:
        """Make sure that these inputs are left out."""
        for index in indices:
            if self.input(index) is not None:
                raise UnfusableError(f"its input {index} is not left out")

    def int(self, name: str, default: int = 0) -> int:
        """An attribute of the node."""
        return int_of(self.node, name, default)

    def float(self, name: str, default: float) -> float:
        """An attribute of the node."""
        return float_of(self.node, name, default)

    def text(self, name: str, default: str = "") -> str:
        """An attribute of the node."""
        return text_of(self.node, name, default) or ""

    def rank(self, value: ir.Value) -> int:
        """How many axes a value has."""
        if value.shape is None:
            raise UnfusableError("shapes are not known")
        return len(value.shape)

    def sizes(self, value: ir.Value) -> list[int]:
        """The sizes of a value whose every size is known."""
        sizes = [size for size in value.shape or () if isinstance(size, int)]
        if value.shape is None or len(sizes) < len(value.shape):
            raise UnfusableError("shapes are not known")
        return sizes

    def first(self, value: ir.Value) -> int | str | None:
        """The size of the first axis, or its name; None where it has neither."""
        size = value.shape[0] if value.shape else None
        return size if isinstance(size, int) or size is None else size.value

    def is_constant(self, value: ir.Value) -> bool:
        """Whether it does not depend on the network's input."""
        return is_constant(value)

    def op(self, kind: str, *inputs: ir.Value | None, main: bool = False, **attributes: Any) -> Any:
        """The output of a new standard node.

        Args:
            kind: Operator.
            *inputs: Its inputs.
            main: Whether it takes the fused node's name, as the one that holds its weights.
            **attributes: Its attributes.
        """
        return self.ops(kind, 1, *inputs, main=main, **attributes)[0]

    def ops(
        self, kind: str, count: int, *inputs: ir.Value | None, main: bool = False, **attributes: Any
    ) -> list[ir.Value]:
        """The outputs of a new standard node; see `op`."""
        base = self.node.name or self.node.op_type
        given = list(inputs)
        while given and given[-1] is None:
            given.pop()
        name = base.removeprefix("fused ") if main else self._names.fresh(f"{base}.{kind}")
        node = ir.node(kind, given, attributes, num_outputs=count, name=name)
        for output in node.outputs:
            output.name = self._names.fresh(f"{base}.{kind}.out")
        self.nodes.append(node)
        return list(node.outputs)

    def constant(self, number: float | Sequence[int], like: ir.Value | None = None) -> Any:
        """A constant: a number of the type of `like`, whole numbers of int64 without."""
        known = None if like is None else like.dtype
        dtype = np.int64 if like is None else np.float32 if known is None else known.numpy()
        return self.op("Constant", value=ir.tensor(np.asarray(number, dtype)))

    def array(self, what: str, array: Any) -> ir.Value:
        """A constant called after the node and `what`; objects are texts."""
        values, base = np.asarray(array), self.node.name or self.node.op_type
        if values.dtype == object:
            texts = [str(text).encode() for text in values.ravel()]
            tensor: Any = ir.StringTensor(texts, shape=ir.Shape(values.shape))
        else:
            tensor = ir.tensor(values)
        value: ir.Value = self.op("Constant", value=tensor)
        value.name = self._names.fresh(f"{base}.{what}")
        return value

    def transposed(self, value: ir.Value, perm: list[int]) -> ir.Value:
        """A value with its axes in another order."""
        return value if perm == sorted(perm) else self.op("Transpose", value, perm=perm)
