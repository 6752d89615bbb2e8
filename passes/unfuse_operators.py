"""Fused operators, and learners -> standard operators, so that weights can be mapped."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from nvmc.errors import ModelError, NvmcError
from nvmc.passes.graph.attributes import MISFITS
from nvmc.passes.graph.names import Names
from nvmc.passes.infer_shapes import infer_shapes
from nvmc.passes.unfuse import learners
from nvmc.passes.unfuse.activations import bias_gelu, fast_gelu, gelu, quick_gelu
from nvmc.passes.unfuse.attention import attention, multi_head_attention
from nvmc.passes.unfuse.einsum import einsum
from nvmc.passes.unfuse.normalisation import (
    embed_layer_normalization,
    layer_normalization,
    simplified_layer_normalization,
    skip_layer_normalization,
    skip_simplified_layer_normalization,
)
from nvmc.passes.unfuse.products import fused_conv, fused_gemm, fused_matmul, left_gemm
from nvmc.passes.unfuse.rewriting import Rewriting, UnfusableError

__all__ = ["UNFUSED", "replace_node", "unfuse_operators"]

_MICROSOFT = "com.microsoft"
_BLOCKED = "com.microsoft.nchwc"
_ML = "ai.onnx.ml"

UNFUSED: dict[tuple[str, str], Callable[[Rewriting], list[ir.Value]]] = {
    ("", "Einsum"): einsum,
    ("", "Gemm"): left_gemm,
    (_ML, "ArrayFeatureExtractor"): learners.array_feature_extractor,
    (_ML, "Binarizer"): learners.binarizer,
    (_ML, "Imputer"): learners.imputer,
    (_ML, "LinearClassifier"): learners.linear_classifier,
    (_ML, "LinearRegressor"): learners.linear_regressor,
    (_ML, "Normalizer"): learners.normalizer,
    (_ML, "Scaler"): learners.scaler,
    (_MICROSOFT, "Attention"): attention,
    (_MICROSOFT, "BiasGelu"): bias_gelu,
    (_MICROSOFT, "EmbedLayerNormalization"): embed_layer_normalization,
    (_MICROSOFT, "FastGelu"): fast_gelu,
    (_MICROSOFT, "FusedConv"): fused_conv,
    (_MICROSOFT, "FusedGemm"): fused_gemm,
    (_MICROSOFT, "FusedMatMul"): fused_matmul,
    (_MICROSOFT, "FusedMatMulActivation"): fused_matmul,
    (_MICROSOFT, "Gelu"): gelu,
    (_MICROSOFT, "LayerNormalization"): layer_normalization,
    (_MICROSOFT, "MultiHeadAttention"): multi_head_attention,
    (_MICROSOFT, "QuickGelu"): quick_gelu,
    (_MICROSOFT, "SimplifiedLayerNormalization"): simplified_layer_normalization,
    (_MICROSOFT, "SkipLayerNormalization"): skip_layer_normalization,
    (_MICROSOFT, "SkipSimplifiedLayerNormalization"): skip_simplified_layer_normalization,
    (_MICROSOFT, "TransposeMatMul"): fused_matmul,
}
"""Operator to what builds its parts: the outputs of the node, from the first on."""


def unfuse_operators(model: ir.Model) -> bool:
    """Undo what onnxruntime's optimizer fused, and bring constant operands to the right of MatMul.

    The linear models and scalers of `ai.onnx.ml` are written out likewise.

    A node in a form that no rewriting knows stays, and is listed as digital.

    Raises:
        ModelError: The network has onnxruntime's blocked layout, which depends on the processor.
    """
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.domain == _BLOCKED:
            raise ModelError(
                f"{node.op_type} {node.name!r} has weights in blocks of one processor's size: the "
                "network was saved by onnxruntime at level all; save it at level basic (or "
                "extended), or give the network it was made of"
            )
    changed = False
    if any(_needs_shapes(node) for node in ir.traversal.RecursiveGraphIterator(model.graph)):
        changed = infer_shapes(model)
    while _unfuse_some(model):
        changed = True
        infer_shapes(model)  # some forms need the ranks of what others give
    return changed


def _needs_shapes(node: ir.Node) -> bool:
    return (node.domain, node.op_type) in UNFUSED and node.op_type != "Gemm"


def _unfuse_some(model: ir.Model) -> bool:
    changed = False
    names: Names | None = None
    for node in list(ir.traversal.RecursiveGraphIterator(model.graph)):
        build = UNFUSED.get((node.domain, node.op_type))
        if build is None:
            continue
        names = names or Names(model)
        rewriting = Rewriting(node, model.graph.opset_imports[""], names)
        try:
            outputs = build(rewriting)
        except NvmcError:
            raise
        except (UnfusableError, *MISFITS):
            for built in rewriting.nodes:
                built.resize_inputs(0)
            continue
        replace_node(node, rewriting.nodes, outputs)
        changed = True
    return changed


def replace_node(node: ir.Node, built: list[ir.Node], outputs: list[ir.Value]) -> None:
    """Put what a `Rewriting` built in a node's place.

    Args:
        node: The node; it is removed.
        built: The new nodes, in order.
        outputs: What takes the place of the node's outputs, from the first on.
    """
    pairs = [
        (old, new)
        for old, new in zip(node.outputs, outputs, strict=False)
        if old.uses() or old.is_graph_output()
    ]
    assert node.graph is not None
    ir.convenience.replace_nodes_and_values(
        node.graph, node, [node], built, [old for old, _ in pairs], [new for _, new in pairs]
    )
