"""widen-floats: half-precision numbers -> float32 with the same values."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from nvmc.passes.graph.mappable import nodes_of

__all__ = ["HALVES", "widen_floats"]

HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_TYPES = ("dtype", "output_dtype", "precision", "softmax_precision", "stash_type", "to")
"""Attributes that name a type."""


def widen_floats(model: ir.Model, kinds: Collection[ir.DataType]) -> bool:
    """Make every constant, value, input and output of those types float32.

    Weights keep their values exactly; activations are no longer rounded to the narrow type.

    Args:
        model: With constants as initializers; changed in place.
        kinds: Some of `HALVES`.

    Returns:
        Whether there was any.
    """
    found = False
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is not None and tensor.dtype in kinds:
                value.const_value = ir.Tensor(tensor.numpy().astype(np.float32), name=value.name)
                value.type, found = ir.TensorType(ir.DataType.FLOAT), True
        for value in (*graph.inputs, *graph.outputs):
            found |= _widened(value, kinds)
    for node in nodes_of(model):
        for value in node.outputs:
            found |= _widened(value, kinds)
        for name, attribute in list(node.attributes.items()):
            if name in _TYPES and attribute.value in kinds:
                node.attributes.add(ir.AttrInt64(name, ir.DataType.FLOAT))
                found = True
            elif attribute.type == ir.AttributeType.TENSOR and attribute.value.dtype in kinds:
                wide = ir.Tensor(attribute.value.numpy().astype(np.float32))
                node.attributes.add(ir.AttrTensor(name, wide))
                found = True
    return found


def _widened(value: ir.Value, kinds: Collection[ir.DataType]) -> bool:
    if not isinstance(value.type, ir.TensorType) or value.dtype not in kinds:
        return False
    value.type = ir.TensorType(ir.DataType.FLOAT)  # a clone shares the object that was there
    return True
