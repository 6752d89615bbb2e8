"""Operators on integers with scales at both ends: QLinearConv, QGemm and their like."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.passes.dequantize.rewrite import Rewrite
from nvmc.passes.graph.attributes import float_of, int_of

__all__ = ["QLINEAR"]

_MS = "com.microsoft"
_WINDOW = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")


def _conv(rewrite: Rewrite) -> bool:
    """QLinearConv; of com.microsoft's only the layout of ONNX."""
    if int_of(rewrite.node, "channels_last", 0):
        return False
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias = rewrite.inputs(9)
    operands = [
        rewrite.dequantized(x, x_scale, x_zero),
        rewrite.dequantized(w, w_scale, w_zero, axis=0),
    ]
    if bias is not None:
        operands.append(_bias(rewrite, bias, x_scale, w_scale, None))
    settings = rewrite.kept("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    product = rewrite.op("Conv", *operands, **settings)
    return rewrite.finish(rewrite.quantized(product, y_scale, y_zero))


def _bias(
    rewrite: Rewrite,
    bias: ir.Value,
    x_scale: ir.Value | None,
    w_scale: ir.Value | None,
    alpha: float | None,
) -> ir.Value:
    """A bias of 32 bits in steps of the products, times alpha where there is one."""
    step = rewrite.op("Mul", x_scale, w_scale)
    if alpha is not None and alpha != 1:
        step = rewrite.op("Mul", step, rewrite.constant("alpha", _float(alpha)))
    return rewrite.op("Mul", rewrite.op("Cast", bias, to=ir.DataType.FLOAT), step)


def _float(number: float) -> np.ndarray:
    return np.asarray(number, np.float32)


def _matmul(rewrite: Rewrite) -> bool:
    """QLinearMatMul: a step for all of an operand, for each row of A or for each column of B."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = rewrite.inputs(8)
    if any(_by_matrix(rewrite.array(value)) for value in (a_scale, a_zero, b_scale, b_zero)):
        return False
    flat = [rewrite.flat(value) for value in (a_scale, a_zero, b_scale, b_zero)]
    left = rewrite.dequantized(a, *flat[:2], axis=rewrite.axis(a, -2))
    right = rewrite.dequantized(b, *flat[2:], axis=rewrite.axis(b, -1))
    product = rewrite.op("MatMul", left, right)
    return rewrite.finish(rewrite.quantized(product, y_scale, y_zero))


def _by_matrix(values: NDArray[Any] | None) -> bool:
    """Whether steps or zero points differ from matrix to matrix of a stack."""
    return values is not None and values.ndim > 2 and math.prod(values.shape[:-2]) > 1


def _gemm(rewrite: Rewrite) -> bool:
    """QGemm; without a scale of the output it gives floating-point numbers."""
    a, a_scale, a_zero, b, b_scale, b_zero, c, y_scale, y_zero = rewrite.inputs(9)
    alpha = float_of(rewrite.node, "alpha", 1.0)
    transposed = int_of(rewrite.node, "transB", 0)
    operands = [
        rewrite.dequantized(a, a_scale, a_zero),
        rewrite.dequantized(b, b_scale, b_zero, axis=0 if transposed else 1),
    ]
    if c is not None:
        operands.append(_bias(rewrite, c, a_scale, b_scale, alpha))
    product = rewrite.op("Gemm", *operands, **rewrite.kept("alpha", "transA", "transB"))
    if y_scale is not None:
        product = rewrite.quantized(product, y_scale, y_zero)
    return rewrite.finish(product)


def _digital(op: str, operands: int, *attributes: str) -> Callable[[Rewrite], bool]:
    """An operator without weights: (value, scale, zero point) for each operand, then the output's.

    Args:
        op: The operator on floating-point numbers.
        operands: How many it has.
        *attributes: What it takes from the node.
    """

    def rewritten(rewrite: Rewrite) -> bool:
        if int_of(rewrite.node, "channels_last", 0):
            return False
        values = rewrite.inputs(3 * operands + 2)
        floats = [
            rewrite.dequantized(*values[first : first + 3]) for first in range(0, 3 * operands, 3)
        ]
        result = rewrite.op(op, *floats, **rewrite.kept(*attributes))
        return rewrite.finish(rewrite.quantized(result, *values[-2:]))

    return rewritten


def _softmax(rewrite: Rewrite) -> bool:
    """QLinearSoftmax as opset 13 has it; the older one flattens."""
    if int_of(rewrite.node, "opset", 0) < 13:
        return False
    return _digital("Softmax", 1, "axis")(rewrite)


def _concat(rewrite: Rewrite) -> bool:
    """QLinearConcat: the output's scale and zero point come first."""
    values = rewrite.inputs(len(rewrite.node.inputs))
    floats = [rewrite.dequantized(*values[first : first + 3]) for first in range(2, len(values), 3)]
    result = rewrite.op("Concat", *floats, **rewrite.kept("axis"))
    return rewrite.finish(rewrite.quantized(result, *values[:2]))


def _where(rewrite: Rewrite) -> bool:
    condition, x, x_scale, x_zero, y, y_scale, y_zero, z_scale, z_zero = rewrite.inputs(9)
    chosen = rewrite.dequantized(x, x_scale, x_zero), rewrite.dequantized(y, y_scale, y_zero)
    result = rewrite.op("Where", condition, *chosen)
    return rewrite.finish(rewrite.quantized(result, z_scale, z_zero))


def _standard(rewrite: Rewrite) -> bool:
    """com.microsoft's QuantizeLinear and DequantizeLinear, which ONNX's have caught up with."""
    node = rewrite.node
    made = rewrite.op(node.op_type, *node.inputs, **rewrite.kept("axis"))
    return rewrite.finish(made)


QLINEAR: dict[tuple[str, str], Callable[[Rewrite], bool]] = {
    ("", "QLinearConv"): _conv,
    ("", "QLinearMatMul"): _matmul,
    (_MS, "QLinearConv"): _conv,
    (_MS, "QGemm"): _gemm,
    (_MS, "QLinearAdd"): _digital("Add", 2),
    (_MS, "QLinearMul"): _digital("Mul", 2),
    (_MS, "QLinearSigmoid"): _digital("Sigmoid", 1),
    (_MS, "QLinearLeakyRelu"): _digital("LeakyRelu", 1, "alpha"),
    (_MS, "QLinearAveragePool"): _digital("AveragePool", 1, *_WINDOW),
    (_MS, "QLinearGlobalAveragePool"): _digital("GlobalAveragePool", 1),
    (_MS, "QLinearSoftmax"): _softmax,
    (_MS, "QLinearConcat"): _concat,
    (_MS, "QLinearWhere"): _where,
    (_MS, "QuantizeLinear"): _standard,
    (_MS, "DequantizeLinear"): _standard,
}
