"""The normalisations of a graph, whatever operator or decomposition they were exported as."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.budget import check_room
from nvmc.errors import ModelError
from nvmc.passes.graph.attributes import float_of, int_of
from nvmc.passes.graph.layers import array_of, consumer, label

__all__ = ["Normalization", "normalizations"]

_Parameters = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True)
class Normalization:
    """One normalisation with its affine parameters.

    Attributes:
        name: Name of the node, or of its output.
        nodes: The nodes it consists of, in order.
        x: What is normalised.
        y: The result.
        gamma: Weights, of a shape that broadcasts against `x`.
        beta: Biases, likewise.
        groups: Groups of channels normalised together; None where the source has no say in it.
        axis: First normalised axis of a LayerNormalization, else None.
        epsilon: What is added to the variance.
    """

    name: str
    nodes: tuple[ir.Node, ...]
    x: ir.Value
    y: ir.Value
    gamma: NDArray[Any]
    beta: NDArray[Any]
    groups: int | None
    axis: int | None
    epsilon: float


def normalizations(graph: ir.Graph) -> Iterator[Normalization]:
    """The normalisations of `graph` whose parameters are constants, in its order.

    BatchNormalization, LayerNormalization, GroupNormalization, InstanceNormalization, and
    GroupNorm as exporters write it: Reshape, InstanceNormalization, Reshape, Mul, Add.

    Raises:
        ModelError: The rank of a normalised tensor is unknown.
    """
    for node in list(graph):
        if node.domain == "" and node.op_type in _READERS and not _extra_outputs(node):
            found = _READERS[node.op_type](node)
            if found is not None:
                yield found


def _extra_outputs(node: ir.Node) -> bool:
    return any(value.uses() or value.is_graph_output() for value in node.outputs[1:])


def _parameters(node: ir.Node) -> _Parameters | None:
    """Scale and bias; a bias left out is zero."""
    gamma = array_of(node.inputs[1])
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if gamma is None:
        return None
    beta = np.zeros_like(gamma) if given is None else array_of(given)
    return None if beta is None else (gamma, beta)


def _per_channel(node: ir.Node, epsilon: float = 1e-5) -> Normalization | None:
    x, parameters = node.inputs[0], _parameters(node)
    if x is None or parameters is None:
        return None
    if x.shape is None:
        raise ModelError(
            f"the shape of {x.name!r}, which {label(node)!r} normalises, is unknown; "
            "canonicalize first, which infers shapes"
        )
    gamma, beta = (a.reshape(-1, *[1] * (len(x.shape) - 2)) for a in parameters)
    epsilon = float_of(node, "epsilon", epsilon)
    y = node.outputs[0]
    return Normalization(label(node), (node,), x, y, gamma, beta, None, None, epsilon)


def _grouped(node: ir.Node) -> Normalization | None:
    found = _per_channel(node)
    if found is None:
        return None
    groups = int_of(node, "num_groups", 1)
    channels = found.x.shape[1] if found.x.shape is not None else None
    gamma, beta = found.gamma, found.beta
    if isinstance(channels, int) and len(gamma) == groups:  # opset 18 has one pair a group
        check_room(f"a scale of {channels:,} channels", channels * gamma.itemsize)
        gamma, beta = (np.repeat(a, channels // groups, axis=0) for a in (gamma, beta))
    return replace(found, gamma=gamma, beta=beta, groups=groups)


def _layered(node: ir.Node) -> Normalization | None:
    x, parameters = node.inputs[0], _parameters(node)
    if x is None or parameters is None:
        return None
    axis = int_of(node, "axis", -1)
    epsilon = float_of(node, "epsilon", 1e-5)
    return Normalization(label(node), (node,), x, node.outputs[0], *parameters, None, axis, epsilon)


def _instance(node: ir.Node) -> Normalization | None:
    x, parameters = node.inputs[0], _parameters(node)
    if x is None or parameters is None:
        return None
    before, after = x.producer(), consumer(node.outputs[0])
    if before is None or after is None or (before.op_type, after.op_type) != ("Reshape",) * 2:
        return _per_channel(node)
    return _decomposed(node, before, after, parameters)


def _decomposed(
    node: ir.Node, before: ir.Node, after: ir.Node, parameters: _Parameters
) -> Normalization | None:
    """Reshape, InstanceNormalization without affine, Reshape, Mul, Add."""
    mul = consumer(after.outputs[0])
    add = None if mul is None else consumer(mul.outputs[0])
    x = before.inputs[0]
    if mul is None or add is None or x is None or (mul.op_type, add.op_type) != ("Mul", "Add"):
        return None
    gamma, beta = _constant_operand(mul), _constant_operand(add)
    if gamma is None or beta is None or np.any(parameters[0] != 1) or np.any(parameters[1] != 0):
        return None
    nodes = (*_shape_of(after), before, node, after, mul, add)
    epsilon = float_of(node, "epsilon", 1e-5)
    groups = len(parameters[0])
    return Normalization(label(node), nodes, x, add.outputs[0], gamma, beta, groups, None, epsilon)


def _shape_of(reshape: ir.Node) -> tuple[ir.Node, ...]:
    """The Shape node that only this Reshape asks, if there is one."""
    target = reshape.inputs[1]
    shape = None if target is None else target.producer()
    if target is None or shape is None or shape.op_type != "Shape" or len(target.uses()) != 1:
        return ()
    return (shape,)


def _constant_operand(node: ir.Node) -> NDArray[Any] | None:
    arrays = [array for array in map(array_of, node.inputs) if array is not None]
    return arrays[0] if len(arrays) == 1 else None


_READERS = {
    "BatchNormalization": _per_channel,
    "GroupNormalization": _grouped,
    "InstanceNormalization": _instance,
    "LayerNormalization": _layered,
}
