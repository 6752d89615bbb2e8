"""A model as protobuf without its large weights, for onnx's own C++ tools.

The checker, the version converter and shape inference take a serialised model. Weights do not
concern them, so large initializers travel as plain graph inputs and stay where they are.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import onnx
import onnx_ir as ir

__all__ = ["SMALL", "bytes_of", "without_weights"]

SMALL = 4096
"""Initializers of at most this many bytes are kept: they may be shapes, axes or scales."""


def without_weights(model: ir.Model) -> onnx.ModelProto:
    """`model` as protobuf, its initializers larger than 4 KiB replaced by graph inputs.

    The model is as before when this returns. Cost: no copy of a large weight.
    """
    with _without_weights(model):
        return ir.to_proto(model)


def bytes_of(tensor: ir.TensorProtocol | None) -> int:
    """What a tensor takes; 0 for none, and for strings, which have no fixed size."""
    return 0 if tensor is None or tensor.dtype == ir.DataType.STRING else tensor.nbytes


@contextmanager
def _without_weights(model: ir.Model) -> Generator[None]:
    graph = model.graph
    inputs = list(graph.inputs)
    initializers = list(graph.initializers.items())
    large = [(n, v) for n, v in initializers if bytes_of(v.const_value) > SMALL]
    values = [(value, value.const_value) for _, value in large]
    for name, value in large:
        tensor = value.const_value
        assert tensor is not None
        if value.type is None:
            value.type = ir.TensorType(tensor.dtype)
        if value.shape is None:
            value.shape = ir.Shape(tensor.shape.numpy())
        graph.initializers.pop(name)
        value.const_value = None
        if value not in inputs:
            graph.inputs.append(value)
    try:
        yield
    finally:
        graph.inputs.clear()
        graph.inputs.extend(inputs)
        for value, tensor in values:
            value.const_value = tensor
        graph.initializers.clear()
        for _, value in initializers:
            graph.register_initializer(value)
