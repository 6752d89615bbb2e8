"""Which constants of a graph are trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.passes.graph.layers import AFFINE_MARK, array_of
from nvmc.passes.invert_normalization import INVERTED
from nvmc.torchgraph.operators import operator_of

__all__ = ["statistics", "trainable"]

_MASK = 1e4
"""A constant with a number as large as this is a mask, or a threshold."""
_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)
_MOVES = frozenset(
    """Concat Expand Flatten Identity Pad Reshape Slice Split Squeeze Tile Transpose
    Unsqueeze""".split()
)
"""A weight passes these even beside activations: a class token ahead of the patches."""


def trainable(graph: ir.Graph) -> list[ir.Value]:
    """The initializers and outputs of Constant nodes that are trained.

    Those are finite floating-point numbers

    - in a weight's position (of a layer, a normalisation, an embedding, a PRelu), also by way of
      operators that move or quantise them;
    - in an initial state of a recurrent layer, if not zero;
    - added to or multiplied with what a layer gave (biases, gammas, positions), if they have more
      than one element; factors, divisors and what is subtracted along one axis only.

    Never trained is what is anywhere a running statistic, a quantisation step or a threshold.
    """
    finder = _Finder(graph)
    return [value for value in finder.candidates() if value not in finder.fixed]


def statistics(graph: ir.Graph) -> list[ir.Value]:
    """The constants that are running statistics: updated in training, but not by gradients."""
    found: dict[ir.Value, None] = {}
    for node in graph:
        for value in _inputs(node, "statistics"):
            if array_of(value) is not None:
                found[value] = None
    return list(found)


class _Finder:
    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._fed: set[ir.Node] = set()
        self._behind: set[ir.Node] = set()
        self._follow()
        self.fixed = set(self._fixed())

    def _follow(self) -> None:
        """Find the nodes that depend on the graph's inputs, and those on a layer, too."""
        initial = set(self._graph.initializers.values())
        inputs = set(self._graph.inputs) - initial
        for node in self._graph:
            ahead = set(node.predecessors())
            if not inputs.isdisjoint(node.inputs) or not self._fed.isdisjoint(ahead):
                self._fed.add(node)
            operator = operator_of(node)
            is_layer = operator is not None and bool(operator.weights)
            if is_layer or not self._behind.isdisjoint(ahead):
                self._behind.add(node)

    def candidates(self) -> dict[ir.Value, None]:
        found: dict[ir.Value, None] = {}
        for node in self._graph:
            # A Gather from one number is arithmetic on shapes, not an embedding; a layer may well
            # have a single weight.
            if not _is_whole(node):
                self._collect(found, node, "weights", 2 if "Gather" in node.op_type else 1)
            self._collect(found, node, "states", 2)
            # Ahead of the first layer, numbers normalise the images: they belong to the data.
            if node in self._behind:
                self._collect(found, node, "terms", 2)
        return found

    def _collect(self, found: dict[ir.Value, None], node: ir.Node, role: str, least: int) -> None:
        for value in _inputs(node, role):
            for source, beside in self._sources(value):
                numbers = _numbers(source, least)
                # Zeros are padding where activations stand beside them, and in a state the usual
                # start, which most exporters write although nobody meant to train it.
                if numbers is None or (not numbers.any() and (beside or role == "states")):
                    continue
                if role != "terms" or _is_term(node, numbers):
                    found[source] = None

    def _fixed(self) -> Iterator[ir.Value]:
        for node in self._graph:
            steps = (*_inputs(node, "fixed"), *_inputs(node, "statistics"), *_steps(node))
            for value in steps:
                yield from (source for source, _ in self._sources(value))

    def _sources(self, value: ir.Value) -> Iterator[tuple[ir.Value, bool]]:
        """The constants that `value` is made of, and whether activations stand beside them."""
        pending, met = [(value, False)], {value}
        while pending:
            value, beside = pending.pop()
            producer = value.producer()
            if array_of(value) is not None:
                yield value, beside
            # What depends on the images is no weight, unless it only moves one beside them.
            elif producer is not None and (producer not in self._fed or producer.op_type in _MOVES):
                for source in _inputs(producer, "through"):
                    if source not in met:
                        met.add(source)
                        pending.append((source, beside or producer in self._fed))


def _inputs(node: ir.Node, role: str) -> Iterator[ir.Value]:
    operator = operator_of(node)
    if operator is None:
        return
    names: tuple[str, ...] = getattr(operator, role)
    for index, value in enumerate(node.inputs if names else ()):
        if value is not None and operator.name_of(index) in names:
            yield value


def _is_whole(node: ir.Node) -> bool:
    """Whether a normalisation has no affine step of its own: its scale and bias say nothing.

    Such are inverted normalisations, and InstanceNormalization as the core of a decomposed
    GroupNormalization, whose affine step follows.
    """
    value = node.inputs[0] if node.inputs else None
    ahead = None if value is None else value.producer()
    in_groups = ahead is not None and ahead.op_type == "Reshape"
    is_core = node.op_type == "InstanceNormalization" and in_groups
    return INVERTED in node.metadata_props or is_core


def _is_term(node: ir.Node, numbers: NDArray[Any]) -> bool:
    """Whether numbers beside a layer's output are a bias, gamma or position, not a grid or mask."""
    # A factor for each channel is a gamma; one for each pixel is a window or a mask. Sums of any
    # shape may be learnt: positions are added to patches.
    vector = sum(size > 1 for size in numbers.shape) == 1
    marked = AFFINE_MARK in node.metadata_props
    small = bool(np.abs(numbers).max() < _MASK)
    return small and (vector or marked or node.op_type in ("Add", "Sum"))


def _steps(node: ir.Node) -> Iterator[ir.Value]:
    """Constants that a quantisation by Div, Round, Clip and Mul divides or multiplies by."""
    # x / s rounded and times s again is fake quantisation: its step s is calibrated, not trained;
    # those that were learned are `Graph.of`'s `trained`.
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


def _numbers(value: ir.Value, least: int) -> NDArray[Any] | None:
    """What a constant holds that can be trained, with at least so many elements."""
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None or tensor.dtype not in _FLOATS or tensor.size < least:
        return None
    numbers: NDArray[Any] = tensor.numpy().astype(np.float32)
    return numbers if np.isfinite(numbers).all() else None
