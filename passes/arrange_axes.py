"""arrange-axes: images along the first axis, classes along the second, of the copy that is judged.

Everything behind a session, on any engine, counts on that. Only the copy is changed, never a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from nvmc.compiled.masks import Outputs
from nvmc.passes.graph.names import Names

__all__ = ["classes_second", "images_first", "log_probabilities"]


def images_first(model: ir.Model, inputs: Mapping[str, int | None]) -> None:
    """Let inputs take images along their first axis.

    Args:
        model: Changed in place; opset 13 or above.
        inputs: Name of an input -> its axis of images; None where it has none, so that it takes
            one image at a time.
    """
    names = Names(model)
    for place, old in enumerate(list(model.graph.inputs)):
        axis = inputs.get(str(old.name), 0)
        if axis == 0 or old.shape is None:
            continue
        name, sizes = str(old.name), list(old.shape)
        if axis is None:
            sizes = [1, *sizes]
        else:
            sizes.insert(0, sizes.pop(axis))
        new = ir.Value(name=name, shape=ir.Shape(sizes), type=old.type)
        old.name = names.fresh(f"{name}/as_exported")
        back = _moved(names, new, None if axis is None else (0, axis), f"{name}/moved")
        back.outputs[0].shape = old.shape
        old.replace_all_uses_with(back.outputs[0], replace_graph_outputs=True)
        model.graph.inputs[place] = new
        model.graph.insert_before(model.graph[0], back)


def classes_second(model: ir.Model, output: str, images: int | None, classes: int | None) -> str:
    """Add a copy of an output with its images along axis 0 and its classes along axis 1.

    Args:
        model: Changed in place; opset 13 or above.
        output: Name of an output.
        images: Its axis of images; None where it has none, so that it is of one image.
        classes: Its axis of classes; None where it has none, or none is asked for.

    Returns:
        The new output's name; `output` where it is so already.
    """
    names = Names(model)
    value = last = next(value for value in model.graph.outputs if value.name == output)
    if images is None:
        last = _appended(model, names, last, None, f"{output}/one_image")
        classes = None if classes is None else classes + 1
    elif images:
        last = _appended(model, names, last, (images, 0), f"{output}/images_first")
        classes = None if classes is None else classes + (classes < images)
    if classes not in (None, 1):
        last = _appended(model, names, last, (classes, 1), f"{output}/classes_second")
    if last is not value:
        model.graph.outputs.append(last)
    return str(last.name)


def log_probabilities(model: ir.Model, output: str, holds: Outputs) -> str:
    """Add the logarithms of the probabilities that class scores (N, C, ...) stand for.

    Args:
        model: Changed in place; opset 13 or above.
        output: Name of an output.
        holds: What it holds.

    Returns:
        The new output's name; `output` where it holds them.
    """
    if holds == "log-probabilities":
        return output
    name = Names(model).fresh(f"{output}/log_probabilities")
    value = next(value for value in model.graph.outputs if value.name == output)
    kind, attributes = ("Log", {}) if holds == "probabilities" else ("LogSoftmax", {"axis": 1})
    node = ir.node(kind, [value], attributes, name=name)
    node.outputs[0].name, node.outputs[0].type = name, value.type
    node.outputs[0].shape = value.shape
    model.graph.append(node)
    model.graph.outputs.append(node.outputs[0])
    return name


def _appended(
    model: ir.Model, names: Names, value: ir.Value, move: tuple[int, int] | None, wanted: str
) -> ir.Value:
    node = _moved(names, value, move, wanted, outwards=True)
    model.graph.append(node)
    return node.outputs[0]


def _moved(
    names: Names,
    value: ir.Value,
    move: tuple[int, int] | None,
    wanted: str,
    outwards: bool = False,
) -> ir.Node:
    """A node that moves an axis from one place to another; or that adds or takes the first one."""
    name, sizes = names.fresh(wanted), None if value.shape is None else list(value.shape)
    if move is None:
        axes = names.initializer(f"{wanted}_axis", np.array([0], np.int64))
        node = ir.node("Unsqueeze" if outwards else "Squeeze", [value, axes], name=name)
        shape: Any = None if sizes is None else [1, *sizes] if outwards else sizes[1:]
    else:
        assert sizes is not None
        order = list(range(len(sizes)))
        order.insert(move[1], order.pop(move[0]))
        node = ir.node("Transpose", [value], {"perm": order}, name=name)
        shape = [sizes[axis] for axis in order]
    node.outputs[0].name, node.outputs[0].type = name, value.type
    node.outputs[0].shape = None if shape is None else ir.Shape(shape)
    return node
