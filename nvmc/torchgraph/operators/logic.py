"""Comparisons, choices, bits and types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor

__all__ = [
    "bit_shift",
    "cast",
    "cast_like",
    "dtype_of",
    "is_inf",
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


def bit_shift(x: Tensor, y: Tensor, *, direction: str) -> Tensor:
    """BitShift."""
    shift = torch.bitwise_left_shift if direction == "LEFT" else torch.bitwise_right_shift
    return shift(x, y)


def is_inf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """IsInf."""
    found = torch.isinf(x)
    found = found if detect_negative else found & (x > 0)
    return found if detect_positive else found & (x < 0)


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
