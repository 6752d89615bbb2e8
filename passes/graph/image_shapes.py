"""What one image comes to inside a network: shapes of values, and products of crossbars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypedDict

import onnx_ir as ir

from nvmc.hardware.tiling import matrix_of
from nvmc.passes.fold_shapes import concrete_shapes
from nvmc.passes.graph.describe import one_image, tensor_entries
from nvmc.passes.graph.mappable import Layer

__all__ = ["ImageShapes", "Traffic"]

_IMAGES = 65_537
"""Images that shapes are inferred for where the network takes any number. No size of a network's
own is a multiple of this prime, so it marks the axis along which images lie."""
_BY_INPUT = frozenset({"ConvTranspose", "GRU", "LSTM", "RNN"})
"""Standard operators whose products are counted by their inputs, the others by their outputs."""


class Traffic(TypedDict, total=False):
    """What one image comes to at a layer: fields of `nvmc.compiled.work.LayerEntry`."""

    input_shape: list[int | None] | None
    output_shape: list[int | None] | None
    products: int | None
    multiply_adds: int | None


class ImageShapes:
    """Shapes of the main graph's values for one image, by onnx's shape inference.

    Args:
        model: In canonical form, before its layers are mapped; only read.
        sizes: Of an image by input, for axes that the network leaves open.
        assume: Size of every other axis of an input that the network leaves open behind the first;
            None leaves it open.

    Attributes:
        images: How many images the sizes of `whole` are of.
        assumed: The axes that got a size by `assume`: by name, or as `input[axis]`.
    """

    def __init__(
        self,
        model: ir.Model,
        sizes: Mapping[str, Sequence[int]] | None = None,
        assume: int | None = None,
    ) -> None:
        self._graph = model.graph
        self.assumed: dict[str, int] = {}
        axis, named, self.images = _axis_of_images(model)
        found: dict[tuple[int, int], int] = {}
        for index, value in enumerate(model.graph.inputs):
            image = list((sizes or {}).get(str(value.name), ()))
            fits = axis == 0 and value.shape is not None and len(image) == len(value.shape) - 1
            for place, size in enumerate(value.shape or ()):
                if isinstance(size, int):
                    continue
                if place == axis or (named is not None and size.value == named):
                    found[index, place] = self.images
                elif fits:
                    found[index, place] = image[place - 1]
                elif assume is not None:
                    self.assumed[size.value or f"{value.name}[{place}]"] = assume
                    found[index, place] = assume
        self._sizes = concrete_shapes(model, found)

    def whole(self, value: ir.Value) -> Sequence[int | None] | None:
        """The shape for all `images`; None where nothing is known."""
        if value.const_value is not None:
            return tuple(int(size) for size in value.const_value.shape.numpy())
        return self._sizes.get(str(value.name))

    def of(self, value: ir.Value | None) -> list[int | None] | None:
        """The shape of one image's part, without the axis of images where nothing else is on it."""
        sizes = None if value is None else self._sizes.get(str(value.name))
        images = self.images
        axis = next((i for i, size in enumerate(sizes or ()) if size and size % images == 0), None)
        if sizes is None or axis is None:
            return None
        alone = (sizes[axis] or 0) // images
        return [*sizes[:axis], *([alone] if alone > 1 else []), *sizes[axis + 1 :]]

    def traffic(self, layer: Layer) -> Traffic:
        """What one image comes to at a layer of the model.

        Each product takes one row of a matrix's inputs and gives one of its outputs: so many rows
        fit into the output, or the input of transposed convolutions and recurrent layers.
        """
        node, op = layer.node, layer.op.replaces
        shapes = self.of(node.inputs[layer.activation]), self.of(node.outputs[0])
        counted = shapes[0] if op in _BY_INPUT else shapes[1]
        source = layer.weights[0].source
        matrix = matrix_of(layer.place, tuple(source.shape.numpy()) if source.shape else ())
        products = None
        if counted is not None and None not in counted and node.graph is self._graph:
            numbers = math.prod(size for size in counted if size is not None)
            products = numbers // (matrix.rows if op in _BY_INPUT else matrix.cols)
            if op in _BY_INPUT and op != "ConvTranspose":
                products *= matrix.groups  # a direction each
        return {"input_shape": shapes[0], "output_shape": shapes[1], "products": products}


def _axis_of_images(model: ir.Model) -> tuple[int, str | None, int]:
    """The inputs' axis along which images lie, its name, and how many images.

    It is the first, unless time comes first: there the first axis is fixed to several and one other
    is open. Where there is none, the whole network is one image's.
    """
    if one_image(tensor_entries(model.graph.inputs), tensor_entries(model.graph.outputs)):
        return 0, None, 1
    shape = model.graph.inputs[0].shape if model.graph.inputs else None
    sizes = [] if shape is None else list(shape)
    first = sizes[0] if sizes else None
    axis = 0
    if isinstance(first, int) and first > 0:
        free = [axis for axis, size in enumerate(sizes) if not isinstance(size, int)]
        if first == 1 or len(free) != 1:
            return 0, None, first
        axis = free[0]
    size = sizes[axis] if sizes else None
    return axis, size.value if isinstance(size, ir.SymbolicDim) else None, _IMAGES
