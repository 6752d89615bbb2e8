"""Operators of `ai.onnx.ml` -> standard ones, so that their weights can be mapped and trained.

Exporters of scikit-learn write linear models and what prepares their inputs as operators of their
own, with the weights among the attributes. To add an operator: a function here, and its row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from nvmc.passes.graph.names import Names
from nvmc.passes.graph.replacing import Replacement

__all__ = ["expand_learners"]

DOMAIN = "ai.onnx.ml"
_WITH_AXES_INPUT = 18
"""The opset from which on reductions take their axes as an input."""

Expansion = Callable[[Replacement], list[ir.Value | None] | None]
"""Writes the standard operators and gives their results; None where it cannot, before it wrote."""


def expand_learners(model: ir.Model) -> bool:
    """Write out the operators of `_EXPANSIONS`; returns whether there was one.

    The others stay as they are. Every result is what onnxruntime's own kernel gives, but for
    rounding.
    """
    names: Names | None = None
    changed = False
    for node in list(ir.traversal.RecursiveGraphIterator(model.graph)):
        if node.domain != DOMAIN or node.op_type not in _EXPANSIONS:
            continue
        names = names or Names(model)
        place = Replacement(names, node)
        results = _EXPANSIONS[node.op_type](place)
        if results is not None:
            place.finish(results)
            changed = True
    return changed


def _x(place: Replacement) -> ir.Value:
    """The input as float32, which these operators compute in."""
    x = place.node.inputs[0]
    assert x is not None
    if x.dtype == ir.DataType.FLOAT:
        return x
    return place.op("Cast", x, to=ir.DataType.FLOAT)


def _floats(place: Replacement, name: str) -> np.ndarray | None:
    found = place.node.attributes.get_floats(name, None)
    return None if found is None else np.array(found, np.float32)


def _scaler(place: Replacement) -> list[ir.Value | None] | None:
    """(x - offset) scale."""
    offset, scale = _floats(place, "offset"), _floats(place, "scale")
    if offset is None or scale is None:
        return None
    off = place.op("Sub", _x(place), place.constant("offset", offset))
    return [place.op("Mul", off, place.constant("scale", scale))]


def _normalizer(place: Replacement) -> list[ir.Value | None] | None:
    """X over its largest number, its sum of magnitudes, or its length, along the last axis.

    Where that is 0, x is kept.
    """
    norm = (place.node.attributes.get_string("norm", "MAX") or "MAX").upper()
    reduction = {"MAX": "ReduceMax", "L1": "ReduceL1", "L2": "ReduceL2"}.get(norm)
    if reduction is None or place.node.graph is None:
        return None
    x = _x(place)
    opset = place.node.graph.opset_imports.get("", _WITH_AXES_INPUT)
    if opset >= _WITH_AXES_INPUT:
        axes = place.constant("axes", np.array([-1], np.int64))
        size = place.op(reduction, x, axes, keepdims=1)
    else:
        size = place.op(reduction, x, axes=[-1], keepdims=1)
    none = place.op("Equal", size, place.constant("zero", np.float32(0)))
    return [place.op("Div", x, place.op("Where", none, place.constant("one", np.float32(1)), size))]


def _scores(place: Replacement, rows: int) -> ir.Value | None:
    """X W^T + b with the coefficients (rows, inputs) of a linear model."""
    coefficients, intercepts = _floats(place, "coefficients"), _floats(place, "intercepts")
    if coefficients is None or rows < 1 or len(coefficients) % rows:
        return None
    intercepts = np.zeros(rows, np.float32) if intercepts is None else intercepts
    if len(intercepts) != rows:
        return None
    weight = place.constant("coefficients", coefficients.reshape(rows, -1))
    return place.op("Gemm", _x(place), weight, place.constant("intercepts", intercepts), transB=1)


_TRANSFORMS = {"NONE": None, "SOFTMAX": "Softmax", "LOGISTIC": "Sigmoid"}


def _transformed(place: Replacement, scores: ir.Value) -> ir.Value:
    op = _TRANSFORMS[_transform(place)]
    if op is None:
        return scores
    return place.op(op, scores, axis=-1) if op == "Softmax" else place.op(op, scores)


def _transform(place: Replacement) -> str:
    return place.node.attributes.get_string("post_transform", "NONE") or "NONE"


def _linear_regressor(place: Replacement) -> list[ir.Value | None] | None:
    if _transform(place) not in _TRANSFORMS:
        return None
    scores = _scores(place, place.node.attributes.get_int("targets", 1) or 1)
    return None if scores is None else [_transformed(place, scores)]


def _linear_classifier(place: Replacement) -> list[ir.Value | None] | None:
    """Label and scores, of a classifier that has a score for each of its classes."""
    node = place.node
    numbers = node.attributes.get_ints("classlabels_ints", None)
    texts = node.attributes.get_strings("classlabels_strings", None)
    count = len(numbers or texts or ())
    intercepts = _floats(place, "intercepts")
    if _transform(place) not in _TRANSFORMS or intercepts is None or len(intercepts) != count:
        return None
    scores = _scores(place, count) if count > 1 else None
    if scores is None:
        return None
    label = None
    if node.outputs[0].uses() or node.outputs[0].is_graph_output():
        best = place.op("ArgMax", scores, axis=-1, keepdims=0)
        labels = np.array(numbers, np.int64) if numbers else np.array(texts, object)
        label = place.op("Gather", place.constant("classes", labels), best, axis=0)
    return [label, _transformed(place, scores)][: len(node.outputs)]


def _binarizer(place: Replacement) -> list[ir.Value | None] | None:
    x = place.node.inputs[0]
    threshold = np.float32(place.node.attributes.get_float("threshold", 0.0) or 0.0)
    above = place.op("Greater", _x(place), place.constant("threshold", threshold))
    kind = ir.DataType.FLOAT if x is None or x.dtype is None else x.dtype
    return [place.op("Cast", above, to=kind)]


def _imputer(place: Replacement) -> list[ir.Value | None] | None:
    x, given = place.node.inputs[0], _floats(place, "imputed_value_floats")
    if x is None or x.dtype != ir.DataType.FLOAT or given is None:
        return None
    old = np.float32(place.node.attributes.get_float("replaced_value_float", 0.0) or 0.0)
    missing = (
        place.op("IsNaN", x)
        if np.isnan(old)
        else place.op("Equal", x, place.constant("missing", old))
    )
    return [place.op("Where", missing, place.constant("imputed", given), x)]


def _array_feature_extractor(place: Replacement) -> list[ir.Value | None] | None:
    """The columns that the second input names; a vector counts as one row."""
    x, chosen = place.node.inputs
    if x is None or x.shape is None:
        return None
    flat = place.op("Reshape", chosen, place.constant("all", np.array([-1], np.int64)))
    columns = place.op("Gather", x, flat, axis=len(x.shape) - 1)
    if len(x.shape) == 1:
        columns = place.op("Unsqueeze", columns, place.constant("first", np.array([0], np.int64)))
    return [columns]


_EXPANSIONS: dict[str, Expansion] = {
    "ArrayFeatureExtractor": _array_feature_extractor,
    "Binarizer": _binarizer,
    "Imputer": _imputer,
    "LinearClassifier": _linear_classifier,
    "LinearRegressor": _linear_regressor,
    "Normalizer": _normalizer,
    "Scaler": _scaler,
}
