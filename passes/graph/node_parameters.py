"""Biases and norm parameters, for those studies that keep them in cells too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from nvmc.compiled.options import Kind
from nvmc.errors import OptionError
from nvmc.passes.graph.layers import AFFINE_MARK, array_of, consumer
from nvmc.passes.graph.mappable import Layer, initializer_of

__all__ = ["NodeParameter", "parameters_of"]

_BIAS = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2, "LSTM": 3, "GRU": 3, "RNN": 3}
"""Position of the bias among a standard operator's inputs."""
_NORM = {
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "RMSNormalization": (1,),
}
_NONE_FOUND = {
    "bias": "no mapped layer has a bias of its own or added right behind it; exporters fold "
    "normalisation and biases in different ways",
    "norm": "the network has no normalisation with a scale and bias of its own; exporters fold "
    "BatchNormalization into the layer before it: keep it with torch.onnx.export(dynamo=True, "
    "optimize=False)",
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

    Biases are those of mapped layers, and a constant added right behind a mapped MatMul. Norm
    parameters are the trained scale and bias of the normalisations, also where they are a Mul and
    an Add behind a normalisation that exporters write as several operators, or in front of an
    inverted one. A normalisation whose scales are all one and whose biases are all zero has no such
    parameters. Running mean and variance are statistics and stay digital: a noisy variance could
    fall below zero.

    Raises:
        OptionError: There are none of a kind.
    """
    finders = {"bias": lambda: _biases(layers), "norm": lambda: _norms(nodes)}
    found: list[NodeParameter] = []
    for kind in kinds:
        of_kind = list(finders[kind]())
        if not of_kind:
            raise OptionError(f"--store {kind}: {_NONE_FOUND[kind]}; or leave --store {kind} out")
        found += of_kind
    return found


def _biases(layers: list[Layer]) -> Iterator[NodeParameter]:
    for layer in layers:
        if layer.op.replaces in _BIAS:
            yield from _at(layer.node, _BIAS[layer.op.replaces])
        else:
            yield from _added(layer.node)


def _norms(nodes: Iterable[ir.Node]) -> Iterator[NodeParameter]:
    for node in nodes:
        if node.domain:
            continue
        if AFFINE_MARK in node.metadata_props:
            yield from _masked(node)
        elif node.op_type in _NORM and not _is_bare(node):
            for index in _NORM[node.op_type]:
                yield from _at(node, index)
        elif node.op_type in _NORM or _divides_by_deviation(node):
            yield from _affine_behind(node)


def _masked(node: ir.Node) -> list[NodeParameter]:
    """The parameter of an inverted normalisation's Mul or Add, also behind affine dropout."""
    value = node.inputs[1]
    ahead = None if value is None else value.producer()
    return _at(node, 1) if ahead is None or ahead.op_type != "Where" else _at(ahead, 2)


def _is_bare(node: ir.Node) -> bool:
    """Whether a normalisation does nothing but normalise: scales of one and biases of zero."""
    for index, neutral in ((1, 1), (2, 0)):
        value = node.inputs[index] if index < len(node.inputs) else None
        array = array_of(value)
        if value is not None and (array is None or np.any(array != neutral)):
            return False
    return True


def _divides_by_deviation(node: ir.Node) -> bool:
    """Whether a node is the last of a normalisation of several operators: x / sqrt(mean + eps)."""
    if node.op_type not in ("Div", "Mul"):
        return False
    for value in node.inputs:
        root = None if value is None else value.producer()
        if root is not None and node.op_type == "Mul" and root.op_type == "Reciprocal":
            inner = root.inputs[0]
            root = None if inner is None else inner.producer()
        elif node.op_type == "Mul" or value is node.inputs[0]:
            continue
        if root is not None and root.op_type == "Sqrt":
            steps = [step.op_type for step in _above(root, 2)]
            if "Add" in steps and "ReduceMean" in steps:
                return True
    return False


def _above(node: ir.Node, depth: int) -> Iterator[ir.Node]:
    for ahead in node.predecessors() if depth else ():
        yield ahead
        yield from _above(ahead, depth - 1)


def _affine_behind(node: ir.Node) -> Iterator[NodeParameter]:
    """The constants of a Mul and an Add behind a normalisation, of one number a channel."""
    y = node.outputs[0]
    step = consumer(y)
    if step is not None and step.op_type in ("Reshape", "Cast"):
        step = consumer(step.outputs[0])
    for op in ("Mul", "Add"):
        if step is None or step.domain or step.op_type != op:
            continue
        found = [p for i in (0, 1) for p in _at(step, i) if _numbers(p.value) > 1]
        if len(found) == 1:
            yield found[0]
            step = consumer(step.outputs[0])


def _numbers(value: ir.Value) -> int:
    tensor = initializer_of(value)
    return 0 if tensor is None else tensor.size


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
