"""Every operator on the provider as a noisy chip: its kernel on that chip's weights, to the bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, parser

from crossbar_kernels import run
from nvmc.compiled.operators import DOMAIN, OPS, VERSION, Op, function_text
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Target, load_device
from nvmc.hardware.encoding import quantize, scale_of
from nvmc.runtime.provider import make_session, record_claims
from strategies import (
    Case,
    conv_cases,
    conv_transpose_cases,
    gemm_cases,
    matmul_cases,
    recurrent_cases,
)

TARGET = Target.of(load_device("fefet2"))
CASES = {
    "Conv": conv_cases(),
    "ConvTranspose": conv_transpose_cases(),
    "Gemm": gemm_cases(),
    "MatMul": matmul_cases(),
    "LeftMatMul": matmul_cases(),
    "LSTM": recurrent_cases("LSTM"),
    "GRU": recurrent_cases("GRU"),
    "RNN": recurrent_cases("RNN"),
    "Parameter": matmul_cases().map(lambda case: Case("Identity", case.inputs[:1])),
}


def _cells(weight: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    bits = TARGET.weight_bits
    assert bits is not None
    scale = scale_of(weight, bits).astype(np.float32)
    return quantize(weight, scale, bits), scale


def _compiled(op: Op, case: Case) -> tuple[bytes, dict[str, NDArray[Any]]]:
    """The case as a compiled network of one node, and what to feed it."""
    given = [*case.inputs, *(None,) * (len(op.inputs) - len(case.inputs))]
    constants: dict[str, NDArray[Any]] = {}
    feeds: dict[str, NDArray[Any]] = {}
    for name, value in zip(op.inputs, given, strict=True):
        if name in op.weights:
            constants[f"{name}_codes"], constants[f"{name}_scale"] = _cells(value)
        elif value is not None:
            feeds[name] = value
    names = [n if n in constants or n in feeds else "" for n in op.function_inputs]
    attributes = {"arrays": [f"array {name}" for name in op.weights], **case.attributes}
    node = helper.make_node(op.name, names, op.outputs, domain=DOMAIN, **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for n, v in feeds.items()
        ],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in op.outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    body = parser.parse_function(function_text(op, 21))
    body.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
    imports = [helper.make_opsetid("", 21), helper.make_opsetid(DOMAIN, VERSION)]
    model = helper.make_model(graph, opset_imports=imports, functions=[body], ir_version=10)
    helper.set_model_props(model, {"nvmc.target": TARGET.model_dump_json()})
    return model.SerializeToString(), feeds


def test_every_operator_has_cases() -> None:
    assert {f"Crossbar{name}" for name in CASES} == OPS.keys()


@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=8)
@given(data=st.data())
def test_the_provider_runs_the_kernel_on_the_chip(name: str, data: st.DataObject) -> None:
    op, case = OPS[f"Crossbar{name}"], data.draw(CASES[name])
    model, feeds = _compiled(op, case)
    with record_claims() as claims:
        session = make_session(model, chip=3, seed=5)
    assert [claim.reason for claim in claims] == [None]
    chip = Chip.of(TARGET, 5, 3)
    inputs = [*case.inputs]
    for weight in op.weights:
        index = op.inputs.index(weight)
        array = Array(f"array {weight}", *_cells(inputs[index]), TARGET)
        inputs[index] = chip.program(array).weights
    expected = run(replace(case, inputs=inputs), name)
    for found, value in zip(session.run(None, feeds), expected, strict=True):
        np.testing.assert_array_equal(found, value)
