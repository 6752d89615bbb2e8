"""Shape inference by onnx, without its weights travelling."""

from __future__ import annotations

import onnx.shape_inference
import onnx_ir as ir

from nvmc.passes.io.without_weights import without_weights

__all__ = ["contradiction", "infer_shapes"]


def infer_shapes(model: ir.Model) -> bool:
    """Fill in types and shapes of values, subgraphs included; returns whether any is new.

    Dynamic dimensions keep their names. Where inference fails, what is known stays.
    """
    # onnx_ir's ShapeInferencePass is not used: it gives sequences the type of a tensor, and logs
    # a traceback where inference fails.
    try:
        inferred = onnx.shape_inference.infer_shapes(without_weights(model), data_prop=True)
    except onnx.shape_inference.InferenceError:
        return False
    changed = False
    graphs = zip(model.graphs(), ir.from_proto(inferred).graphs(), strict=True)
    for graph, other in graphs:
        found = ir.convenience.create_value_mapping(other, include_subgraphs=False)
        known = ir.convenience.create_value_mapping(graph, include_subgraphs=False)
        for name, value in known.items():
            new = found.get(name)
            if new is None or new.type is None:
                continue
            if value.type != new.type:
                value.type, changed = new.type, True
            if new.shape is not None and value.shape != new.shape:
                value.shape, changed = new.shape, True
    return changed


def contradiction(model: ir.Model) -> str | None:
    """Where the shapes of a network contradict each other, in one line; None where they do not.

    onnxruntime finds some contradictions only once it runs the network, or constants are folded.
    """
    try:
        onnx.shape_inference.infer_shapes(without_weights(model), strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        return " ".join(str(error).split())
    return None
