"""Which nodes can run on crossbars, which of their operands are the weights, and why not.

One place decides it, so that `quantize-weights` and `map-crossbars` never disagree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.compiled.operators import OPS, Op
from nvmc.errors import ModelError
from nvmc.passes.graph.digital import digital_reason

__all__ = [
    "FLOATS",
    "PARAMETERISED",
    "Layer",
    "Weight",
    "finite_array",
    "initializer_of",
    "layers_of",
    "nodes_of",
    "refusal_of",
    "weight_of",
]

FLOATS = frozenset(
    {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16}
)
"""Types a weight may have."""
PARAMETERISED = frozenset(
    """BatchNormalization Conv ConvTranspose GRU Gemm GroupNormalization InstanceNormalization LSTM
    LayerNormalization MatMul PRelu RNN""".split()
)
"""Standard operators that have trained parameters among their inputs."""


@dataclass(frozen=True)
class Weight:
    """A weight operand as it stands in the graph.

    Attributes:
        operand: What the node reads: the initializer, or the product that gives it back.
        source: The initializer that names it: the float weight, or its codes.
        scale: The initializer of the step where the weight is quantised, else None.
    """

    operand: ir.Value
    source: ir.Value
    scale: ir.Value | None


@dataclass(frozen=True)
class Layer:
    """A node that can run on crossbars.

    Attributes:
        node: The standard operator.
        op: The row of `nvmc.compiled.operators` that takes its place.
        weights: One for each of `op.weights`.
    """

    node: ir.Node
    op: Op
    weights: tuple[Weight, ...]


def nodes_of(model: ir.Model) -> Iterator[ir.Node]:
    """Every node of the main graph and of its subgraphs, in order."""
    yield from ir.traversal.RecursiveGraphIterator(model.graph)


def layers_of(model: ir.Model, skip: tuple[str, ...] = ()) -> list[Layer]:
    """The nodes that can run on crossbars, but for those whose name matches a glob of `skip`."""
    layers: list[Layer] = []
    for node in nodes_of(model):
        if not _skipped(node, skip):
            found = _match(node)
            if isinstance(found, Layer):
                layers.append(found)
    return layers


def refusal_of(node: ir.Node, skip: tuple[str, ...] = ()) -> str:
    """Why `node` runs digitally."""
    found = _match(node)
    if isinstance(found, str):
        return found
    glob = next((pattern for pattern in skip if fnmatchcase(node.name or "", pattern)), None)
    return "left digital" if glob is None else f"skipped by {glob!r}"


def _skipped(node: ir.Node, skip: tuple[str, ...]) -> bool:
    return any(fnmatchcase(node.name or "", pattern) for pattern in skip)


def _match(node: ir.Node) -> Layer | str:
    """The layer that `node` is, or why it is none."""
    rows = [op for op in OPS.values() if op.replaces == node.op_type and op.name != "Parameter"]
    if node.domain or not rows:
        return digital_reason(node.domain, node.op_type)
    problem = ""
    for op in rows:
        operands = [_operand(node, op.inputs.index(name)) for name in op.weights]
        weights = [weight_of(value) if value is not None else "is left out" for value in operands]
        good = tuple(weight for weight in weights if isinstance(weight, Weight))
        if len(good) == len(weights):
            return Layer(node, op, good)
        names = zip(op.weights, weights, strict=True)
        reasons = [f"weight {name} {text}" for name, text in names if isinstance(text, str)]
        problem = problem or "; ".join(reasons)
    return problem


def _operand(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def weight_of(value: ir.Value) -> Weight | str:
    """`value` as a weight, or why it is none.

    A weight is a float initializer, or codes and scale multiplied as `quantize-weights` writes it.
    """
    tensor = initializer_of(value)
    if tensor is not None:
        if tensor.dtype not in FLOATS:
            return f"is of type {tensor.dtype.name}, not float"
        if not tensor.size:
            return "is empty"
        if value.is_graph_output():
            return "is an output of the network as well"
        return Weight(value, value, None)
    product = value.producer()
    if product is not None and product.op_type == "Cast":
        product = product.inputs[0].producer() if product.inputs[0] is not None else None
    if product is None or product.op_type != "Mul" or product.domain:
        return "is computed at run time, not constant"
    cast, scale = product.inputs[0], product.inputs[1]
    codes = None if cast is None or cast.producer() is None else cast.producer()
    source = codes.inputs[0] if codes is not None and codes.op_type == "Cast" else None
    if source is None or scale is None:
        return "is computed at run time, not constant"
    stored, step = initializer_of(source), initializer_of(scale)
    if stored is None or step is None or not stored.dtype.is_integer():
        return "is computed at run time, not constant"
    return Weight(value, source, scale)


def initializer_of(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor of a value that is an initializer and cannot be overridden by an input."""
    if value is None or not value.is_initializer() or value.is_graph_input():
        return None
    return value.const_value


def finite_array(value: ir.Value) -> NDArray[Any]:
    """The initializer's values.

    Raises:
        ModelError: It holds NaN or infinity.
    """
    tensor = initializer_of(value)
    assert tensor is not None
    values = tensor.numpy()
    if tensor.dtype in FLOATS and values.size:
        ends = np.array([values.min(), values.max()], np.float64)
        if not np.isfinite(ends).all():
            raise ModelError(
                f"weight {value.name!r} holds NaN or infinity; expected finite numbers"
            )
    return values
