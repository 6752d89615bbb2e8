"""Operators of `ai.onnx.ml`, written out, give what onnxruntime's own kernels give."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.graph.mappable import layers_of

ROWS = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
ROWS[2] = 0
ROWS[3] = -np.abs(ROWS[3])
HOLES = np.where(ROWS > 1, np.float32(np.nan), ROWS)
LINEAR: dict[str, Any] = {
    "coefficients": np.linspace(-1, 1.3, 12).tolist(),
    "intercepts": [0.1, 0.2, -0.3],
}
Y = {"y": TensorProto.FLOAT}
BOTH = {"label": TensorProto.INT64, "scores": TensorProto.FLOAT}


def _proto(
    op: str, x: np.ndarray, outputs: dict[str, int], attributes: dict[str, Any], opset: int = 18
) -> onnx.ModelProto:
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], list(outputs), "learner", domain="ai.onnx.ml", **attributes)],
        "g",
        [info("x", kind, ["N", *x.shape[1:]])],
        [info(name, out, None) for name, out in outputs.items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def _run(proto: onnx.ModelProto, x: np.ndarray) -> Any:
    session: Any = ort.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})


def _expanded(proto: onnx.ModelProto) -> ir.Model:
    model = ir.from_proto(proto)
    Canonicalize()(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    return model


CASES: list[tuple[str, np.ndarray, dict[str, int], dict[str, Any]]] = [
    ("Scaler", ROWS, Y, {"offset": [1.0, 2.0, 3.0, 4.0], "scale": [0.5, 1.0, 2.0, 3.0]}),
    ("Scaler", ROWS, Y, {"offset": [1.0], "scale": [0.5]}),
    ("Scaler", (ROWS * 10).astype(np.int64), Y, {"offset": [1.0], "scale": [0.5]}),
    *[("Normalizer", ROWS, Y, {"norm": norm}) for norm in ("MAX", "L1", "L2")],
    ("Binarizer", ROWS, Y, {"threshold": 0.2}),
    (
        "Imputer",
        HOLES,
        Y,
        {"replaced_value_float": float("nan"), "imputed_value_floats": [1.0, 2.0, 3.0, 4.0]},
    ),
    ("Imputer", ROWS, Y, {"replaced_value_float": 0.0, "imputed_value_floats": [9.0]}),
]
for _transform in ("NONE", "SOFTMAX", "LOGISTIC"):
    _common = {**LINEAR, "post_transform": _transform}
    CASES += [
        ("LinearRegressor", ROWS, Y, {**_common, "targets": 3}),
        ("LinearClassifier", ROWS, BOTH, {**_common, "classlabels_ints": [5, 7, 9]}),
        (
            "LinearClassifier",
            ROWS,
            {"label": TensorProto.STRING, "scores": TensorProto.FLOAT},
            {**_common, "classlabels_strings": ["a", "b", "c"]},
        ),
    ]


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(("op", "x", "outputs", "attributes"), CASES)
def test_results_are_those_of_the_operator(
    op: str, x: np.ndarray, outputs: dict[str, int], attributes: dict[str, Any], opset: int
) -> None:
    proto = _proto(op, x, outputs, attributes, opset)
    model = _expanded(proto)
    assert not [node for node in model.graph if node.domain]
    for found, wanted in zip(_run(ir.to_proto(model), x), _run(proto, x), strict=True):
        assert found.shape == wanted.shape and found.dtype == wanted.dtype
        if found.dtype.kind == "f":
            np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=1e-6)
        else:
            assert np.array_equal(found, wanted)


@pytest.mark.parametrize("op", ["LinearRegressor", "LinearClassifier"])
def test_their_weights_are_a_layers(op: str) -> None:
    classes = {"classlabels_ints": [0, 1, 2]} if op == "LinearClassifier" else {"targets": 3}
    outputs = BOTH if op == "LinearClassifier" else Y
    (layer,) = layers_of(_expanded(_proto(op, ROWS, outputs, {**LINEAR, **classes})))
    weight = layer.weights[0].source
    assert weight.name == "learner.coefficients"
    assert weight.const_value is not None
    coefficients = np.reshape(LINEAR["coefficients"], (3, 4)).astype(np.float32)
    assert np.array_equal(weight.const_value.numpy(), coefficients)


@pytest.mark.parametrize(
    "attributes",
    [
        {**LINEAR, "post_transform": "SOFTMAX_ZERO", "classlabels_ints": [0, 1, 2]},
        {"coefficients": [1.0, 2, 3, 4], "intercepts": [0.5], "classlabels_ints": [0, 1]},
    ],
    ids=["transform", "one score of two classes"],
)
def test_what_cannot_be_written_out_stays(attributes: dict[str, Any]) -> None:
    proto = _proto("LinearClassifier", ROWS, BOTH, attributes)
    model = _expanded(proto)
    assert [node.op_type for node in model.graph] == ["LinearClassifier"]


def test_columns_of_rows_and_of_a_vector() -> None:
    info = helper.make_tensor_value_info
    vector = onnx.numpy_helper.from_array(np.array([3.0, 1.0, 2.0], np.float32), "vector")
    chosen = onnx.numpy_helper.from_array(np.array([[2, 0]], np.int64), "chosen")
    nodes = [
        helper.make_node("ArrayFeatureExtractor", ["x", "chosen"], ["a"], domain="ai.onnx.ml"),
        helper.make_node("ArrayFeatureExtractor", ["vector", "chosen"], ["v"], domain="ai.onnx.ml"),
        helper.make_node("Add", ["a", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", TensorProto.FLOAT, ["N", 4])],
        [info("y", TensorProto.FLOAT, ["N", 2])],
        [vector, chosen],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 1)]
    proto = helper.make_model(graph, opset_imports=imports, ir_version=9)
    model = _expanded(proto)
    assert not [node for node in model.graph if node.domain]
    (found,) = _run(ir.to_proto(model), ROWS)
    assert np.array_equal(found, ROWS[:, [2, 0]] + np.array([2, 3], np.float32))
    assert np.array_equal(found, _run(proto, ROWS)[0])
