"""The kernels of the `nvmc` operators: one function per row of `nvmc.compiled.operators.OPS`.

Every kernel is called as `kernel(inputs, weights, attributes)`:

    inputs      the standard operator's inputs in order; None where absent, and in the places of
                the weights; read-only, not kept
    weights     an `Operand` for each weight, in the order of `Op.weights`
    attributes  the node's attributes; an absent one has its ONNX default; strings are `str`

and returns all outputs in order, in the dtype of the activations (float16, float32 or float64;
float16 is computed in float32). What is computed for one image does not depend on the rest of its
batch. docs/operators.md specifies each operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import ModelError
from nvmc.hardware.tiling import Place, matrix_of
from nvmc.runtime.crossbar.convolution import convolve, convolve_transposed
from nvmc.runtime.crossbar.dense import multiply, multiply_left
from nvmc.runtime.crossbar.geometry import conv_window, transpose_window
from nvmc.runtime.crossbar.lowering import computing, expect
from nvmc.runtime.crossbar.operand import Operand
from nvmc.runtime.crossbar.recurrent_layer import recurrent_layer

__all__ = [
    "conv",
    "conv_transpose",
    "gemm",
    "gru",
    "left_matmul",
    "lstm",
    "matmul",
    "parameter",
    "rnn",
]

Tensor = NDArray[Any]
Real = NDArray[np.floating[Any]]
Inputs = Sequence[Tensor | None]
Attributes = Mapping[str, Any]


def conv(inputs: Inputs, weights: Sequence[Operand], attributes: Attributes) -> list[Tensor]:
    """Conv of any rank; X (N, C, *spatial), W (M, C / group, *kernel), B (M).

    Raises:
        ModelError: The shapes or attributes do not fit.
    """
    given, weight = _given(inputs, 0), weights[0]
    groups = _groups(attributes, weight)
    channels = weight.shape[1] * groups
    expect("X of Conv", given.shape, ("N", channels, *_named(len(weight.shape) - 2)))
    x = computing(given)
    window = conv_window(attributes, x.shape[2:], weight.shape[2:])
    mvm = weight.mvm(Place("CrossbarConv", groups), entries=len(x), dtype=x.dtype)
    bias = _bias(inputs, "Conv", weight.shape[0], x.dtype)
    y = convolve(x, mvm, groups, weight.shape[0] // groups, window, bias)
    return [y.astype(given.dtype, copy=False)]


def conv_transpose(
    inputs: Inputs, weights: Sequence[Operand], attributes: Attributes
) -> list[Tensor]:
    """ConvTranspose of any rank; X (N, C, *spatial), W (C, M / group, *kernel), B (M).

    Raises:
        ModelError: The shapes or attributes do not fit.
    """
    given, weight = _given(inputs, 0), weights[0]
    groups = _groups(attributes, weight)
    spatial = _named(len(weight.shape) - 2)
    expect("X of ConvTranspose", given.shape, ("N", weight.shape[0], *spatial))
    x = computing(given)
    window = transpose_window(attributes, x.shape[2:], weight.shape[2:])
    mvm = weight.mvm(Place("CrossbarConvTranspose", groups), entries=len(x), dtype=x.dtype)
    bias = _bias(inputs, "ConvTranspose", weight.shape[1] * groups, x.dtype)
    y = convolve_transposed(x, mvm, groups, weight.shape[1], window)
    if bias is not None:
        y += bias.reshape(-1, *(1,) * len(spatial))
    return [y.astype(given.dtype, copy=False)]


def gemm(inputs: Inputs, weights: Sequence[Operand], attributes: Attributes) -> list[Tensor]:
    """Gemm: alpha A' B' + beta C, B' (K, N) on the array; alpha and beta are digital.

    Raises:
        ModelError: The shapes do not fit.
    """
    given, weight = _given(inputs, 0), weights[0]
    place = Place.of("CrossbarGemm", attributes)
    matrix = matrix_of(place, weight.shape)
    rows, cols = matrix.rows, matrix.cols
    turned = bool(attributes.get("transA", 0))
    expect("A of Gemm", given.shape, (rows, "M") if turned else ("M", rows))
    x = computing(given)
    x = x.T if turned else x
    mvm = weight.mvm(place, entries=len(x), dtype=x.dtype)
    y = mvm(x[:, None, None])[:, 0, 0]
    y = y * y.dtype.type(attributes.get("alpha", 1.0))
    offset = inputs[2] if len(inputs) > 2 else None
    if offset is not None:
        if not _broadcasts(offset.shape, (len(x), cols)):
            raise ModelError(
                f"C of Gemm has shape {list(offset.shape)}; expected one that broadcasts to "
                f"{[len(x), cols]}: feed that shape"
            )
        y = y + y.dtype.type(attributes.get("beta", 1.0)) * offset.astype(y.dtype, copy=False)
    return [y.astype(given.dtype, copy=False)]


def matmul(inputs: Inputs, weights: Sequence[Operand], attributes: Attributes) -> list[Tensor]:
    """MatMul by weights on the right, of any rank: `numpy.matmul(A, W)`.

    Raises:
        ModelError: The shapes do not fit.
    """
    del attributes
    given, weight = _given(inputs, 0), weights[0]
    x = computing(_at_least_1d(given))
    return [multiply(x, weight).astype(given.dtype, copy=False)]


def left_matmul(inputs: Inputs, weights: Sequence[Operand], attributes: Attributes) -> list[Tensor]:
    """MatMul by weights on the left, of any rank: `numpy.matmul(W, B)`.

    Raises:
        ModelError: The shapes do not fit.
    """
    del attributes
    given, weight = _given(inputs, 1), weights[0]
    x = computing(_at_least_1d(given))
    return [multiply_left(x, weight).astype(given.dtype, copy=False)]


def parameter(inputs: Inputs, weights: Sequence[Operand], attributes: Attributes) -> list[Tensor]:
    """The weights themselves, read out of the cells, in float32."""
    del inputs, attributes
    return [weights[0].values()]


def lstm(inputs: Inputs, weights: Sequence[Operand], attributes: Attributes) -> list[Tensor]:
    """LSTM: Y, Y_h and Y_c. W (dirs, 4H, I) and R (dirs, 4H, H) on arrays; P, B digital.

    Raises:
        ModelError: The shapes or attributes do not fit.
    """
    return recurrent_layer("LSTM", 4, ("Sigmoid", "Tanh", "Tanh"), inputs, weights, attributes)


def gru(inputs: Inputs, weights: Sequence[Operand], attributes: Attributes) -> list[Tensor]:
    """GRU: Y and Y_h. W (dirs, 3H, I) and R (dirs, 3H, H) on arrays; B digital.

    Raises:
        ModelError: The shapes or attributes do not fit.
    """
    return recurrent_layer("GRU", 3, ("Sigmoid", "Tanh"), inputs, weights, attributes)


def rnn(inputs: Inputs, weights: Sequence[Operand], attributes: Attributes) -> list[Tensor]:
    """RNN: Y and Y_h. W (dirs, H, I) and R (dirs, H, H) on arrays; B digital.

    Raises:
        ModelError: The shapes or attributes do not fit.
    """
    return recurrent_layer("RNN", 1, ("Tanh",), inputs, weights, attributes)


def _given(inputs: Inputs, index: int) -> Tensor:
    value = inputs[index] if index < len(inputs) else None
    if value is None:
        raise ModelError(f"input {index} is missing; expected the activations there")
    return value


def _groups(attributes: Attributes, weight: Operand) -> int:
    groups = int(attributes.get("group", 1))
    if len(weight.shape) < 3 or groups < 1 or weight.shape[0] % groups:
        raise ModelError(
            f"convolution weights have shape {list(weight.shape)} in {groups} groups; expected "
            "at least one spatial axis and a first size that the groups divide"
        )
    return groups


def _named(rank: int) -> tuple[str, ...]:
    return tuple(f"D{axis + 1}" for axis in range(rank))


def _bias(inputs: Inputs, op: str, channels: int, dtype: np.dtype[Any]) -> Real | None:
    bias = inputs[2] if len(inputs) > 2 else None
    if bias is None:
        return None
    expect(f"B of {op}", bias.shape, (channels,))
    return bias.astype(dtype, copy=False)


def _at_least_1d(x: Tensor) -> Tensor:
    if x.ndim == 0:
        raise ModelError("a scalar is fed to MatMul; expected at least one axis")
    return x


def _broadcasts(shape: tuple[int, ...], onto: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, onto) == onto
    except ValueError:
        return False
