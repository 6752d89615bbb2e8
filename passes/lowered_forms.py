"""What stands for an operator in an older opset: older forms of it, or parts that it is made of.

Each function builds what takes the place of a node, of the opset that its `Rewriting` states. The
formulas are those of the ONNX specification of the operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from nvmc.passes.graph.mappable import initializer_of
from nvmc.passes.unfuse.rewriting import Rewriting, UnfusableError

__all__ = ["LOWERED"]

_AXES_INPUT = 18  # opset from which ReduceMean and its like take axes as an input


def _reduced(rw: Rewriting, kind: str, x: ir.Value, axes: list[int], keepdims: int = 1) -> ir.Value:
    if rw.opset < _AXES_INPUT:
        return rw.op(kind, x, axes=axes, keepdims=keepdims)
    return rw.op(kind, x, rw.constant(axes), keepdims=keepdims)


def _axes_from(rw: Rewriting, x: ir.Value, axis: int) -> list[int]:
    """The axes from `axis` to the last, counted from the end."""
    return list(range(axis if axis < 0 else axis - rw.rank(x), 0))


def _float(rw: Rewriting, x: ir.Value) -> ir.Value:
    """`x` as float32, in which the specification computes (`stash_type`)."""
    if rw.int("stash_type", 1) != 1:
        raise UnfusableError("its stash_type is not float")
    return x if x.dtype in (None, ir.DataType.FLOAT) else rw.op("Cast", x, to=ir.DataType.FLOAT)


def _back(rw: Rewriting, y: ir.Value, x: ir.Value) -> ir.Value:
    return y if x.dtype in (None, ir.DataType.FLOAT) else rw.op("Cast", y, to=x.dtype)


def _layer_normalization(rw: Rewriting) -> list[ir.Value]:
    """LayerNormalization (X, Scale, B)."""
    rw.unused(1, 2)
    x = rw.needed(0)
    axes = _axes_from(rw, x, rw.int("axis", -1))
    wide = _float(rw, x)
    centred = rw.op("Sub", wide, _reduced(rw, "ReduceMean", wide, axes))
    y = _over_root(rw, centred, axes, rw.float("epsilon", 1e-5))
    y = rw.op("Mul", _back(rw, y, x), rw.needed(1))
    bias = rw.input(2)
    return [y if bias is None else rw.op("Add", y, bias)]


def _rms_normalization(rw: Rewriting) -> list[ir.Value]:
    """RMSNormalization (X, scale)."""
    x = rw.needed(0)
    axes = _axes_from(rw, x, rw.int("axis", -1))
    y = _over_root(rw, _float(rw, x), axes, rw.float("epsilon", 1e-5))
    return [rw.op("Mul", _back(rw, y, x), rw.needed(1))]


def _over_root(rw: Rewriting, x: ir.Value, axes: list[int], epsilon: float) -> ir.Value:
    square = _reduced(rw, "ReduceMean", rw.op("Mul", x, x), axes)
    return rw.op("Div", x, rw.op("Sqrt", rw.op("Add", square, _number(rw, epsilon))))


def _number(rw: Rewriting, number: float) -> ir.Value:
    return rw.op("Constant", value=ir.tensor(np.asarray(number, np.float32)))


def _gelu(rw: Rewriting) -> list[ir.Value]:
    """Gelu (X), exact or by tanh."""
    x = rw.needed(0)
    if rw.text("approximate", "none") == "tanh":
        cube = rw.op("Mul", rw.op("Mul", rw.op("Mul", x, x), x), rw.constant(0.044715, x))
        inner = rw.op("Mul", rw.op("Add", x, cube), rw.constant(math.sqrt(2 / math.pi), x))
        inner = rw.op("Tanh", inner)
    else:
        inner = rw.op("Erf", rw.op("Mul", x, rw.constant(math.sqrt(0.5), x)))
    half = rw.op("Mul", x, rw.constant(0.5, x))
    return [rw.op("Mul", half, rw.op("Add", inner, rw.constant(1.0, x)))]


def _hard_swish(rw: Rewriting) -> list[ir.Value]:
    """HardSwish (X): x times HardSigmoid of alpha 1/6."""
    x = rw.needed(0)
    return [rw.op("Mul", x, rw.op("HardSigmoid", x, alpha=1 / 6, beta=0.5))]


def _mish(rw: Rewriting) -> list[ir.Value]:
    """Mish (X): x tanh(softplus(x))."""
    x = rw.needed(0)
    return [rw.op("Mul", x, rw.op("Tanh", rw.op("Softplus", x)))]


def _swish(rw: Rewriting) -> list[ir.Value]:
    """Swish (X): x σ(alpha x)."""
    x = rw.needed(0)
    scaled = rw.op("Mul", x, rw.constant(rw.float("alpha", 1.0), x))
    return [rw.op("Mul", x, rw.op("Sigmoid", scaled))]


def _group_normalization(rw: Rewriting) -> list[ir.Value]:
    """GroupNormalization (X, scale, bias), of one scale a channel: InstanceNormalization of groups.

    X of shape (N, C, ...) is seen as (N, groups, all else).
    """
    x = rw.needed(0)
    wide = _float(rw, x)
    groups, rank = rw.int("num_groups"), rw.rank(x)
    ones = rw.array("ones", np.ones(groups, np.float32))
    zeros = rw.array("zeros", np.zeros(groups, np.float32))
    seen = rw.op("Reshape", wide, rw.constant([0, groups, -1]))
    y = rw.op("InstanceNormalization", seen, ones, zeros, epsilon=rw.float("epsilon", 1e-5))
    y = _back(rw, rw.op("Reshape", y, rw.op("Shape", x)), x)
    wanted = rw.constant([-1, *[1] * (rank - 2)])
    y = rw.op("Mul", y, rw.op("Reshape", rw.needed(1), wanted))
    return [rw.op("Add", y, rw.op("Reshape", rw.needed(2), wanted))]


def _reduce(rw: Rewriting) -> list[ir.Value]:
    """ReduceMean and its like: axes as an attribute."""
    axes, keepdims = _whole_numbers(rw.input(1)), rw.int("keepdims", 1)
    given = rw.input(1) is not None
    if given and not axes and rw.int("noop_with_empty_axes", 0):
        if rw.node.op_type not in _IDENTITIES:  # |x| of L2, and the like
            raise UnfusableError("it is to reduce no axes")
        return [rw.op("Identity", rw.needed(0))]
    settings: dict[str, Any] = {"axes": axes} if axes else {}
    return [rw.op(rw.node.op_type, rw.needed(0), keepdims=keepdims, **settings)]


def _split(rw: Rewriting) -> list[ir.Value]:
    """Split of `num_outputs`: the sizes said, the last one smaller."""
    if rw.input(1) is not None:
        raise UnfusableError("it has sizes")
    x, axis, parts = rw.needed(0), rw.int("axis", 0), len(rw.node.outputs)
    size = rw.sizes(x)[axis]
    step = -(-size // parts)
    sizes = [step] * (parts - 1) + [size - step * (parts - 1)]
    return rw.ops("Split", parts, x, rw.constant(sizes), axis=axis)


def _shape(rw: Rewriting) -> list[ir.Value]:
    """Shape of some axes: a slice of that of all."""
    x = rw.needed(0)
    bounds = rw.constant([rw.int("start", 0)]), rw.constant([rw.int("end", 2**31 - 1)])
    return [rw.op("Slice", rw.op("Shape", x), *bounds, rw.constant([0]))]


def _reshape(rw: Rewriting) -> list[ir.Value]:
    """Reshape that takes a 0 as it is (`allowzero`), and has none."""
    if 0 in _whole_numbers(rw.needed(1)):
        raise UnfusableError("its shape has a 0 that counts as one")
    return [rw.op("Reshape", rw.needed(0), rw.needed(1))]


def _whole_numbers(value: ir.Value | None) -> list[int]:
    if value is None:
        return []
    producer = value.producer()
    tensor = initializer_of(value)
    if producer is not None and producer.op_type == "Constant":
        tensor = ir.convenience.get_const_tensor(value)
    if tensor is None:
        raise UnfusableError("its axes, or shape, are not constant")
    return [int(number) for number in tensor.numpy().ravel()]


_IDENTITIES = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd")
_REDUCE = "L1 L2 LogSum LogSumExp Max Mean Min Prod SumSquare".split()

LOWERED: dict[str, tuple[int, Callable[[Rewriting], list[ir.Value]]]] = {
    "Gelu": (20, _gelu),
    "GroupNormalization": (21, _group_normalization),
    "HardSwish": (14, _hard_swish),
    "LayerNormalization": (17, _layer_normalization),
    "Mish": (18, _mish),
    "RMSNormalization": (23, _rms_normalization),
    "Reshape": (14, _reshape),
    "Shape": (15, _shape),
    "Split": (18, _split),
    "Swish": (24, _swish),
    **{f"Reduce{kind}": (_AXES_INPUT, _reduce) for kind in _REDUCE},
}
"""Operator -> the opset that has its present form, and what stands for it below."""
