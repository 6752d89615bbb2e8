"""The kernels against onnxruntime's own CPU kernels, over shapes and attributes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from crossbar_kernels import run
from nvmc.compiled.operators import OPS
from nvmc.errors import ModelError
from nvmc.runtime.crossbar.activations import ACTIVATIONS
from strategies import (
    Case,
    conv_cases,
    conv_transpose_cases,
    gemm_cases,
    matmul_cases,
    recurrent_cases,
)

EPS = float(np.finfo(np.float32).eps)
OUTPUTS = {"LSTM": 3, "GRU": 2, "RNN": 2}


def stock(case: Case) -> list[NDArray[Any]]:
    """The case's outputs from onnxruntime's CPU kernels."""
    names = [f"i{k}" if value is not None else "" for k, value in enumerate(case.inputs)]
    fed = {n: v for n, v in zip(names, case.inputs, strict=True) if n}
    outputs = [f"o{k}" for k in range(OUTPUTS.get(case.op, 1))]
    node = helper.make_node(case.op, names, outputs, **case.attributes)
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for n, v in fed.items()
    ]
    results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    model = helper.make_model(
        helper.make_graph([node], "g", infos, results),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(value) for value in session.run(None, fed)]


def magnitudes(case: Case) -> Case:
    """The case with every operand's magnitude: its result bounds sum |x| |w| + |b|."""
    inputs = [None if v is None else np.asarray(np.abs(v)) for v in case.inputs]
    numbers = {k: abs(v) for k, v in case.attributes.items() if k in ("alpha", "beta")}
    return replace(case, inputs=inputs, attributes={**case.attributes, **numbers})


def check_product(case: Case, terms: int, name: str | None = None) -> None:
    """Both sides sum `terms` products; each may be off by terms * eps / 2 of sum |x| |w|."""
    (found,), (expected,), (bound,) = run(case, name), stock(case), run(magnitudes(case), name)
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    # + 4: alpha, beta, the bias and the bound's own rounding
    assert np.all(np.abs(found - expected) <= (terms + 4) * EPS * bound)


@given(conv_cases())
def test_conv(case: Case) -> None:
    check_product(case, int(np.prod(case.inputs[1].shape[1:])))


@given(conv_transpose_cases())
def test_conv_transpose(case: Case) -> None:
    w = case.inputs[1]
    # an output gets at most one pixel of each input channel per tap
    check_product(case, w.shape[0] * int(np.prod(w.shape[2:])))


@given(gemm_cases())
def test_gemm(case: Case) -> None:
    check_product(case, max(case.inputs[0].shape))


@pytest.mark.parametrize("name", ["MatMul", "LeftMatMul"])
@given(case=matmul_cases())
def test_matmul(name: str, case: Case) -> None:
    check_product(case, case.inputs[0].shape[-1], name)


# Recurrent layers of at most 4 steps of 4 inputs and 4 units, weights within 0.5: a gate's sum has
# at most 11 terms and magnitude 7, so it is off by at most 11 * 7 * eps = 9e-6 in theory; a step
# lets an error of the state grow at most threefold (row sums of R up to 2, and the cell's own).
# Typical errors are a hundred times less: the bound is the worst case of all roundings agreeing.
RECURRENT_ATOL = 11 * 7 * EPS * (1 + 3 + 9 + 27)


def check_recurrent(case: Case) -> None:
    for found, expected in zip(run(case), stock(case), strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=RECURRENT_ATOL)


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@settings(suppress_health_check=[HealthCheck.differing_executors])
@given(data=st.data())
def test_recurrent(op: str, data: st.DataObject) -> None:
    check_recurrent(data.draw(recurrent_cases(op)))


def _layer(op: str, **attributes: Any) -> Case:
    rng = np.random.default_rng(7)
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    d = 2 if attributes.get("direction") == "bidirectional" else 1
    shapes = [(4, 3, 4), (d, gates * 4, 4), (d, gates * 4, 4), (d, 8 * gates)]
    values = [rng.uniform(-0.5, 0.5, shape).astype(np.float32) for shape in shapes]
    values[0] *= 2
    return Case(op, [*values], {"hidden_size": 4, **attributes})


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@pytest.mark.parametrize("extra", [{}, {"activation_alpha": [0.75], "activation_beta": [0.25]}])
def test_activation(name: str, extra: dict[str, Any]) -> None:
    if not extra and None in ACTIVATIONS[name][1]:
        with pytest.raises(ModelError, match="activation_alpha"):
            run(_layer("GRU", activations=["Sigmoid", name]))
        return
    # onnxruntime's RNN knows only three functions
    check_recurrent(_layer("GRU", activations=["Sigmoid", name], **extra))


def test_alphas_go_to_the_functions_that_have_one() -> None:
    functions = ["HardSigmoid", "Tanh", "LeakyRelu", "Sigmoid", "Elu", "ScaledTanh"]
    check_recurrent(
        _layer(
            "LSTM",
            direction="bidirectional",
            activations=functions,
            activation_alpha=[0.3, 0.125, 0.5, 0.75],
            activation_beta=[0.4, 0.6],
        )
    )


def test_directions_have_their_own_functions() -> None:
    functions = ["Sigmoid", "Tanh", "HardSigmoid", "Softsign"]
    check_recurrent(_layer("GRU", direction="bidirectional", activations=functions))


def test_every_output_is_compared() -> None:
    assert {name: len(OPS[f"Crossbar{name}"].outputs) for name in OUTPUTS} == OUTPUTS
