"""Which rows of its input each row of a node's output needs: what can begin before all is there.

A row is one step along the first spatial axis, (N, C, row, ...).
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from nvmc.compiled.operators import DOMAIN
from nvmc.passes.graph.attributes import int_of, ints_of, text_of
from nvmc.passes.graph.digital import digital_reason
from nvmc.passes.graph.mappable import nodes_of

__all__ = ["Window", "windows_of"]

_POOLS = frozenset({"AveragePool", "LpPool", "MaxPool"})
_SAME_ROWS = frozenset({"BatchNormalization", "Cast", "Dropout", "Identity"})
_BY_ROW = ("element-wise", "fake quantisation")


@dataclass(frozen=True)
class Window:
    """Rows of the input that a row of the output needs.

    Attributes:
        inputs, outputs: Rows of the input and of the output.
        stride: Rows of the input from one output row to the next.
        reach: Rows of the input that one output row sees.
        before: Rows of padding above the input, at least.
        before_most: The same, at most; more than `before` only where nobody says it (auto_pad).
    """

    inputs: int
    outputs: int
    stride: int = 1
    reach: int = 1
    before: int = 0
    before_most: int = 0

    def needed(self, row: int) -> int:
        """Input rows that have to be there for an output row and those before it."""
        if row == self.outputs - 1:
            return self.inputs
        return min(self.inputs, max(1, row * self.stride - self.before + self.reach))

    def done_with(self, row: int) -> int:
        """Input rows that no output row behind this one needs."""
        if row == self.outputs - 1:
            return self.inputs
        return min(self.inputs, max(0, (row + 1) * self.stride - self.before_most))


def windows_of(model: ir.Model) -> dict[str, Window]:
    """The window of each node that can work row by row; all others need their whole inputs.

    These are convolutions, poolings, what is element-wise, and Concat of channels, where their
    sizes are known. It holds for each of their inputs with as many rows as the window has.
    """
    found: dict[str, Window] = {}
    for node in nodes_of(model):
        window = _window(node)
        if window is not None:
            found[str(node.name)] = window
    return found


def _window(node: ir.Node) -> Window | None:
    rows = [_rows(value) for value in node.inputs]
    outputs = _rows(node.outputs[0])
    if outputs is None:
        return None
    if node.domain == DOMAIN or node.op_type in _POOLS:
        if node.op_type not in _POOLS | {"CrossbarConv"} or not rows or rows[0] is None:
            return None
        return _sliding(node, rows[0], outputs)
    by_row = node.op_type in _SAME_ROWS or digital_reason(node.domain, node.op_type).startswith(
        _BY_ROW
    )
    by_row |= node.op_type == "Concat" and int_of(node, "axis", 0) == 1
    return Window(outputs, outputs) if by_row else None


def _sliding(node: ir.Node, inputs: int, outputs: int) -> Window | None:
    kernel = ints_of(node, "kernel_shape", ())
    if node.op_type == "CrossbarConv" and not kernel:
        shape = node.inputs[1].shape if node.inputs[1] is not None else None
        size = shape[2] if shape is not None and len(shape) > 2 else None
        kernel = (size,) if isinstance(size, int) else ()
    if not kernel:
        return None
    stride = (*ints_of(node, "strides", ()), 1)[0]
    dilation = (*ints_of(node, "dilations", ()), 1)[0]
    reach = (kernel[0] - 1) * dilation + 1
    pad = text_of(node, "auto_pad", "NOTSET")
    if pad.startswith("SAME"):
        return Window(inputs, outputs, stride, reach, 0, reach)
    before = 0 if pad == "VALID" else (*ints_of(node, "pads", ()), 0)[0]
    return Window(inputs, outputs, stride, reach, before, before)


def _rows(value: ir.Value | None) -> int | None:
    """Rows of a value of rank 3 or more."""
    if value is None or value.shape is None or len(value.shape) < 3:
        return None
    size = value.shape[2]
    return size if isinstance(size, int) else None
