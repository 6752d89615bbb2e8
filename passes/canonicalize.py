"""canonicalize: one form of network for every pass behind it."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir
import onnx_ir.passes.common as common

from nvmc.passes.convert_opset import convert_opset, inline_functions
from nvmc.passes.dequantize import dequantize
from nvmc.passes.fold_constants import Fold, fold_constants, lift_constants
from nvmc.passes.fold_shapes import fold_shapes
from nvmc.passes.graph.assumptions import assume
from nvmc.passes.graph.names import name_nodes
from nvmc.passes.graph.sizes import check_runs
from nvmc.passes.infer_shapes import infer_shapes
from nvmc.passes.inline_branches import inline_branches
from nvmc.passes.normal_forms import explicit_pads, fuse_gemm
from nvmc.passes.unfuse_operators import unfuse_operators
from nvmc.passes.widen_floats import widen_floats

__all__ = ["OPSET", "Canonicalize"]

OPSET = 21
"""The opset older models are converted to; newer ones keep theirs."""
IR_VERSION = 10


@dataclass
class Canonicalize(ir.passes.InPlacePass):
    """Bring a network into one form without changing what it computes.

    In this order:

    - functions are inlined, and the opset is raised to 21;
    - constants become initializers of the main graph, and no initializer is an input any more;
    - bfloat16 becomes float32;
    - operators of quantised networks become float ones between QuantizeLinear and DequantizeLinear;
    - operators that onnxruntime fused, linear models and scalers of `ai.onnx.ml` and an Einsum with
      a constant side become standard ones;
    - what feeds weights, sizes that are the same for every input, and branches of a constant
      condition are computed;
    - shapes are inferred, `auto_pad` becomes pads where they are known, and MatMul + Add on
      matrices becomes Gemm;
    - dead nodes go, and every node has a name of its own.

    Attributes:
        folds: Where what is folded is noted, in order; None, the default, notes nothing.
    """

    folds: list[Fold] | None = field(init=False, default=None)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Canonicalise in place.

        Raises:
            ModelError: The opset cannot be converted.
            OutOfMemoryError: It asks for more memory than may be taken.
        """
        changed = model.ir_version < IR_VERSION
        model.ir_version = max(model.ir_version, IR_VERSION)
        changed |= lift_constants(model)
        changed |= inline_functions(model)
        changed |= convert_opset(model, OPSET)
        changed |= lift_constants(model)
        if widen_floats(model, [ir.DataType.BFLOAT16]):
            assume(model, "bfloat16 is computed in float32; the weights keep their values")
            changed = True
        changed |= dequantize(model, self.folds)
        if unfuse_operators(model):
            changed = True
            lift_constants(model)
        changed |= fold_constants(model, self.folds)
        while any([fold_shapes(model), inline_branches(model)]):
            changed = True
            fold_constants(model, self.folds)
        changed |= bool(common.RemoveUnusedNodesPass()(model).modified)
        changed |= infer_shapes(model)
        check_runs(model)
        changed |= explicit_pads(model)
        changed |= fuse_gemm(model)
        changed |= name_nodes(model)
        return ir.passes.PassResult(model, changed)
