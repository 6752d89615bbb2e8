"""fold-batchnorm: a BatchNormalization behind a layer becomes part of the layer's weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.hardware.tiling import Channels
from nvmc.passes.graph.attributes import float_of, int_of
from nvmc.passes.graph.grids import rescale_grid
from nvmc.passes.graph.mappable import Layer, initializer_of, layer_of
from nvmc.passes.graph.names import Names

__all__ = ["FoldBatchnorm"]

_LAYERS = frozenset(["Conv", "ConvTranspose", "Gemm"])


@dataclass
class FoldBatchnorm(ir.passes.InPlacePass):
    """Fold BatchNormalization in inference form into the Conv, ConvTranspose or Gemm before it.

    With factor a = scale / sqrt(var + epsilon) an output channel, W' = a W and
    b' = a (b - mean) + bias, computed in float64. It stays where something else reads the layer's
    output, or where the weight or bias is shared or not constant.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Fold in place."""
        names = Names(model)
        changed = False
        for node in list(ir.traversal.RecursiveGraphIterator(model.graph)):
            if node.domain == "" and node.op_type == "BatchNormalization":
                changed |= _fold(node, names)
        return ir.passes.PassResult(model, changed)


def _fold(norm: ir.Node, names: Names) -> bool:
    layer = _layer_before(norm)
    found = None if layer is None else layer_of(layer)
    constants = [_array(value) for value in norm.inputs[1:5]]
    if layer is None or not isinstance(found, Layer):
        return False
    if len(norm.outputs) > 1 or int_of(norm, "training_mode", 0):
        return False
    scale, shift, mean, variance = (constants + [None] * 4)[:4]
    if scale is None or shift is None or mean is None or variance is None:
        return False
    weight = _own(layer, 1)
    if weight is None:
        return False
    bias: NDArray[Any] = np.zeros(scale.shape)
    if len(layer.inputs) > 2 and layer.inputs[2] is not None:
        given = _array(layer.inputs[2])
        if given is None:
            return False
        bias = float_of(layer, "beta", 1.0) * given
    factor = scale / np.sqrt(variance + float_of(norm, "epsilon", 1e-5))
    offset = np.asarray(factor * (bias - mean) + shift)
    if offset.ndim > 1 and layer.op_type != "Gemm":
        return False
    dtype = weight.dtype
    channels = Channels(found.place, weight.shape)
    _replace(layer, 1, (weight * factor[channels.numbers]).astype(dtype), names)
    if layer.inputs[1] is not None:
        rescale_grid(layer.inputs[1], factor[channels.numbers])
    _replace(layer, 2, offset.astype(dtype), names)
    if layer.op_type == "Gemm":
        layer.attributes.pop("beta", None)
    _take_outputs(norm, layer)
    return True


def _layer_before(norm: ir.Node) -> ir.Node | None:
    """The layer whose output only `norm` reads."""
    value = norm.inputs[0]
    layer = None if value is None else value.producer()
    if value is None or layer is None or layer.domain or layer.op_type not in _LAYERS:
        return None
    if len(value.uses()) != 1 or value.is_graph_output() or layer.graph is not norm.graph:
        return None
    return layer


def _array(value: ir.Value | None) -> NDArray[np.float64] | None:
    tensor = initializer_of(value)
    return None if tensor is None else tensor.numpy().astype(np.float64)


def _own(layer: ir.Node, index: int) -> NDArray[Any] | None:
    """A constant operand that nothing else reads."""
    value = layer.inputs[index]
    tensor = initializer_of(value)
    if value is None or tensor is None or len(value.uses()) != 1 or value.is_graph_output():
        return None
    return tensor.numpy()


def _replace(layer: ir.Node, index: int, array: NDArray[Any], names: Names) -> None:
    """Make `array` the operand, under the operand's own name where nothing else reads that."""
    if index >= len(layer.inputs):
        layer.resize_inputs(index + 1)
    old = layer.inputs[index]
    value = old
    if old is None or len(old.uses()) > 1 or old.is_graph_output():
        stem = layer.inputs[1].name if layer.inputs[1] is not None else layer.name
        value = names.initializer(f"{stem}.bias", array)
        layer.replace_input_with(index, value)
    elif old.name is not None:
        old.const_value = ir.Tensor(array, name=old.name)
        old.shape = ir.Shape(array.shape)


def _take_outputs(norm: ir.Node, layer: ir.Node) -> None:
    """The layer gives what the norm gave, and the norm goes."""
    old, new = norm.outputs[0], layer.outputs[0]
    name = old.name
    graph = norm.graph
    assert graph is not None
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    graph.remove(norm, safe=True)
    new.name, new.shape, new.type = name, old.shape or new.shape, old.type or new.type
