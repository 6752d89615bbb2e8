"""guard-products: keep a stock onnxruntime from rounding float weights of quantised networks."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from nvmc.passes.graph.mappable import nodes_of
from nvmc.passes.graph.names import Names

__all__ = ["GuardProducts"]

_ROUNDED = frozenset(
    "Conv ConvTranspose CrossbarConv CrossbarConvTranspose CrossbarGemm Gemm".split()
)
_PASSED = frozenset(["Clip", "Relu"])


@dataclass
class GuardProducts(ir.passes.InPlacePass):
    """Put a Max of one operand, which changes nothing, between a product and its QuantizeLinear.

    onnxruntime's WeightBiasQuantization rounds the weight of a Conv, ConvTranspose or Gemm to 8
    bits where its input is dequantised and its output is quantised, straight or behind Relu and
    Clip. It looks through no other operator, and none of onnxruntime's passes removes this one.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Insert in place."""
        names = Names(model)
        changed = False
        for node in list(nodes_of(model)):
            value = node.inputs[0] if node.op_type == "QuantizeLinear" else None
            if value is None or not _from_product(value):
                continue
            guard = ir.node("Max", [value], name=names.fresh(f"{value.name}_guard"))
            output = guard.outputs[0]
            output.name, output.shape, output.type = str(guard.name), value.shape, value.type
            assert node.graph is not None
            node.graph.insert_before(node, guard)
            node.replace_input_with(0, output)
            changed = True
        return ir.passes.PassResult(model, changed)


def _from_product(value: ir.Value) -> bool:
    """Whether a product's output comes here without a branch, at most through Relu and Clip."""
    node = value.producer()
    while node is not None and node.op_type in _PASSED:
        source = node.inputs[0]
        node = None if source is None else source.producer()
    return node is not None and node.op_type in _ROUNDED
