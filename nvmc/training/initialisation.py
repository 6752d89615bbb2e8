"""New weights in place of trained ones: `--init random`."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.hardware.tiling import matrix_of
from nvmc.passes.graph.layers import NORMALIZATIONS, consumer
from nvmc.passes.graph.mappable import Layer, finite_array, initializer_of, layers_of, nodes_of
from nvmc.rng import stream

__all__ = ["initialise"]

_NEUTRAL = {1: 1.0, 2: 0.0, 3: 0.0, 4: 1.0}
"""Input of a normalisation -> scale, bias, mean, variance."""


def initialise(model: ir.Model, seed: int) -> None:
    """Give every mapped layer and every normalisation new values, in place.

    Weights are He-uniform by the rows of their crossbar matrix (He et al., ICCV 2015), those of
    recurrent layers uniform within 1/sqrt(rows); biases are zero; normalisations begin neutral.
    Everything else stays as it is.

    Args:
        model: A network in canonical form.
        seed: Names the numbers, with each weight's name.
    """
    done: set[ir.Value] = set()
    for layer in layers_of(model):
        for weight in layer.weights:
            if weight.source not in done:
                done.add(weight.source)
                _set(weight.source, _drawn(layer, weight.source, seed))
        for value in _biases(layer):
            _set(value, np.zeros(finite_array(value).shape))
    for node in nodes_of(model):
        if node.op_type in NORMALIZATIONS:
            for index, number in _NEUTRAL.items():
                value = node.inputs[index] if index < len(node.inputs) else None
                if initializer_of(value) is not None and value is not None:
                    _set(value, np.full(finite_array(value).shape, number))


def _drawn(layer: Layer, source: ir.Value, seed: int) -> NDArray[np.float64]:
    shape = finite_array(source).shape
    rows = matrix_of(layer.place, shape).rows
    recurrent = layer.node.op_type in ("GRU", "LSTM", "RNN")
    bound = math.sqrt((1 if recurrent else 6) / max(1, rows))
    draws = stream(seed, 0, "initialise", str(source.name)).random(shape)
    return (2 * draws - 1) * bound


def _biases(layer: Layer) -> list[ir.Value]:
    """Constant operands beside the weights, and of an Add right behind."""
    behind = consumer(layer.node.outputs[0])
    values = [*layer.node.inputs]
    if behind is not None and behind.op_type == "Add":
        values += behind.inputs
    weights = {weight.operand for weight in layer.weights}
    return [
        value for value in values if value is not None and value not in weights and _is_float(value)
    ]


def _is_float(value: ir.Value) -> bool:
    tensor = initializer_of(value)
    return tensor is not None and tensor.dtype.is_floating_point()


def _set(value: ir.Value, numbers: NDArray[np.float64]) -> None:
    old = finite_array(value)
    value.const_value = ir.Tensor(numbers.astype(old.dtype), name=value.name)
