"""Shapes and attributes that do not fit say what was found and what was expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crossbar_kernels import run
from nvmc.errors import ModelError
from nvmc.runtime.crossbar import kernels
from strategies import Case


def _z(*shape: int, dtype: type = np.float32) -> np.ndarray[Any, Any]:
    return np.zeros(shape, dtype)


def _conv(**attributes: Any) -> Case:
    return Case("Conv", [_z(1, 2, 5, 5), _z(4, 2, 3, 3), None], attributes)


def _transposed(**attributes: Any) -> Case:
    return Case("ConvTranspose", [_z(1, 2, 5), _z(2, 4, 3), None], attributes)


def _lstm(**attributes: Any) -> Case:
    return Case("LSTM", [_z(3, 2, 5), _z(1, 16, 5), _z(1, 16, 4)], attributes)


def _lstm_with(index: int, value: np.ndarray[Any, Any]) -> Case:
    inputs = [*_lstm().inputs, *[None] * 5]
    inputs[index] = value
    return Case("LSTM", inputs)


WRONG = [
    (Case("Conv", [_z(1, 3, 5, 5), _z(4, 2, 3, 3)]), r"\[1, 3, 5, 5\].*expected \[N, 2, D1, D2\]"),
    (Case("Conv", [_z(1, 2, 5), _z(4, 2, 3, 3)]), r"\[1, 2, 5\].*expected \[N, 2, D1, D2\]"),
    (Case("Conv", [_z(1, 2), _z(4, 2)]), r"\[4, 2\].*at least one spatial axis"),
    (Case("Conv", [_z(1, 2, 5), _z(4, 2, 3), _z(3)]), r"B of Conv has shape \[3\].*\[4\]"),
    (Case("Conv", [_z(1, 2, 2), _z(4, 2, 3)]), r"\[2\].*smaller than.*\[3\]"),
    (_conv(group=3), r"\[4, 2, 3, 3\] in 3 groups"),
    (_conv(group=0), "0 groups"),
    (_conv(kernel_shape=[3, 2]), r"kernel_shape is \[3, 2\].*\[3, 3\]"),
    (_conv(strides=[1]), r"strides is \[1\].*2 values"),
    (_conv(strides=[0, 1]), r"strides \(0, 1\).*at least 1"),
    (_conv(pads=[1, 1]), r"pads is \[1, 1\].*4 values"),
    (_conv(pads=[-1, 0, 0, 0]), r"pads are \[-1, 0, 0, 0\].*at least 0"),
    (_conv(auto_pad="SAME"), "auto_pad is 'SAME'.*SAME_UPPER"),
    (Case("ConvTranspose", [_z(1, 3, 5), _z(2, 4, 3)]), r"\[1, 3, 5\].*\[N, 2, D1\]"),
    (_transposed(pads=[5, 5]), r"pads \[5, 5\].*\[-3\]"),
    (_transposed(pads=[-1, 0]), r"pads \[-1, 0\].*at least 0"),
    (_transposed(output_padding=[0, 1]), r"output_padding is \[0, 1\].*1 values"),
    (_transposed(output_shape=[]), r"output_shape is \[\].*1 sizes"),
    (Case("Gemm", [_z(2, 3), _z(4, 5)]), r"A of Gemm has shape \[2, 3\].*\[M, 4\]"),
    (Case("Gemm", [_z(2, 3), _z(4, 5)], {"transA": 1}), r"\[2, 3\].*\[4, M\]"),
    (Case("Gemm", [_z(2, 4), _z(4, 5), _z(3)]), r"C of Gemm has shape \[3\].*\[2, 5\]"),
    (Case("Gemm", [_z(1, 4), _z(4, 5), _z(2, 5)]), r"C of Gemm has shape \[2, 5\].*\[1, 5\]"),
    (Case("MatMul", [_z(2, 3), _z(4, 5)]), r"\[2, 3\].*\[4, 5\].*expected 4"),
    (Case("MatMul", [_z(2, 1, 4), _z(3, 4, 5)]), r"\[2\].*\[3\].*broadcast"),
    (Case("MatMul", [_z(), _z(4, 5)]), "scalar"),
    (_lstm(direction="backward"), "direction of LSTM is 'backward'.*bidirectional"),
    (_lstm(direction="bidirectional"), r"R of LSTM has shape \[1, 16, 4\].*\[2, 16, 4\]"),
    (_lstm(hidden_size=5), "hidden_size of LSTM is 5.*expected 4"),
    (_lstm(clip=-1.0), "clip of LSTM is -1.0.*more than 0"),
    (_lstm(activations=["Tanh"]), r"\['Tanh'\].*expected 3 for each of 1"),
    (_lstm(activations=["Tanh", "Gelu", "Tanh"]), "'Gelu' is unknown.*'tanh'"),
    (_lstm(activations=["Affine", "Tanh", "Tanh"]), "'Affine' has no default"),
    (_lstm_with(0, _z(3, 2, 6)), r"X of LSTM has shape \[3, 2, 6\].*\[steps, batch, 5\]"),
    (_lstm_with(1, _z(1, 12, 5)), r"W of LSTM has shape \[1, 12, 5\].*\[1, 16, 5\]"),
    (_lstm_with(3, _z(1, 16)), r"B of LSTM has shape \[1, 16\].*\[1, 32\]"),
    (_lstm_with(4, _z(3, dtype=np.int32)), r"sequence_lens of LSTM has shape \[3\].*\[2\]"),
    (_lstm_with(4, np.array([1, 4], np.int32)), "from 1 to 4; expected 0 to 3"),
    (_lstm_with(5, _z(1, 3, 4)), r"initial state of LSTM has shape \[1, 3, 4\].*\[1, 2, 4\]"),
    (_lstm_with(7, _z(1, 16)), r"P of LSTM has shape \[1, 16\].*\[1, 12\]"),
]


@pytest.mark.parametrize(("case", "message"), WRONG)
def test_what_does_not_fit(case: Case, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        run(case)
    assert "\n" not in str(caught.value)


def test_left_matmul_that_does_not_fit() -> None:
    with pytest.raises(ModelError, match=r"\[2, 3\] by \[4, 5\]; expected 3"):
        run(Case("MatMul", [_z(2, 3), _z(4, 5)]), "LeftMatMul")


@pytest.mark.parametrize("dtype", [np.int32, np.complex64])
def test_activations_are_floating_point(dtype: type) -> None:
    with pytest.raises(ModelError, match=f"are {np.dtype(dtype)}; expected float16"):
        run(Case("MatMul", [_z(2, 4, dtype=dtype), _z(4, 5)]))


@pytest.mark.parametrize("kernel", [kernels.conv, kernels.gemm, kernels.matmul, kernels.rnn])
def test_activations_are_needed(kernel: Any) -> None:
    with pytest.raises(ModelError, match="missing"):
        kernel([None, None], [_z(4, 4, 4), _z(4, 4, 4)], {})
