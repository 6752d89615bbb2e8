"""Comparisons, choices, bits and types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor

__all__ = [
    "bit_shift",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "cast",
    "cast_like",
    "conjunction",
    "disjunction",
    "dtype_of",
    "equal",
    "exclusive",
    "greater",
    "greater_or_equal",
    "is_inf",
    "is_nan",
    "less",
    "less_or_equal",
    "negation",
    "unknown_type",
    "where",
]

_TYPES: Mapping[int, torch.dtype] = {
    ir.DataType.BFLOAT16: torch.bfloat16,
    ir.DataType.BOOL: torch.bool,
    ir.DataType.DOUBLE: torch.float64,
    ir.DataType.FLOAT: torch.float32,
    ir.DataType.FLOAT16: torch.float16,
    ir.DataType.INT16: torch.int16,
    ir.DataType.INT32: torch.int32,
    ir.DataType.INT64: torch.int64,
    ir.DataType.INT8: torch.int8,
    ir.DataType.UINT16: torch.uint16,
    ir.DataType.UINT32: torch.uint32,
    ir.DataType.UINT64: torch.uint64,
    ir.DataType.UINT8: torch.uint8,
}


def equal(a: Tensor, b: Tensor) -> Tensor:
    """Equal."""
    return torch.eq(a, b)


def greater(a: Tensor, b: Tensor) -> Tensor:
    """Greater."""
    return torch.gt(a, b)


def greater_or_equal(a: Tensor, b: Tensor) -> Tensor:
    """GreaterOrEqual."""
    return torch.ge(a, b)


def less(a: Tensor, b: Tensor) -> Tensor:
    """Less."""
    return torch.lt(a, b)


def less_or_equal(a: Tensor, b: Tensor) -> Tensor:
    """LessOrEqual."""
    return torch.le(a, b)


def conjunction(a: Tensor, b: Tensor) -> Tensor:
    """And."""
    return torch.logical_and(a, b)


def disjunction(a: Tensor, b: Tensor) -> Tensor:
    """Or."""
    return torch.logical_or(a, b)


def exclusive(a: Tensor, b: Tensor) -> Tensor:
    """Xor."""
    return torch.logical_xor(a, b)


def negation(x: Tensor) -> Tensor:
    """Not."""
    return torch.logical_not(x)


def bitwise_and(a: Tensor, b: Tensor) -> Tensor:
    """BitwiseAnd."""
    return torch.bitwise_and(a, b)


def bitwise_or(a: Tensor, b: Tensor) -> Tensor:
    """BitwiseOr."""
    return torch.bitwise_or(a, b)


def bitwise_xor(a: Tensor, b: Tensor) -> Tensor:
    """BitwiseXor."""
    return torch.bitwise_xor(a, b)


def bitwise_not(x: Tensor) -> Tensor:
    """BitwiseNot."""
    return torch.bitwise_not(x)


def bit_shift(x: Tensor, y: Tensor, *, direction: str) -> Tensor:
    """BitShift."""
    shift = torch.bitwise_left_shift if direction == "LEFT" else torch.bitwise_right_shift
    return shift(x, y)


def is_inf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """IsInf."""
    found = torch.isinf(x)
    found = found if detect_negative else found & (x > 0)
    return found if detect_positive else found & (x < 0)


def is_nan(x: Tensor) -> Tensor:
    """IsNaN."""
    return torch.isnan(x)


def where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Where."""
    return torch.where(condition, x, y)


def cast(x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up") -> Tensor:
    """Cast."""
    return x.to(_TYPES[to])


def cast_like(
    x: Tensor, target_type: Tensor, *, saturate: int = 1, round_mode: str = "up"
) -> Tensor:
    """CastLike."""
    return x.to(target_type.dtype)


def unknown_type(settings: Mapping[str, Any]) -> str | None:
    """Why the types that an operator's attributes ask for are not supported."""
    for name in ("to", "dtype", "output_dtype"):
        kind = settings.get(name, 0)
        if kind and kind not in _TYPES:
            return f"{name} is type {ir.DataType(kind).name}, which torch does not compute with"
    return None


def dtype_of(kind: int) -> torch.dtype:
    """The torch type of an ONNX type number that `unknown_type` let pass."""
    return _TYPES[kind]
