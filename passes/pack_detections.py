"""pack-detections: the boxes that a detector puts out, any number, as one output of a fixed shape.

A detector with its non-maximum suppression inside puts out as many rows as it finds, in several
outputs without an axis of images. The copy that is judged gets an output (1, K + 1, 6) in their
place: how many rows there are, then these (box, score, class), filled up with -1. So chips are run
as those of any network, image by image. Only the copy is changed, never a file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from nvmc.errors import ModelError, OptionError, unknown
from nvmc.passes.graph.names import Names

__all__ = ["MOST", "Builder", "filled", "named_outputs", "pack_detections"]

MOST = 1000
"""K: rows of an image that there is room for."""


def pack_detections(model: ir.Model, outputs: str | None = None) -> tuple[str, tuple[str, ...]]:
    """Add an output (1, K + 1, 6) of all boxes that the network detects in one image.

    Args:
        model: Changed in place; opset 13 or above.
        outputs: Names of the outputs: of boxes (M, 4), scores (M,) and classes (M,), with commas
            between; or of one (M, 6), which has the three side by side. Axes of size 1 before come
            and go. By default the only ones of such types and shapes.

    Returns:
        The new output's name, and those that it is made of.

    Raises:
        OptionError: There is no such output.
        ModelError: Which outputs are meant cannot be told.
    """
    names = Names(model)
    parts = (
        named_outputs(model, outputs, "boxes, scores and classes as B,S,C, or one of six columns")
        if outputs
        else _found(model)
    )
    name = names.fresh(f"{parts[0].name}/detections")
    build = Builder(model.graph, names, f"{name}/packed")
    if len(parts) == 1:
        rows = build.node("Cast", [build.shaped(parts[0], [-1, 6])], to=ir.DataType.FLOAT)
    else:
        columns = [
            build.shaped(part, [-1, size]) for part, size in zip(parts, (4, 1, 1), strict=True)
        ]
        floats = [build.node("Cast", [column], to=ir.DataType.FLOAT) for column in columns]
        rows = build.node("Concat", floats, axis=1)
    packed = filled(build, rows, 6, MOST)
    packed.name = name
    packed.type, packed.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([1, MOST + 1, 6])
    model.graph.outputs.append(packed)
    return str(packed.name), tuple(str(part.name) for part in parts)


def filled(build: Builder, rows: ir.Value, width: int, most: int) -> ir.Value:
    """Rows (M, width) behind their number, filled up to `most`, with an axis of one image."""
    count = build.node("Slice", [build.node("Shape", [rows]), build.ints([0]), build.ints([1])])
    number = build.node("Cast", [count], to=ir.DataType.FLOAT)
    head = build.node("Expand", [build.shaped(number, [1, 1]), build.ints([1, width])])
    some = build.node("Slice", [rows, build.ints([0]), build.ints([most]), build.ints([0])])
    there = build.node("Min", [count, build.ints([most])])
    left = build.node("Sub", [build.ints([most]), there])
    zeros = build.ints([0, 0])
    pads = build.node("Concat", [zeros, left, build.ints([0])], axis=0)
    fill = build.constant(np.array(-1, np.float32))
    whole = build.node("Pad", [some, pads, fill])
    return build.node("Unsqueeze", [build.node("Concat", [head, whole], axis=0), build.ints([0])])


class Builder:
    """Adds nodes at the end of a graph."""

    def __init__(self, graph: ir.Graph, names: Names, name: str) -> None:
        self._graph, self._names, self._name = graph, names, name

    def node(self, op: str, inputs: list[ir.Value], **attributes: Any) -> ir.Value:
        """The output of a new node."""
        if "to" in attributes:
            attributes["to"] = int(attributes["to"])
        node = ir.node(op, inputs, attributes, name=self._names.fresh(self._name))
        node.outputs[0].name = node.name
        self._graph.append(node)
        return node.outputs[0]

    def constant(self, array: np.ndarray[Any, Any]) -> ir.Value:
        """A new initializer."""
        return self._names.initializer(f"{self._name}/constant", array)

    def ints(self, numbers: list[int]) -> ir.Value:
        """Whole numbers."""
        return self.constant(np.array(numbers, np.int64))

    def shaped(self, value: ir.Value, shape: list[int]) -> ir.Value:
        """A value in another shape."""
        return self.node("Reshape", [value, self.ints(shape)])


def named_outputs(
    model: ir.Model, text: str, expected: str, counts: tuple[int, ...] = (1, 3)
) -> list[ir.Value]:
    """The outputs of names with commas between.

    Raises:
        OptionError: There is no such output, or another number of them is wanted.
    """
    values = {str(value.name): value for value in model.graph.outputs}
    parts = text.split(",")
    for name in parts:
        if name not in values:
            raise OptionError(unknown("output", name, list(values)))
    if len(parts) not in counts:
        raise OptionError(f"output is {text!r}; expected those of {expected}")
    return [values[name] for name in parts]


def _found(model: ir.Model) -> list[ir.Value]:
    """The outputs by their types and shapes.

    Raises:
        ModelError: Several fit, or none.
    """
    floats = [v for v in model.graph.outputs if v.dtype is not None and v.dtype.is_floating_point()]
    whole = [v for v in model.graph.outputs if v.dtype is not None and v.dtype.is_integer()]
    six = [value for value in floats if _last(value, 6)]
    boxes = [value for value in floats if _last(value, 4)]
    if len(six) == 1 and not boxes:
        return six
    scores = [v for v in floats if v not in boxes and len(v.shape or ()) in (1, 2)]
    if len(boxes) == len(scores) == len(whole) == 1:
        return [boxes[0], scores[0], whole[0]]
    shown = ", ".join(
        f"{value.name} {value.dtype} {'?' if value.shape is None else list(value.shape)}"
        for value in model.graph.outputs
    )
    raise ModelError(
        f"which outputs hold boxes (M, 4), scores (M,) and classes (M,) cannot be told from "
        f"{shown}; name them with --output BOXES,SCORES,CLASSES"
    )


def _last(value: ir.Value, size: int) -> bool:
    """Whether the last of two or three axes has that size."""
    shape = value.shape
    return shape is not None and len(shape) in (2, 3) and shape[-1] == size
