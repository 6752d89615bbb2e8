"""Integer products whose input is quantised at run time, and products of integers alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.passes.dequantize.rewrite import Rewrite
from nvmc.passes.graph.attributes import int_of

__all__ = ["DYNAMIC"]

_MS = "com.microsoft"
_FLOAT = ir.DataType.FLOAT


def _matmul_integer(rewrite: Rewrite) -> bool:
    """MatMulInteger, also of two activations."""
    a, b, a_zero, b_zero = rewrite.inputs(4)
    by_row = rewrite.array(a_zero)
    if by_row is None and not rewrite.is_single(a_zero):
        return False
    if by_row is not None and by_row.ndim == 1 and by_row.size > 1:
        a_zero = rewrite.constant("rows", by_row[:, None])
    left, right = _shifted(rewrite, a, a_zero), _shifted(rewrite, b, b_zero)
    return _whole(rewrite, rewrite.op("MatMul", left, right))


def _conv_integer(rewrite: Rewrite) -> bool:
    """ConvInteger: padding is zero behind the zero point, as that of Conv is."""
    x, w, x_zero, w_zero = rewrite.inputs(4)
    zeros, weight = rewrite.array(w_zero), rewrite.array(w)
    if not rewrite.is_single(w_zero) and (zeros is None or weight is None):
        return False
    if zeros is not None and zeros.ndim == 1 and zeros.size > 1 and weight is not None:
        w_zero = rewrite.constant("channels", zeros.reshape(-1, *(1,) * (weight.ndim - 1)))
    image, kernel = _shifted(rewrite, x, x_zero), _shifted(rewrite, w, w_zero)
    settings = rewrite.kept("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    return _whole(rewrite, rewrite.op("Conv", image, kernel, **settings))


def _shifted(rewrite: Rewrite, value: ir.Value | None, zero: ir.Value | None) -> ir.Value:
    """Integers as floating-point numbers, less their zero point."""
    wide = rewrite.op("Cast", value, to=_FLOAT)
    if zero is None:
        return wide
    return rewrite.op("Sub", wide, rewrite.op("Cast", zero, to=_FLOAT))


def _whole(rewrite: Rewrite, product: ir.Value) -> bool:
    """Give the product to those that make a float of it, and whole numbers to all others."""
    output = rewrite.node.outputs[0]
    for use in list(output.uses()):
        if use.node.op_type == "Cast" and int_of(use.node, "to", 0) == _FLOAT:
            use.node.replace_input_with(0, product)
    rounded = rewrite.op("Round", product)
    return rewrite.finish(rewrite.op("Cast", rounded, to=ir.DataType.INT32))


def _dynamic(rewrite: Rewrite, value: ir.Value | None) -> ir.Value:
    """A float tensor behind DynamicQuantizeLinear."""
    made = ir.node("DynamicQuantizeLinear", [value], num_outputs=3)
    return rewrite.dequantized(*rewrite.insert(made))


def _dynamic_matmul(rewrite: Rewrite) -> bool:
    """DynamicQuantizeMatMul (A, B, b_scale, b_zero_point, bias)."""
    a, b, b_scale, b_zero, bias = rewrite.inputs(5)
    return _product(rewrite, _dynamic, (a,), (b, b_scale, b_zero), bias)


def _matmul_to_float(rewrite: Rewrite) -> bool:
    """MatMulIntegerToFloat (A, B, a_scale, b_scale, a_zero_point, b_zero_point, bias)."""
    a, b, a_scale, b_scale, a_zero, b_zero, bias = rewrite.inputs(7)
    return _product(rewrite, Rewrite.dequantized, (a, a_scale, a_zero), (b, b_scale, b_zero), bias)


def _product(
    rewrite: Rewrite,
    read: Callable[..., ir.Value],
    left: tuple[ir.Value | None, ...],
    right: tuple[ir.Value | None, ...],
    bias: ir.Value | None,
) -> bool:
    matrix = rewrite.dequantized(*right, axis=rewrite.axis(right[0], -1))
    product = rewrite.op("MatMul", read(rewrite, *left), matrix)
    return rewrite.finish(product if bias is None else rewrite.op("Add", product, bias))


def _lstm(rewrite: Rewrite) -> bool:
    """DynamicQuantizeLSTM: the input is quantised as there, the state between steps stays float."""
    x, w, r, bias, lengths, h, c, peepholes = rewrite.inputs(8)
    weights: list[ir.Value] = []
    for value, first in ((w, 8), (r, 10)):
        codes, scale = rewrite.array(value), rewrite.array(rewrite.input(first))
        zero = rewrite.array(rewrite.input(first + 1))
        if value is None or codes is None or scale is None:
            return False
        steps = _by_direction(scale)
        shift = _by_direction(np.zeros(1) if zero is None else zero)
        floats = ((codes.astype(np.float32) - shift) * steps).astype(np.float32)
        weights.append(
            rewrite.weight(
                str(value.name), floats.swapaxes(1, 2), steps.swapaxes(1, 2), codes.dtype.name
            )
        )
    rewrite.assume("DynamicQuantizeLSTM keeps its state between steps in float32, not in 8 bits")
    node = rewrite.node
    settings = rewrite.kept(*(name for name in node.attributes))
    made = ir.node(
        "LSTM",
        [_dynamic(rewrite, x), *weights, bias, lengths, h, c, peepholes],
        settings,
        num_outputs=len(node.outputs),
    )
    return rewrite.finish(*rewrite.insert(made))


def _by_direction(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Scales or zero points per direction, or per column too, against (directions, K, columns)."""
    wide = values.astype(np.float32)
    return wide[:, None, :] if wide.ndim == 2 else wide.reshape(-1, 1, 1)


DYNAMIC: dict[tuple[str, str], Callable[[Rewrite], bool]] = {
    ("", "MatMulInteger"): _matmul_integer,
    ("", "ConvInteger"): _conv_integer,
    (_MS, "DynamicQuantizeMatMul"): _dynamic_matmul,
    (_MS, "MatMulIntegerToFloat"): _matmul_to_float,
    (_MS, "DynamicQuantizeLSTM"): _lstm,
}
