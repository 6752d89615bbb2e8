"""A compiled network for one image, as plain data: for writers that know no onnx_ir."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from nvmc.errors import ModelError
from nvmc.passes.fold_shapes import concrete_shapes
from nvmc.passes.graph.describe import Model
from nvmc.passes.graph.layers import label
from nvmc.passes.graph.mappable import subgraphs_of

__all__ = ["ImageGraph", "Step", "image_graph"]

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Step:
    """One node of the main graph.

    Attributes:
        name: Of the node; no other has it.
        domain, op: Its operator.
        inputs: Names of values; None where one is left out.
        outputs: Likewise; empty where one is not used.
        attributes: Of the types int, float, str, tuples of these, or a NumPy array.
    """

    name: str
    domain: str
    op: str
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class ImageGraph:
    """The main graph, its nodes each behind what it takes data from.

    Attributes:
        inputs, outputs: Names of values.
        steps: The nodes.
        shapes: Of values for one image; those that are not known are left out.
        types: Element types of values, as NumPy calls them, where they are known.
        constants: Initializers by name.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    shapes: Mapping[str, Shape]
    types: Mapping[str, str]
    constants: Mapping[str, Any]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a value.

        Raises:
            ModelError: It is not known.
        """
        found = self.shapes.get(name)
        sizes = tuple(size for size in found or () if size is not None)
        if found is None or len(sizes) != len(found):
            raise ModelError(
                f"the shape of {name!r} is not known for one image; export the network with fixed "
                "sizes"
            )
        return sizes


def image_graph(model: Model) -> ImageGraph:
    """Give a network one image a run, in place, and say what is in it.

    The first axis of an input becomes 1 where it is open.

    Raises:
        ModelError: Another axis of an input is open, or a node has a subgraph.
    """
    for value in model.graph.inputs:
        value.shape = _one_image(value)
    shapes: dict[str, Shape] = {**concrete_shapes(model, {})}
    nodes = list(model.graph)
    for node in nodes:
        if subgraphs_of(node):
            raise ModelError(
                f"{node.op_type} {label(node)!r} has a graph of its own; only straight networks "
                "can be written so"
            )
        for value in node.outputs:
            found = shapes.get(str(value.name))
            value.shape = None if found is None else ir.Shape(found)
    constants = {
        name: value.const_value.numpy()
        for name, value in model.graph.initializers.items()
        if value.const_value is not None
    }
    shapes |= {name: tuple(values.shape) for name, values in constants.items()}
    values = [*model.graph.inputs, *(v for node in nodes for v in node.outputs)]
    types = {str(v.name): v.dtype.numpy().name for v in values if v.dtype}
    types |= {name: values.dtype.name for name, values in constants.items()}
    return ImageGraph(
        tuple(str(value.name) for value in model.graph.inputs if str(value.name) not in constants),
        tuple(str(value.name) for value in model.graph.outputs),
        tuple(_step(node) for node in nodes),
        shapes,
        types,
        constants,
    )


def _one_image(value: ir.Value) -> ir.Shape:
    """The shape of an input for one image."""
    sizes: list[int] = []
    for axis, size in enumerate(value.shape or ()):
        if not isinstance(size, int) and axis:
            raise ModelError(
                f"input {str(value.name)!r} leaves the size of axis {axis} open; export the "
                "network with a fixed one"
            )
        sizes.append(size if isinstance(size, int) else 1)
    return ir.Shape(sizes)


def _step(node: ir.Node) -> Step:
    attributes: dict[str, Any] = {}
    for name, attribute in node.attributes.items():
        value: Any = attribute.value
        if isinstance(value, ir.TensorProtocol):
            value = value.numpy()
        elif isinstance(value, list | tuple):
            value = tuple(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        attributes[name] = value
    return Step(
        str(node.name),
        node.domain,
        node.op_type,
        tuple(None if value is None else str(value.name) for value in node.inputs),
        tuple(str(value.name or "") for value in node.outputs),
        attributes,
    )
