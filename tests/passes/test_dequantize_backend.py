"""The node test cases that ship with onnx of operators on integers, with constant weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from backend_cases import cases_of
from nvmc.passes.canonicalize import Canonicalize

# Older releases lack cases of newer operators, and have some that were mended since.
pytestmark = pytest.mark.skipif(
    onnx.defs.onnx_opset_version() < 28, reason="the cases of another release of onnx"
)

PRODUCTS = {"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"}
GIVEN = {"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"}
"""Operators that stay as they are."""


@pytest.fixture(scope="module")
def cases() -> list[Any]:
    return cases_of(PRODUCTS | GIVEN)


def test_cases_of_every_operator(cases: list[Any]) -> None:
    met = {case.model.graph.node[0].op_type for case in cases}
    assert met == PRODUCTS | GIVEN
    failed = [f"{case.name}: {problem}" for case in cases if (problem := problem_of(case))]
    assert not failed


def problem_of(case: Any) -> str:
    """What is wrong with a case whose operands but the first are constants."""
    for fed, expected in case.data_sets:
        proto = onnx.ModelProto()
        proto.CopyFrom(case.model)
        first, *others = proto.graph.input
        for value, given in zip(others, fed[1:], strict=True):
            proto.graph.initializer.append(
                onnx.numpy_helper.from_array(array_of(given), value.name)
            )
        del proto.graph.input[1:]
        model = ir.from_proto(proto)
        Canonicalize()(model)
        left = {node.op_type for node in model.graph} & PRODUCTS
        if left:
            return f"{left} is left"
        wanted = [value.name for value in case.model.graph.output]
        found = ReferenceEvaluator(ir.to_proto(model)).run(wanted, {first.name: array_of(fed[0])})
        for one, two in zip(found, map(array_of, expected), strict=True):
            if one.dtype != two.dtype or not np.array_equal(one, two):
                return f"{one} instead of {two}"
    return ""


def array_of(given: Any) -> np.ndarray:
    """Cases hold protobuf tensors where NumPy lacks the type."""
    tensor = isinstance(given, onnx.TensorProto)
    return onnx.numpy_helper.to_array(given) if tensor else np.asarray(given)
