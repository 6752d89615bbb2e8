"""two-classes: the one score of a binary classifier as the scores of two classes.

A network that tells two classes apart often has one output, whose sign (or, behind a sigmoid, side
of one half) decides. Judged, it is one of two: a score z becomes (0, z), whose softmax is (1 - s,
s) with s the sigmoid of z; a probability p becomes (1 - p, p). A tie is class 0.

Only the copy that is judged is changed, never a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from nvmc.masks import Outputs
from nvmc.passes.feed_masks import outputs_kinds
from nvmc.passes.names import Names

__all__ = ["is_single", "two_classes"]


def is_single(shape: ir.Shape | Sequence[Any] | None) -> bool:
    """Whether an output of this shape, images first, holds one score a decision."""
    return shape is not None and (len(shape) == 1 or (len(shape) > 1 and shape[1] == 1))


def two_classes(model: ir.Model, output: str) -> tuple[str, Outputs]:
    """Add an output (N, 2, ...) that tells class 0 from class 1.

    Args:
        model: Changed in place; opset 13 or above.
        output: Name of an output of shape (N,) or (N, 1, ...).

    Returns:
        The new output's name, and what it holds.
    """
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

    if value.shape is not None and len(value.shape) == 1:
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
