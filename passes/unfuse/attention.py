"""onnxruntime's attention: projections as MatMul, then the core in standard operators."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from nvmc.passes.graph.attributes import ints_of
from nvmc.passes.unfuse.rewriting import Rewriting, UnfusableError

__all__ = ["attention", "multi_head_attention"]

_OUT = -10000.0
"""What onnxruntime adds to the scores of masked positions by default."""


def attention(rw: Rewriting) -> list[ir.Value]:
    """Attention (input, weights, bias, mask_index, …, attention_bias) without a past.

    The weights (I, D_q + D_k + D_v) of the three projections stay one matrix.
    """
    rw.absent(4, 6)
    rw.unused(1)
    if rw.int("do_rotary"):
        raise UnfusableError("it rotates positions")
    x, weights, bias = rw.needed(0), rw.needed(1), rw.input(2)
    total = rw.sizes(weights)[1]
    parts = list(ints_of(rw.node, "qkv_hidden_sizes", None) or [total // 3] * 3)
    if min(parts) < 1 or sum(parts) != total:
        raise UnfusableError("its parts are not its weights' width")
    projected = rw.op("MatMul", x, weights, main=True)
    if bias is not None:
        projected = rw.op("Add", projected, bias)
    q, k, v = rw.ops("Split", 3, projected, rw.constant(parts), axis=-1)
    added = [rw.input(5), _mask(rw, rw.input(3), x)]
    if rw.int("unidirectional"):
        added.append(_causal(rw, x))
    return [_core(rw, q, k, v, parts[0], added)]


def multi_head_attention(rw: Rewriting) -> list[ir.Value]:
    """MultiHeadAttention (query, key, value, bias, key_padding_mask, attention_bias), no past."""
    rw.absent(6, 7, 8, 9)
    rw.unused(1, 2, 3)
    given = [rw.needed(index) for index in range(3)]
    if any(rw.rank(value) != 3 for value in given):
        raise UnfusableError("its inputs are packed")
    widths = [_width(rw, value) for value in given]
    bias = rw.input(3)
    if bias is not None:
        parts = rw.ops("Split", 3, bias, rw.constant(widths), axis=0)
        given = [rw.op("Add", value, part) for value, part in zip(given, parts, strict=True)]
    added = [rw.input(5), _mask(rw, rw.input(4), rw.needed(1))]
    if rw.int("unidirectional"):
        added.append(_causal(rw, rw.needed(0)))
    return [_core(rw, given[0], given[1], given[2], widths[0], added)]


def _width(rw: Rewriting, value: ir.Value) -> int:
    size = None if value.shape is None else value.shape[-1]
    if not isinstance(size, int):
        raise UnfusableError("shapes are not known")
    return size


def _core(
    rw: Rewriting,
    q: ir.Value,
    k: ir.Value,
    v: ir.Value,
    width: int,
    added: list[ir.Value | None],
) -> ir.Value:
    """Softmax of Q Kᵀ scaled and masked, times V, for every head."""
    like, heads = rw.needed(0), rw.int("num_heads")
    if heads < 1 or width < 1 or width % heads:
        raise UnfusableError(f"{heads} heads do not divide its width {width}")
    scale = rw.float("scale", 0.0) or 1 / math.sqrt(width // heads)
    split = rw.constant([0, 0, heads, -1])
    q, k, v = (rw.op("Reshape", value, split) for value in (q, k, v))
    q, v = (rw.op("Transpose", value, perm=[0, 2, 1, 3]) for value in (q, v))
    k = rw.op("Transpose", k, perm=[0, 2, 3, 1])
    scores = rw.op("Mul", rw.op("MatMul", q, k), rw.constant(scale, like))
    for summand in added:
        if summand is not None:
            scores = rw.op("Add", scores, summand)
    heard = rw.op("MatMul", rw.op("Softmax", scores, axis=-1), v)
    joined = rw.op("Transpose", heard, perm=[0, 2, 1, 3])
    return rw.op("Reshape", joined, rw.constant([0, 0, -1]))


def _mask(rw: Rewriting, mask: ir.Value | None, x: ir.Value) -> ir.Value | None:
    """What is added to the scores (N, heads, S, T): nothing where the mask is 1."""
    if mask is None:
        return None
    rank = rw.rank(mask)
    if rank == 1:
        rows, images = rw.first(mask), rw.first(x)
        if rows is None or rows != images:
            raise UnfusableError("its mask may hold more than lengths")
        length = rw.op("Squeeze", rw.op("Shape", x, start=1, end=2))
        steps = rw.op("Range", rw.constant(0), length, rw.constant(1))
        lengths = rw.op("Unsqueeze", rw.op("Cast", mask, to=ir.DataType.INT64), rw.constant([1]))
        kept, axes = rw.op("Less", steps, lengths), [1, 2]
    elif rank in (2, 3):
        kept, axes = rw.op("Cast", mask, to=ir.DataType.BOOL), [1, 2][: 4 - rank]
    else:
        raise UnfusableError("its mask has four axes")
    like = rw.needed(0)
    out = rw.constant(rw.float("mask_filter_value", _OUT), like)
    added = rw.op("Where", kept, rw.constant(0.0, like), out)
    return rw.op("Unsqueeze", added, rw.constant(axes))


def _causal(rw: Rewriting, x: ir.Value) -> ir.Value:
    """What is added to the scores so that no position hears a later one: (S, S).

    The lowest number there is, as onnxruntime has it: where a mask leaves nothing to hear, a
    position hears what the mask took rather than what comes later.
    """
    like = rw.needed(0)
    length = rw.op("Shape", x, start=1, end=2)
    shape = rw.op("Concat", length, length, axis=0)
    kind = np.float32 if like.dtype is None else like.dtype.numpy()
    out = rw.constant(float(np.finfo(kind).min), like)
    square = rw.op("Expand", rw.op("Unsqueeze", out, rw.constant([0])), shape)
    return rw.op("Trilu", square, rw.constant(1), upper=1)
