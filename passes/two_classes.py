"""two-classes: the one score of a binary classifier as the scores of two classes.

A network that tells two classes apart often has one output, whose sign (or, behind a sigmoid, side
of one half) decides. Judged, it is one of two: a score z becomes (0, z), whose softmax is (1 - s,
s) with s the sigmoid of z; a probability p becomes (1 - p, p). A tie is class 0.

Only the copy that is judged is changed, never a file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from nvmc.compiled.masks import Outputs
from nvmc.errors import ModelError
from nvmc.passes.feed_masks import PASSING, outputs_kinds
from nvmc.passes.graph.names import Names

__all__ = ["check_sign", "two_classes"]

_NO_SIGN = frozenset(
    "Abs Clip Exp Gather GatherElements Log LogSoftmax Pow Reciprocal Relu Round Slice Softmax "
    "Softplus Split Sqrt".split()
)
"""Operators behind which neither the sign nor one half tells two classes apart."""


def check_sign(model: ir.Model, output: str) -> None:
    """Complain of a single number that decides in another way than by its sign or one half.

    Raises:
        ModelError: It does, as far as the node that makes it tells.
    """
    value = next(value for value in model.graph.outputs if value.name == output)
    node = value.producer()
    while node is not None and node.op_type in PASSING | {"Neg", "Scan"}:
        source = node.inputs[0]
        if node.op_type == "Scan":
            source = node.attributes["body"].as_graph().outputs[value.index() or 0]
        if source is None:
            break
        value, node = source, source.producer()
    if node is None:
        return
    first = node.inputs[0] if node.inputs else None
    from_constant = node.op_type in ("Div", "Sub") and first is not None and _is_constant(first)
    if node.op_type in _NO_SIGN or from_constant:
        raise ModelError(
            f"output {output!r} holds one number per decision, made by {node.op_type}, which is "
            "neither a score nor a Sigmoid's probability; export the score before it, or one for "
            "each class"
        )


def _is_constant(value: ir.Value) -> bool:
    return ir.convenience.get_const_tensor(value) is not None


def two_classes(model: ir.Model, output: str, apart: bool = False) -> tuple[str, Outputs]:
    """Add an output (N, 2, ...) that tells class 0 from class 1.

    Args:
        model: Changed in place; opset 13 or above.
        output: Name of an output of shape (N,) or (N, 1, ...).
        apart: Whether it is one of shape (N, L) instead, a score for each of L labels that are 0
            or 1; the new output then has shape (N, 2, L).

    Returns:
        The new output's name, and what it holds.

    Raises:
        ModelError: See `check_sign`.
    """
    check_sign(model, output)
    graph, names = model.graph, Names(model)
    value = next(value for value in graph.outputs if value.name == output)
    holds = outputs_kinds(model)[output]

    def add(op: str, inputs: list[ir.Value], **attributes: Any) -> ir.Value:
        name = names.fresh(f"{output}/two_classes")
        node = ir.node(op, inputs, attributes, name=name)
        node.outputs[0].name = name
        if op != "Shape":
            node.outputs[0].type = value.type
        graph.append(node)
        return node.outputs[0]

    if apart or (value.shape is not None and len(value.shape) == 1):
        axis = names.initializer(f"{output}/class_axis", np.array([1], np.int64))
        value = add("Unsqueeze", [value, axis])
    kind = value.dtype.numpy() if value.dtype is not None else np.float32
    if holds == "probabilities":
        one = names.initializer(f"{output}/one", np.array(1, kind))
        other = add("Sub", [one, value])
    else:
        zero = ir.tensor(np.zeros(1, kind))
        other = add("ConstantOfShape", [add("Shape", [value])], value=zero)
    both = add("Concat", [other, value], axis=1)
    graph.outputs.append(both)
    return str(both.name), holds
