"""Sizes that an exporter left open, whatever it wrote for them."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["free_sizes"]

_NO_NAMES = frozenset({"", "?", "-1", "0", "*", "None", "unk", "unknown"})
"""What stands for a size that has no name. Two axes called so need not have one size."""


def free_sizes(model: ir.Model) -> None:
    """Write every unknown size of a value as ONNX does: without a number and without a name.

    Unknown are negative sizes (PaddlePaddle, TensorFlow), `?` and the like; and, on the network's
    inputs and outputs, 0: no network takes or gives nothing. Another value that has a size of 0
    loses its shape, which inference finds again where it is really empty.
    """
    for graph in model.graphs():
        outer = set(graph.inputs) | set(graph.outputs) if graph is model.graph else set[ir.Value]()
        values = {*outer, *graph.inputs, *graph.outputs}
        values.update(value for node in graph for value in node.outputs)
        for value in values:
            if value.shape is None or value.is_initializer():
                continue
            if 0 in value.shape and value not in outer:
                value.shape = None
            elif any(map(_is_unknown, value.shape)):
                sizes = [None if _is_unknown(size) else size for size in value.shape]
                value.shape = ir.Shape(sizes)


def _is_unknown(size: int | ir.SymbolicDim) -> bool:
    """Whether a size is none; 0 counts, which only inputs and outputs come here with."""
    if isinstance(size, int):
        return size <= 0
    return size.value is not None and size.value.strip() in _NO_NAMES
