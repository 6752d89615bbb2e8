"""The kernels in double precision against slow scalar loops, and against each other's layouts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import reference
from crossbar_kernels import run
from strategies import (
    Case,
    conv_cases,
    conv_transpose_cases,
    gemm_cases,
    matmul_cases,
    recurrent_cases,
)

# In float64 both sides round every one of at most a few hundred operations on numbers below 100:
# 100 * 300 * 2.2e-16 < 1e-11. Weights are float32 on both sides, exactly.
ATOL = 1e-11


def _double(case: Case) -> Case:
    return replace(
        case,
        inputs=[
            v.astype(np.float64) if v is not None and v.dtype == np.float32 else v
            for v in case.inputs
        ],
    )


def _explicit(case: Case) -> dict[str, Any]:
    """A convolution's attributes with every default written out; pads as given."""
    rank = case.inputs[1].ndim - 2
    given = case.attributes
    return {
        "group": given["group"],
        "strides": given["strides"],
        "dilations": given["dilations"],
        "pads": given.get("pads", [0] * (2 * rank)),
    }


@settings(max_examples=30)
@given(conv_cases().filter(lambda case: not case.attributes["auto_pad"].startswith("SAME")))
def test_conv(case: Case) -> None:
    expected = reference.conv(*case.inputs, **_explicit(case))
    (found,) = run(_double(case))
    np.testing.assert_allclose(found, expected, rtol=0, atol=ATOL)


@settings(max_examples=30)
@given(
    conv_transpose_cases().filter(
        lambda case: (
            case.attributes.get("auto_pad", "VALID") == "VALID"
            and "output_shape" not in case.attributes
        )
    )
)
def test_conv_transpose(case: Case) -> None:
    padding = case.attributes.get("output_padding", [0] * (case.inputs[1].ndim - 2))
    expected = reference.conv_transpose(*case.inputs, **_explicit(case), output_padding=padding)
    (found,) = run(_double(case))
    np.testing.assert_allclose(found, expected, rtol=0, atol=ATOL)


@given(gemm_cases())
def test_gemm(case: Case) -> None:
    a, b, c = case.inputs
    at = case.attributes
    a, b = (a.T if at["transA"] else a), (b.T if at["transB"] else b)
    expected = at["alpha"] * reference.matmul(a, b)
    expected = expected if c is None else expected + at["beta"] * c.astype(float)
    (found,) = run(_double(case))
    np.testing.assert_allclose(found, expected, rtol=0, atol=ATOL)


@pytest.mark.parametrize("name", ["MatMul", "LeftMatMul"])
@settings(max_examples=30)
@given(case=matmul_cases().filter(lambda case: all(v.ndim > 1 for v in case.inputs)))
def test_matmul(name: str, case: Case) -> None:
    (found,) = run(_double(case), name)
    np.testing.assert_allclose(found, reference.matmul(*case.inputs), rtol=0, atol=ATOL)


def _sequence(case: Case, d: int, n: int) -> tuple[NDArray[Any], ...]:
    """What the scalar oracles take for direction d of sequence n, in reading order."""
    x, w, r, b, lengths, h = case.inputs[:6]
    gates, hidden = w.shape[1] // r.shape[2], r.shape[2]
    steps = x[: lengths[n] if lengths is not None else len(x), n]
    reverse = case.attributes["direction"] == "reverse" or d == 1
    bias = np.zeros(2 * gates * hidden) if b is None else b[d]
    start = np.zeros(hidden) if h is None else h[d, n]
    return steps[::-1] if reverse else steps, w[d], r[d], bias, start


def _reference(case: Case, d: int, n: int) -> tuple[Any, ...]:
    x, w, r, b, h = _sequence(case, d, n)
    clip = case.attributes.get("clip", math.inf)
    if case.op == "RNN":
        return reference.rnn(x, w, r, b, h, clip=clip)
    if case.op == "GRU":
        linear = bool(case.attributes.get("linear_before_reset", 0))
        return reference.gru(x, w, r, b, h, clip=clip, linear_before_reset=linear)
    c, p = case.inputs[6:]
    cell = np.zeros(len(h)) if c is None else c[d, n]
    peepholes = np.zeros(3 * len(h)) if p is None else p[d]
    forget = bool(case.attributes.get("input_forget", 0))
    return reference.lstm(x, w, r, b, peepholes, h, cell, clip=clip, input_forget=forget)


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@given(data=st.data())
def test_recurrent(op: str, data: st.DataObject) -> None:
    case = data.draw(recurrent_cases(op))
    found = run(_double(case))
    y = found[0]
    for d in range(y.shape[1]):
        reverse = case.attributes["direction"] == "reverse" or d == 1
        for n in range(y.shape[2]):
            outputs, *last = _reference(case, d, n)
            if not outputs:  # as in onnxruntime
                last = [np.zeros(len(state)) for state in last]
            outputs = outputs[::-1] if reverse else outputs
            beyond = len(y) - len(outputs)
            expected = np.array([*outputs, *[[0.0] * y.shape[3]] * beyond])
            np.testing.assert_allclose(y[:, d, n], expected, rtol=0, atol=ATOL)
            for state, value in zip(last, found[1:], strict=True):
                np.testing.assert_allclose(value[d, n], state, rtol=0, atol=ATOL)


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@settings(max_examples=20)
@given(data=st.data())
def test_layout_only_moves_axes(op: str, data: st.DataObject) -> None:
    case = data.draw(recurrent_cases(op))
    y, *states = run(case)
    inputs = [
        v if v is None or index not in (0, 5, 6) else v.swapaxes(0, 1)
        for index, v in enumerate(case.inputs)
    ]
    moved = run(Case(op, inputs, {**case.attributes, "layout": 1}))
    np.testing.assert_array_equal(moved[0], y.transpose(2, 0, 1, 3))
    for found, expected in zip(moved[1:], states, strict=True):
        np.testing.assert_array_equal(found, expected.swapaxes(0, 1))
