"""quantize-weights: float weights -> signed codes and their step (TRICE, Eq. 11)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from nvmc.compiled.rounding import Rounding
from nvmc.errors import OptionError
from nvmc.hardware.devices import Target
from nvmc.hardware.encoding import as_codes, quantize, scale_of
from nvmc.hardware.tiling import Channels, shared_channels
from nvmc.passes.graph.globs import check_shared
from nvmc.passes.graph.grids import Fit, fit_grid, grid_of
from nvmc.passes.graph.mappable import Layer, finite_array, layers_of, mark_quantized
from nvmc.passes.graph.names import Names
from nvmc.passes.graph.rounding import rounding_of

__all__ = ["QuantizeWeights"]


@dataclass
class QuantizeWeights(ir.passes.InPlacePass):
    """Replace every weight that can be mapped by its codes, step and their product.

    W becomes the integer initializer `W.codes`, the float32 initializer `W.scale` and standard
    nodes Cast and Mul (and a Cast to the network's own type where that is not float32), so the
    result is plain ONNX; the last node's metadata names the two and their bits, which is what
    `map-crossbars` goes by. A weight that several layers share is quantised once; nodes that cannot
    be mapped keep the float weight. Weights that are quantised already stay as they are. A weight
    of a quantised network keeps its own codes and steps where H bits hold them (`fit_grid`), one
    step per output channel too where `per_channel` is off.

    Attributes:
        bits: H, 1 to 16.
        per_channel: One step per output channel instead of one per tensor; of one bit always.
            Layers that share a weight but not its channel axis get one step per tensor.
        skip: Globs of node names that stay as they are.
        target: Says bits and `per_channel` of each layer, where it is given; weights that are
            analog there stay as they are.
    """

    bits: int
    per_channel: bool = False
    skip: tuple[str, ...] = ()
    target: Target | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16:
            raise OptionError(f"weight bits are {self.bits}; expected 1 to 16")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Quantise in place.

        Raises:
            ModelError: A weight holds NaN or infinity.
            OptionError: Layers that share a weight are to hold it in different ways.
        """
        users: dict[ir.Value, list[tuple[Layer, str]]] = {}
        for layer in layers_of(model, self.skip):
            for name, weight in zip(layer.op.weights, layer.weights, strict=True):
                if weight.scale is None:
                    users.setdefault(weight.source, []).append((layer, name))
        names = Names(model)
        changed = [self._quantize(model, names, *each) for each in users.items()]
        return ir.passes.PassResult(model, any(changed))

    def _quantize(
        self, model: ir.Model, names: Names, source: ir.Value, users: list[tuple[Layer, str]]
    ) -> bool:
        weight = finite_array(source)
        bits, per_channel = self._use(source, users)
        if bits is None:
            return False
        channels = shared_channels((layer.place for layer, _ in users), weight.shape)
        own_steps = per_channel or bits == 1
        scale, codes, told = _coded(source, weight, channels, bits, own_steps=own_steps)
        rounding = rounding_of(weight, codes, scale, bits, channels)
        restored = _restored(model.graph, names, source, codes, scale, bits, told, rounding)
        for layer, name in users:
            layer.node.replace_input_with(layer.op.inputs.index(name), restored)
        assert source.name is not None and source.graph is not None
        restored.name = source.name
        if source.uses():
            source.name = names.fresh(f"{source.name}.digital")
        else:
            source.graph.initializers.pop(source.name)
        return True

    def _use(self, source: ir.Value, users: list[tuple[Layer, str]]) -> tuple[int | None, bool]:
        """Bits of a weight, None where it is analog, and whether channels have their own steps."""
        if self.target is None:
            return self.bits, self.per_channel
        found: dict[Target, str] = {}
        for layer, _ in users:
            name = layer.node.name or ""
            found.setdefault(self.target.of_layer(name, str(source.name)), name)
        if len(found) > 1:
            check_shared(str(source.name), found)
        own = next(iter(found))
        return own.weight_bits, own.per_channel


def _coded(
    source: ir.Value, weight: np.ndarray, channels: Channels | None, bits: int, *, own_steps: bool
) -> tuple[np.ndarray, np.ndarray, str]:
    """Step and codes: the weight's own where it has some that fit, else the target's."""
    grid, told = grid_of(source), ""
    if grid is not None:
        fit = fit_grid(weight, grid, bits, channels)
        if isinstance(fit, Fit):
            scale = fit.scale.astype(np.float32)
            return scale, as_codes(fit.codes, bits), fit.told
        told = fit
    scale = scale_of(weight, bits, channels if own_steps else None)
    scale = scale.astype(np.float32)
    return scale, quantize(weight, scale, bits), told


def _restored(
    graph: ir.Graph,
    names: Names,
    source: ir.Value,
    codes: np.ndarray,
    scale: np.ndarray,
    bits: int,
    told: str,
    rounding: Rounding,
) -> ir.Value:
    """Codes and step as initializers, and the product that gives the weight back and says so."""
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
    mark_quantized(nodes[-1], stored, step, bits, told, rounding)
    graph.insert_before(next(iter(graph)), nodes)
    return nodes[-1].outputs[0]
