"""quantize-weights: float weights -> signed codes and their step (TRICE, Eq. 11)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from nvmc.compiled.rounding import Rounding
from nvmc.errors import OptionError
from nvmc.hardware.devices import LayerTarget
from nvmc.hardware.encoding import as_codes, quantize, scale_of
from nvmc.hardware.tiling import Channels, shared_channels
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
        layers: Bits by globs of node or weight names, where not `bits`; the first counts.
    """

    bits: int
    per_channel: bool = False
    skip: tuple[str, ...] = ()
    layers: tuple[LayerTarget, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16:
            raise OptionError(f"weight bits are {self.bits}; expected 1 to 16")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Quantise in place.

        Raises:
            ModelError: A weight holds NaN or infinity.
            OptionError: Layers that share a weight are to hold it in different numbers of bits.
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
        bits = self._bits(source, users)
        channels = shared_channels((layer.place for layer, _ in users), weight.shape)
        scale, codes, told = self._coded(source, weight, channels, bits)
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

    def _coded(
        self, source: ir.Value, weight: np.ndarray, channels: Channels | None, bits: int
    ) -> tuple[np.ndarray, np.ndarray, str]:
        """Step and codes: the weight's own where it has some that fit, else the target's."""
        grid, told = grid_of(source), ""
        own_steps = self.per_channel or bits == 1
        if grid is not None:
            fit = fit_grid(weight, grid, bits, channels)
            if isinstance(fit, Fit):
                scale = fit.scale.astype(np.float32)
                return scale, as_codes(fit.codes, bits), fit.told
            told = fit
        scale = scale_of(weight, bits, channels if own_steps else None)
        scale = scale.astype(np.float32)
        return scale, quantize(weight, scale, bits), told

    def _bits(self, source: ir.Value, users: list[tuple[Layer, str]]) -> int:
        found: dict[int, str] = {}
        for layer, _ in users:
            name = layer.node.name or ""
            parts = (p.weight_bits for p in self.layers if p.fits(name, str(source.name)))
            found.setdefault(next(parts, self.bits), name)
        if len(found) > 1:
            told = " and ".join(f"{name!r} in {bits}" for bits, name in found.items())
            raise OptionError(
                f"weight {source.name!r} is shared by layers that are to hold it in different "
                f"numbers of bits ({told}); give them the same"
            )
        return next(iter(found))


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
