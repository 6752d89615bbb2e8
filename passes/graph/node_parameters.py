"""Biases and norm parameters, for those studies that keep them in cells too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from nvmc.compiled.options import Kind
from nvmc.passes.graph.mappable import Layer, initializer_of

__all__ = ["NodeParameter", "parameters_of"]

_BIAS = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2, "LSTM": 3, "GRU": 3, "RNN": 3}
"""Position of the bias among a standard operator's inputs."""
_NORM = {
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "GroupNormalization": (1, 2),
}


@dataclass(frozen=True)
class NodeParameter:
    """One input of one node that is a parameter beside the weights."""

    node: ir.Node
    index: int
    value: ir.Value


def parameters_of(
    layers: list[Layer], nodes: Iterable[ir.Node], kinds: tuple[Kind, ...]
) -> list[NodeParameter]:
    """The parameters of the given kinds.

    Biases are those of mapped layers, and a constant added right behind a mapped MatMul; norm
    parameters are the trained scale and bias of the normalisations. Running mean and variance are
    statistics and stay digital: a noisy variance could fall below zero.
    """
    found: list[NodeParameter] = []
    if "bias" in kinds:
        for layer in layers:
            if layer.op.replaces in _BIAS:
                found += _at(layer.node, _BIAS[layer.op.replaces])
            else:
                found += _added(layer.node)
    if "norm" in kinds:
        for node in nodes:
            for index in () if node.domain else _NORM.get(node.op_type, ()):
                found += _at(node, index)
    return found


def _at(node: ir.Node, index: int) -> list[NodeParameter]:
    value = node.inputs[index] if index < len(node.inputs) else None
    tensor = initializer_of(value)
    if value is None or tensor is None or not tensor.size or value.is_graph_output():
        return []
    return [NodeParameter(node, index, value)]


def _added(node: ir.Node) -> list[NodeParameter]:
    """The constant operand of an Add that alone reads the node's output."""
    consumers = list(node.outputs[0].consumers())
    if len(consumers) != 1 or consumers[0].op_type != "Add" or consumers[0].domain:
        return []
    return _at(consumers[0], 0) + _at(consumers[0], 1)
