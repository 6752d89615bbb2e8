"""Operators of `ai.onnx.ml`, as exporters of scikit-learn write linear models and scalers.

Their weights are among the attributes; written out they can be mapped and trained. Every result is
what onnxruntime's own kernel gives, but for rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.passes.graph.attributes import floats_of, ints_of, strings_of
from nvmc.passes.unfuse.rewriting import Rewriting, UnfusableError

__all__ = [
    "array_feature_extractor",
    "binarizer",
    "imputer",
    "linear_classifier",
    "linear_regressor",
    "normalizer",
    "scaler",
]

_WITH_AXES_INPUT = 18
"""The opset from which on reductions take their axes as an input."""
_TRANSFORMS = {"NONE": None, "SOFTMAX": "Softmax", "LOGISTIC": "Sigmoid"}
_REDUCTIONS = {"MAX": "ReduceMax", "L1": "ReduceL1", "L2": "ReduceL2"}


def scaler(rw: Rewriting) -> list[ir.Value]:
    """(x - offset) scale."""
    off = rw.op("Sub", _x(rw), rw.array("offset", _floats(rw, "offset")))
    return [rw.op("Mul", off, rw.array("scale", _floats(rw, "scale")))]


def normalizer(rw: Rewriting) -> list[ir.Value]:
    """X over its largest number, its sum of magnitudes, or its length, along the last axis.

    Where that is 0, x is kept.
    """
    reduction = _REDUCTIONS.get(rw.text("norm", "MAX").upper())
    if reduction is None:
        raise UnfusableError("its norm is not known")
    x = _x(rw)
    if rw.opset >= _WITH_AXES_INPUT:
        size = rw.op(reduction, x, rw.constant([-1]), keepdims=1)
    else:
        size = rw.op(reduction, x, axes=[-1], keepdims=1)
    zero, one = (rw.array(f"{number}", np.float32(number)) for number in (0, 1))
    return [rw.op("Div", x, rw.op("Where", rw.op("Equal", size, zero), one, size))]


def linear_regressor(rw: Rewriting) -> list[ir.Value]:
    """X W^T + b, and what becomes of it."""
    return [_transformed(rw, _scores(rw, rw.int("targets", 1)))]


def linear_classifier(rw: Rewriting) -> list[ir.Value]:
    """Label and scores, of a classifier that has a score for each of its classes."""
    numbers = ints_of(rw.node, "classlabels_ints")
    texts = strings_of(rw.node, "classlabels_strings")
    count = len(numbers or texts or ())
    if count < 2 or len(_floats(rw, "intercepts")) != count:
        raise UnfusableError("it has one score for two classes")
    scores = _scores(rw, count)
    best = rw.op("ArgMax", scores, axis=-1, keepdims=0)
    labels = np.array(numbers, np.int64) if numbers else np.array(texts, object)
    label = rw.op("Gather", rw.array("classes", labels), best, axis=0)
    return [label, _transformed(rw, scores)]


def binarizer(rw: Rewriting) -> list[ir.Value]:
    """1 where x is above the threshold, else 0."""
    threshold = rw.array("threshold", np.float32(rw.float("threshold", 0.0)))
    kind = rw.needed(0).dtype or ir.DataType.FLOAT
    return [rw.op("Cast", rw.op("Greater", _x(rw), threshold), to=kind)]


def imputer(rw: Rewriting) -> list[ir.Value]:
    """X with other numbers where it has the one that stands for nothing."""
    x, given = rw.needed(0), _floats(rw, "imputed_value_floats")
    if x.dtype != ir.DataType.FLOAT:
        raise UnfusableError("its numbers are not float32")
    old = np.float32(rw.float("replaced_value_float", 0.0))
    equal = rw.op("IsNaN", x) if np.isnan(old) else rw.op("Equal", x, rw.array("missing", old))
    return [rw.op("Where", equal, rw.array("imputed", given), x)]


def array_feature_extractor(rw: Rewriting) -> list[ir.Value]:
    """The columns that the second input names; a vector counts as one row."""
    x, rank = rw.needed(0), rw.rank(rw.needed(0))
    columns = rw.op("Gather", x, rw.op("Reshape", rw.needed(1), rw.constant([-1])), axis=rank - 1)
    return [columns if rank > 1 else rw.op("Unsqueeze", columns, rw.constant([0]))]


def _x(rw: Rewriting) -> ir.Value:
    """The input as float32, which these operators compute in."""
    x = rw.needed(0)
    return x if x.dtype == ir.DataType.FLOAT else rw.op("Cast", x, to=ir.DataType.FLOAT)


def _floats(rw: Rewriting, name: str) -> NDArray[np.float32]:
    found = floats_of(rw.node, name, None)
    if found is None:
        raise UnfusableError(f"it has no {name}")
    return np.array(found, np.float32)


def _scores(rw: Rewriting, rows: int) -> ir.Value:
    """X W^T + b with the coefficients (rows, inputs) of a linear model."""
    if rw.text("post_transform", "NONE") not in _TRANSFORMS:
        raise UnfusableError("what becomes of its scores is not known")
    weight = _floats(rw, "coefficients")
    given: Any = floats_of(rw.node, "intercepts", None)
    bias = np.zeros(rows, np.float32) if given is None else np.array(given, np.float32)
    if rows < 1 or weight.size % rows or bias.size != rows:
        raise UnfusableError("its coefficients do not fit")
    inputs = rw.array("coefficients", weight.reshape(rows, -1)), rw.array("intercepts", bias)
    return rw.op("Gemm", _x(rw), *inputs, transB=1, main=True)


def _transformed(rw: Rewriting, scores: ir.Value) -> ir.Value:
    op = _TRANSFORMS[rw.text("post_transform", "NONE")]
    if op is None:
        return scores
    return rw.op(op, scores, axis=-1) if op == "Softmax" else rw.op(op, scores)
