"""onnxruntime's normalisations with what it fuses in front of them."""

from __future__ import annotations

import onnx_ir as ir

from nvmc.passes.unfuse.rewriting import Rewriting, UnfusableError

__all__ = [
    "embed_layer_normalization",
    "layer_normalization",
    "simplified_layer_normalization",
    "skip_layer_normalization",
    "skip_simplified_layer_normalization",
]

_LAYER_OPSET, _RMS_OPSET = 17, 23


def layer_normalization(rw: Rewriting) -> list[ir.Value]:
    """LayerNormalization of domain com.microsoft: the standard one."""
    rw.unused(1, 2)
    axis, epsilon = rw.int("axis", -1), rw.float("epsilon", 1e-5)
    return [_layer(rw, rw.needed(0), rw.needed(1), rw.input(2), epsilon, axis)]


def simplified_layer_normalization(rw: Rewriting) -> list[ir.Value]:
    """SimplifiedLayerNormalization (X, scale): division by the root of the mean square."""
    rw.unused(1)
    if rw.int("axis", -1) != -1 and rw.int("axis", -1) != rw.rank(rw.needed(0)) - 1:
        raise UnfusableError("its axis is not the last")
    return [_rms(rw, rw.needed(0), rw.needed(1), rw.float("epsilon", 1e-5))]


def skip_layer_normalization(rw: Rewriting) -> list[ir.Value]:
    """SkipLayerNormalization (input, skip, gamma, beta, bias)."""
    total = _total(rw, 4)
    y = _layer(rw, total, rw.needed(2), rw.input(3), rw.float("epsilon", 1e-12), -1)
    return [y, y, y, total]


def skip_simplified_layer_normalization(rw: Rewriting) -> list[ir.Value]:
    """SkipSimplifiedLayerNormalization (input, skip, gamma, bias)."""
    total = _total(rw, 3)
    y = _rms(rw, total, rw.needed(2), rw.float("epsilon", 1e-12))
    return [y, y, y, total]


def embed_layer_normalization(rw: Rewriting) -> list[ir.Value]:
    """EmbedLayerNormalization: the sum of two or three embeddings, normalised."""
    ids, segments, mask = rw.needed(0), rw.input(1), rw.input(7)
    if rw.output_used(1) and (mask is None or rw.int("mask_index_type", 1) == 0):
        raise UnfusableError("its index of masks is read")
    total = rw.op("Gather", rw.needed(2), ids)
    positions = rw.input(8)
    if positions is None:
        length = rw.op("Shape", ids, start=1, end=2)
        start, axis = rw.constant([0]), rw.constant([0])
        total = rw.op("Add", total, rw.op("Slice", rw.needed(3), start, length, axis))
    else:
        total = rw.op("Add", total, rw.op("Gather", rw.needed(3), positions))
    if segments is not None:
        total = rw.op("Add", total, rw.op("Gather", rw.needed(4), segments))
    y = _layer(rw, total, rw.needed(5), rw.needed(6), rw.float("epsilon", 1e-12), -1)
    if not rw.output_used(1):
        return [y, y, total]
    lengths = rw.op("ReduceSum", mask, rw.constant([1]), keepdims=0)
    return [y, lengths, total]


def _total(rw: Rewriting, bias: int) -> ir.Value:
    """The sum of input, skip and bias."""
    rw.unused(1, 2)
    total = rw.op("Add", rw.needed(0), rw.needed(1))
    added = rw.input(bias)
    return total if added is None else rw.op("Add", total, added)


def _layer(
    rw: Rewriting, x: ir.Value, gamma: ir.Value, beta: ir.Value | None, epsilon: float, axis: int
) -> ir.Value:
    if rw.opset < _LAYER_OPSET:
        raise UnfusableError(f"opset {rw.opset} has no LayerNormalization")
    return rw.op("LayerNormalization", x, gamma, beta, epsilon=epsilon, axis=axis)


def _rms(rw: Rewriting, x: ir.Value, gamma: ir.Value, epsilon: float) -> ir.Value:
    if rw.opset >= _RMS_OPSET:
        return rw.op("RMSNormalization", x, gamma, epsilon=epsilon, axis=-1)
    like = rw.needed(0)
    square = rw.op("ReduceMean", rw.op("Mul", x, x), rw.constant([-1]), keepdims=1)
    root = rw.op("Sqrt", rw.op("Add", square, rw.constant(epsilon, like)))
    return rw.op("Mul", rw.op("Div", x, root), gamma)
