"""The node test cases that ship with onnx, each weight moved to the `weights` argument."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from backend_cases import cases_of
from nvmc.compiled.operators import OPS
from nvmc.runtime.crossbar import kernels
from nvmc.runtime.crossbar.operand import ExactOperand

ROWS = {op.replaces: op for op in OPS.values() if op.name == f"Crossbar{op.replaces}"}


@pytest.fixture(scope="module")
def cases() -> list[Any]:
    return cases_of(ROWS)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    for name, value in values.items():
        if isinstance(value, bytes):
            values[name] = value.decode()
        elif name == "activations":
            values[name] = [v.decode() for v in value]
    return values


def test_all_operators_have_cases(cases: list[Any]) -> None:
    covered = {case.model.graph.node[0].op_type for case in cases}
    assert covered == set(ROWS)


@pytest.mark.parametrize("operator", sorted(ROWS))
def test_backend_cases(operator: str, cases: list[Any]) -> None:
    for case in cases:
        if case.model.graph.node[0].op_type == operator:
            check(case)


def check(case: Any) -> None:
    node = case.model.graph.node[0]
    op = ROWS[node.op_type]
    kernel = getattr(kernels, op.kernel.split(":")[1])
    for fed, expected in case.data_sets:
        by_name = dict(zip((i.name for i in case.model.graph.input), fed, strict=True))
        given = dict(zip(op.inputs, (by_name.get(name) for name in node.input), strict=False))
        weights = [np.asarray(given[name]).astype(np.float32) for name in op.weights]
        inputs = [None if name in op.weights else given.get(name) for name in op.inputs]
        operands = [ExactOperand(weight) for weight in weights]
        found = kernel(inputs, operands, _attributes(node))
        wanted = dict(zip((o.name for o in case.model.graph.output), expected, strict=True))
        for name, value in zip(node.output, found, strict=False):
            if name:
                assert value.dtype == wanted[name].dtype, case.name
                assert value.shape == wanted[name].shape, case.name
                # the cases' own tolerances, set by onnx for any backend
                np.testing.assert_allclose(
                    value, wanted[name], case.rtol, case.atol, err_msg=case.name
                )
