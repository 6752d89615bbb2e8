"""com.microsoft's packed weights: MatMulNBits, and QAttention's projection."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.passes.dequantize.rewrite import Rewrite
from nvmc.passes.graph.attributes import int_of

__all__ = ["BLOCKS"]

_MS = "com.microsoft"


def _matmul_nbits(rewrite: Rewrite) -> bool:
    """MatMulNBits (A, B, scales, zero_points, g_idx, bias): blocks of one step along K.

    What `accuracy_level` allows onnxruntime, to round A too, is not done.
    """
    a, packed, scales, zeros, order, bias = rewrite.inputs(6)
    codes, steps = rewrite.array(packed), rewrite.array(scales)
    shift, number = rewrite.array(zeros), partial(int_of, rewrite.node)
    rows, cols = number("K", 0), number("N", 0)
    bits, size = number("bits", 4), min(number("block_size", 0), rows)
    if codes is None or steps is None or order is not None or bits not in (2, 4, 8):
        return False
    if (zeros is not None and shift is None) or number("weight_prepacked", 0):
        return False
    if number("accuracy_level", 0) == 4:
        rewrite.assume("MatMulNBits computes with its input as it is; accuracy_level 4 allows int8")
    blocks = -(-rows // size)
    whole = _unpacked(codes.reshape(cols, -1), bits)[:, : blocks * size].astype(np.float32)
    middle: NDArray[Any] = np.full((cols, blocks), 2 ** (bits - 1), np.float32)
    if shift is not None and shift.dtype == np.uint8:
        middle = _unpacked(shift.reshape(cols, -1), bits)[:, :blocks].astype(np.float32)
    elif shift is not None:
        middle = shift.reshape(cols, blocks).astype(np.float32)
    each = np.repeat(steps.reshape(cols, blocks), size, 1)[:, :rows]
    weight = (whole[:, :rows] - np.repeat(middle, size, 1)[:, :rows]) * each.astype(np.float32)
    assert packed is not None
    along = each[:, :1] if blocks == 1 else each
    matrix = rewrite.weight(str(packed.name), weight.T.astype(steps.dtype), along.T, f"uint{bits}")
    product = rewrite.op("MatMul", a, matrix)
    return rewrite.finish(product if bias is None else rewrite.op("Add", product, bias))


def _unpacked(packed: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Codes of 2, 4 or 8 bits, the first in the lowest bits of a byte, along the last axis."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    codes = (packed[..., None] >> shifts) & (2**bits - 1)
    return codes.reshape(*packed.shape[:-1], -1)


def _attention(rewrite: Rewrite) -> bool:
    """QAttention -> com.microsoft's Attention of floating-point numbers."""
    x, weight, bias, x_scale, w_scale, mask, x_zero, w_zero, past = rewrite.inputs(9)
    if len(rewrite.node.outputs) > 1 and rewrite.node.outputs[1].uses():
        return False
    operands = [
        rewrite.dequantized(x, x_scale, x_zero),
        rewrite.dequantized(weight, w_scale, w_zero, axis=1),
        bias,
        mask,
        past,
    ]
    settings = rewrite.kept("do_rotary", "mask_filter_value", "num_heads", "scale")
    settings |= rewrite.kept("past_present_share_buffer", "unidirectional")
    return rewrite.finish(rewrite.op("Attention", *operands, domain=_MS, **settings))


BLOCKS: dict[tuple[str, str], Callable[[Rewrite], bool]] = {
    (_MS, "MatMulNBits"): _matmul_nbits,
    (_MS, "QAttention"): _attention,
}
