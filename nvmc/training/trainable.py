"""Which constants of a graph are trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.passes.layers import array_of
from nvmc.training.operators import OPERATORS, Operator

__all__ = ["statistics", "trainable"]

_MASK = 1e4
"""A constant with a number as large as this is a mask, or a threshold."""
_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)


def trainable(graph: ir.Graph) -> list[ir.Value]:
    """The initializers and outputs of Constant nodes that are trained.

    Those are finite floating-point numbers that reach a weight's position (of a layer, a
    normalisation, an embedding), or that are added to or multiplied with what a layer gave and
    have more than one element (biases, gammas, positions). Never trained is what else is used as a
    fixed constant: running statistics, quantisation steps, thresholds, masks.
    """
    fixed = {value for value, _ in _reached(graph, "fixed")}
    behind = _behind_layers(graph)
    found: dict[ir.Value, None] = {}
    for value, _ in _reached(graph, "weights"):
        if value not in fixed and _is_weight(value, 1):
            found[value] = None
    for value, node in _reached(graph, "terms"):
        if value not in fixed and node in behind and _is_weight(value, 2):
            found[value] = None
    return list(found)


def statistics(graph: ir.Graph) -> list[ir.Value]:
    """The constants that are running statistics: updated in training, but not by gradients."""
    found: dict[ir.Value, None] = {}
    for node in graph:
        for _, value in _inputs(node, "statistics"):
            if array_of(value) is not None:
                found[value] = None
    return list(found)


def _reached(graph: ir.Graph, role: str) -> Iterator[tuple[ir.Value, ir.Node]]:
    """Constants that reach an input of that role, and the node whose input it is."""
    for node in graph:
        for _, value in _inputs(node, role):
            for constant in _sources(value):
                yield constant, node
        if role == "fixed":
            for value in _steps(node):
                yield from ((constant, node) for constant in _sources(value))


def _inputs(node: ir.Node, role: str) -> Iterator[tuple[int, ir.Value]]:
    operator = _operator(node)
    if operator is None:
        return
    names: tuple[str, ...] = getattr(operator, role)
    if role == "fixed":
        names += operator.statistics
    for index, value in enumerate(node.inputs):
        if value is not None and operator.name_of(index) in names:
            yield index, value


def _operator(node: ir.Node) -> Operator | None:
    return None if node.domain not in ("", "ai.onnx") else OPERATORS.get(node.op_type)


def _sources(value: ir.Value) -> Iterator[ir.Value]:
    """The constants that `value` is, or is made of by operators that weights may pass."""
    pending, met = [value], {value}
    while pending:
        value = pending.pop()
        producer = value.producer()
        if array_of(value) is not None:
            yield value
        elif producer is not None:
            for _, source in _inputs(producer, "through"):
                if source not in met:
                    met.add(source)
                    pending.append(source)


def _behind_layers(graph: ir.Graph) -> set[ir.Node]:
    """The nodes that depend on a layer, that is on a node with weights."""
    behind: set[ir.Node] = set()
    for node in graph:
        operator = _operator(node)
        ahead = set(node.predecessors())
        if not behind.isdisjoint(ahead) or (operator is not None and operator.weights):
            behind.add(node)
    return behind


def _steps(node: ir.Node) -> Iterator[ir.Value]:
    """Constants that a quantisation by Div, Round, Clip and Mul divides or multiplies by."""
    if node.op_type == "Div" and node.inputs[1] is not None:
        if any(use.node.op_type == "Round" for use in node.outputs[0].uses()):
            yield node.inputs[1]
    if node.op_type == "Mul":
        for one, other in (node.inputs, node.inputs[::-1]):
            if one is not None and other is not None and _is_rounded(one):
                yield other


def _is_rounded(value: ir.Value) -> bool:
    producer = value.producer()
    if producer is not None and producer.op_type == "Clip" and producer.inputs[0] is not None:
        producer = producer.inputs[0].producer()
    return producer is not None and producer.op_type == "Round"


def _is_weight(value: ir.Value, least: int) -> bool:
    """Whether the constant can be trained, with at least that many elements."""
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None or tensor.dtype not in _FLOATS or tensor.size < least:
        return False
    numbers: NDArray[Any] = tensor.numpy().astype(np.float32)
    if not np.isfinite(numbers).all():
        return False
    return least == 1 or bool(np.abs(numbers).max() < _MASK)
