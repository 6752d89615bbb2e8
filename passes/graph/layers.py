"""Where the weight layers of a graph are, and what lies behind them.

Small questions that several passes ask of an `onnx_ir` graph. A *layer* is a node whose weights
are constants and could live on crossbars: Conv, ConvTranspose, Gemm, MatMul, LSTM, GRU, RNN, or
the `nvmc` operator that stands for one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = [
    "ACTIVATIONS",
    "AFFINE_MARK",
    "NORMALIZATIONS",
    "array_of",
    "consumer",
    "is_constant",
    "label",
    "new_initializer",
    "remove_unused",
]

ACTIVATIONS = frozenset(
    "Celu Clip Elu Gelu HardSigmoid HardSwish LeakyRelu Mish PRelu Relu Selu Sigmoid Softplus "
    "Softsign Swish Tanh ThresholdedRelu".split()
)
NORMALIZATIONS = frozenset(
    "BatchNormalization GroupNormalization InstanceNormalization LayerNormalization".split()
)
AFFINE_MARK = "nvmc.affine-dropout"
"""Metadata key of the Mul and the Add in front of an inverted normalisation."""


def is_constant(value: ir.Value | None, depth: int = 6) -> bool:
    """Whether `value` does not depend on the network's input.

    It is an initializer, a Constant, or made from such by at most `depth` nodes in a row: a weight
    behind Cast, Transpose or Reshape. A bound keeps the question cheap anywhere in a deep network.
    """
    if value is None or depth < 0:
        return False
    if value.is_initializer():
        return True
    producer = value.producer()
    if producer is None:
        return False
    if producer.op_type == "Constant":
        return True
    inputs = [v for v in producer.inputs if v is not None]
    return bool(inputs) and all(is_constant(v, depth - 1) for v in reversed(inputs))


def consumer(value: ir.Value) -> ir.Node | None:
    """The only node that computes with `value`; None where there is none, or several.

    Nodes that only ask for its shape do not count. A graph output has a reader outside.
    """
    nodes = {use.node for use in value.uses() if use.node.op_type != "Shape"}
    return nodes.pop() if len(nodes) == 1 and not value.is_graph_output() else None


def label(node: ir.Node) -> str:
    """The node's name, or its first output's where it has none."""
    return node.name or node.outputs[0].name or node.op_type


def array_of(value: ir.Value | None) -> NDArray[Any] | None:
    """The numbers of an initializer or of a Constant node's output; None for anything else."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def new_initializer(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    """A new initializer of `graph` called `name`, or `name_1`, … where that is taken."""
    unique, count = name, 0
    while unique in graph.initializers:
        count += 1
        unique = f"{name}_{count}"
    tensor = ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=unique)
    value = ir.val(unique, const_value=tensor)
    value.shape, value.dtype = ir.Shape(array.shape), tensor.dtype
    graph.register_initializer(value)
    return value


def remove_unused(graph: ir.Graph, values: Iterable[ir.Value | None]) -> None:
    """Take initializers and Constant nodes that nothing uses any more out of `graph`."""
    for value in values:
        if value is None or value.uses() or value.is_graph_output() or value.is_graph_input():
            continue
        producer = value.producer()
        if value.is_initializer() and value.name is not None:
            graph.initializers.pop(value.name, None)
        elif producer is not None and producer.op_type == "Constant" and producer.graph is graph:
            graph.remove(producer, safe=True)
