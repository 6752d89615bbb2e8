"""onnxruntime's fused convolutions and matrix products, and Gemm with its weights on the left."""

from __future__ import annotations

import onnx_ir as ir

from nvmc.passes.graph.attributes import floats_of
from nvmc.passes.unfuse.activations import activated
from nvmc.passes.unfuse.rewriting import Rewriting, UnfusableError

__all__ = ["fused_conv", "fused_gemm", "fused_matmul", "left_gemm"]

_CONV = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_GEMM = ("alpha", "beta", "transA", "transB")


def fused_conv(rw: Rewriting) -> list[ir.Value]:
    """FusedConv (X, W, B, Z): activation of Conv (X, W, B) + Z."""
    y = rw.op("Conv", rw.needed(0), rw.needed(1), rw.input(2), main=True, **_kept(rw, _CONV))
    summand = rw.input(3)
    if summand is not None:
        y = rw.op("Add", y, summand)
    numbers = floats_of(rw.node, "activation_params", None) or ()
    return [activated(rw, y, tuple(numbers))]


def fused_gemm(rw: Rewriting) -> list[ir.Value]:
    """FusedGemm (A, B, C): activation of Gemm (A, B, C)."""
    y = rw.op("Gemm", rw.needed(0), rw.needed(1), rw.input(2), main=True, **_kept(rw, _GEMM))
    return [activated(rw, y)]


def fused_matmul(rw: Rewriting) -> list[ir.Value]:
    """FusedMatMul, TransposeMatMul, FusedMatMulActivation: activation of alpha A' B'."""
    a = _turned(rw, rw.needed(0), rw.int("transBatchA"), rw.int("transA"))
    b = _turned(rw, rw.needed(1), rw.int("transBatchB"), rw.int("transB"))
    y = rw.op("MatMul", a, b, main=True)
    alpha = rw.float("alpha", 1.0)
    if alpha != 1:
        y = rw.op("Mul", y, rw.constant(alpha, rw.needed(0)))
    return [activated(rw, y)]


def _turned(rw: Rewriting, value: ir.Value, first: int, last: int) -> ir.Value:
    """The operand with its first axis moved before the last (`first`), then the last two swapped.

    Vectors are not turned.
    """
    if not first and not last:
        return value
    axes = list(range(rw.rank(value)))
    if len(axes) < 2:
        return value
    if first and len(axes) > 2:
        axes = [*axes[1:-1], axes[0], axes[-1]]
    if last:
        axes = [*axes[:-2], axes[-1], axes[-2]]
    return rw.transposed(value, axes)


def left_gemm(rw: Rewriting) -> list[ir.Value]:
    """Gemm whose A is constant and whose B is not: alpha A' B' + beta C as MatMul and Add."""
    a, b, c = rw.needed(0), rw.needed(1), rw.input(2)
    if not rw.is_constant(a) or rw.is_constant(b):
        raise UnfusableError("its weights are on the right")
    a = rw.transposed(a, [1, 0]) if rw.int("transA") else a
    b = rw.transposed(b, [1, 0]) if rw.int("transB") else b
    y = rw.op("MatMul", a, b, main=True)
    for scale, name in ((rw.float("alpha", 1.0), "alpha"), (rw.float("beta", 1.0), "beta")):
        if name == "beta" and c is None:
            continue
        if scale != 1 and name == "alpha":
            y = rw.op("Mul", y, rw.constant(scale, a))
        elif scale != 1:
            c = rw.op("Mul", c, rw.constant(scale, a))
    return [y if c is None else rw.op("Add", y, c)]


def _kept(rw: Rewriting, names: tuple[str, ...]) -> dict[str, object]:
    attributes = rw.node.attributes
    return {name: attributes[name].value for name in names if name in attributes}
