"""quantize-weights: float weights -> signed codes and their step (TRICE, Eq. 11)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from nvmc.errors import OptionError
from nvmc.hardware.encoding import quantize, scale_of
from nvmc.passes.graph.mappable import Layer, finite_array, layers_of
from nvmc.passes.graph.names import Names

__all__ = ["Axes", "QuantizeWeights", "channel_axes"]


@dataclass
class QuantizeWeights(ir.passes.InPlacePass):
    """Replace every weight that can be mapped by its codes, step and their product.

    W becomes the integer initializer `W.codes`, the float32 initializer `W.scale` and standard
    nodes Cast and Mul (and a Cast to the network's own type where that is not float32), so the
    result is plain ONNX. A weight that several layers share is quantised once; nodes that cannot
    be mapped keep the float weight. Weights that are quantised already stay as they are.

    Attributes:
        bits: H, 1 to 16.
        per_channel: One step an output channel instead of one a tensor. Layers that share a
            weight but not its channel axis get one step a tensor.
        skip: Globs of node names that stay as they are.
    """

    bits: int
    per_channel: bool = False
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16:
            raise OptionError(f"weight bits are {self.bits}; expected 1 to 16")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Quantise in place.

        Raises:
            ModelError: A weight holds NaN or infinity.
        """
        users: dict[ir.Value, list[tuple[Layer, str]]] = {}
        for layer in layers_of(model, self.skip):
            for name, weight in zip(layer.op.weights, layer.weights, strict=True):
                if weight.scale is None:
                    users.setdefault(weight.source, []).append((layer, name))
        names = Names(model)
        for source, layers in users.items():
            self._quantize(model, names, source, layers)
        return ir.passes.PassResult(model, bool(users))

    def _quantize(
        self, model: ir.Model, names: Names, source: ir.Value, users: list[tuple[Layer, str]]
    ) -> None:
        weight = finite_array(source)
        choices = {channel_axes(layer, weight.shape) for layer, _ in users}
        axes = choices.pop() if self.per_channel and len(choices) == 1 else None
        if axes is None:
            scale = scale_of(weight, self.bits)
        elif axes.groups > 1:
            scale = _grouped_scale(weight, self.bits, axes.groups)
        else:
            scale = scale_of(weight, self.bits, axes.axes)
        scale = scale.astype(np.float32)
        codes = quantize(weight, scale, self.bits)
        restored = _restored(model.graph, names, source, codes, scale)
        for layer, name in users:
            layer.node.replace_input_with(layer.op.inputs.index(name), restored)
        assert source.name is not None and source.graph is not None
        restored.name = source.name
        if source.uses():
            source.name = names.fresh(f"{source.name}.digital")
        else:
            source.graph.initializers.pop(source.name)


@dataclass(frozen=True)
class Axes:
    """Where output channels lie: the axes that count them, within each of `groups` blocks."""

    axes: tuple[int, ...]
    groups: int = 1


def channel_axes(layer: Layer, shape: tuple[int, ...]) -> Axes:
    """The axes of a weight along which its output channels lie.

    A grouped ConvTranspose counts them by (block of axis 0, axis 1).
    """
    rank = len(shape)
    match layer.op.name:
        case "Conv":
            return Axes((0,))
        case "ConvTranspose":
            group = layer.node.attributes.get_int("group", 1)
            return Axes((1,), group or 1)
        case "Gemm":
            return Axes((0,) if layer.node.attributes.get_int("transB", 0) else (1,))
        case "MatMul":
            return Axes(tuple(axis for axis in range(rank) if rank > 1 and axis != rank - 2))
        case _:  # LeftMatMul [..., M, K] and recurrent [directions, gates * hidden, K]
            return Axes(tuple(range(rank - 1)))


def _grouped_scale(weight: np.ndarray, bits: int, groups: int) -> np.ndarray:
    """The step of each (group, output channel), shape (C_in, C_out / groups, 1, ...)."""
    blocks = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    scale = scale_of(blocks, bits, (0, 2))
    full = np.broadcast_to(scale, (*blocks.shape[:3], *(1,) * (weight.ndim - 2)))
    return full.reshape(weight.shape[0], weight.shape[1], *(1,) * (weight.ndim - 2))


def _restored(
    graph: ir.Graph, names: Names, source: ir.Value, codes: np.ndarray, scale: np.ndarray
) -> ir.Value:
    """Codes and step as initializers, and the product that gives the weight back."""
    dtype = source.dtype or ir.DataType.FLOAT
    stored = names.initializer(f"{source.name}.codes", codes)
    step = names.initializer(f"{source.name}.scale", scale)
    wide = ir.node("Cast", [stored], {"to": ir.DataType.FLOAT})
    product = ir.node("Mul", [wide.outputs[0], step])
    nodes = [wide, product]
    if dtype != ir.DataType.FLOAT:
        nodes.append(ir.node("Cast", [product.outputs[0]], {"to": dtype}))
    for position, node in enumerate(nodes):
        node.name = names.fresh(f"{source.name}.restore{position}")
        node.outputs[0].name = names.fresh(f"{source.name}.restored{position}")
        node.outputs[0].shape = ir.Shape(codes.shape)
        node.outputs[0].dtype = ir.DataType.FLOAT
    nodes[-1].outputs[0].dtype = dtype
    graph.insert_before(next(iter(graph)), nodes)
    return nodes[-1].outputs[0]
