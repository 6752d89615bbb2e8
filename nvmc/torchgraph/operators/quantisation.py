"""Quantisation, straight-through inside the range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor

from nvmc.torchgraph.operators.logic import dtype_of
from nvmc.torchgraph.operators.operator import Results
from nvmc.torchgraph.operators.straight import straight

__all__ = ["dequantize_linear", "dynamic_quantize_linear", "quantize_linear", "unknown_codes"]

_CODES = (
    ir.DataType.INT8,
    ir.DataType.UINT8,
    ir.DataType.INT16,
    ir.DataType.UINT16,
    ir.DataType.INT32,
)


def unknown_codes(settings: Mapping[str, Any]) -> str | None:
    """Why the codes of a QuantizeLinear are not supported."""
    kind = settings.get("output_dtype", 0)
    if kind and kind not in _CODES:
        return f"codes are {ir.DataType(kind).name}; expected integers of 8 to 32 bits"
    return None


def quantize_linear(
    x: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
    carried: bool,
) -> Tensor:
    """QuantizeLinear: whole numbers, as a float tensor with gradient where it is `carried`.

    The gradient is that of the identity inside the range of the codes and zero outside.
    """
    kind = torch.uint8 if y_zero_point is None else y_zero_point.dtype
    kind = dtype_of(output_dtype) if output_dtype else kind
    wide = dtype_of(precision) if precision else x.dtype
    scaled = x.to(wide) / _spread(y_scale, x, axis, block_size).to(wide)
    codes = straight(scaled, torch.round(scaled))
    if y_zero_point is not None:
        codes = codes + _spread(y_zero_point, x, axis, block_size).to(codes.dtype)
    limits = torch.iinfo(kind)
    codes = torch.clamp(codes, limits.min, limits.max)
    return codes.to(x.dtype) if carried else codes.to(torch.int64).to(kind)


def dequantize_linear(
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Tensor:
    """DequantizeLinear."""
    wide = torch.float32 if x_scale.dtype in (torch.float16, torch.bfloat16) else x_scale.dtype
    y = x.to(wide)
    if x_zero_point is not None:
        y = y - _spread(x_zero_point, x, axis, block_size).to(wide)
    y = y * _spread(x_scale, x, axis, block_size).to(wide)
    return y.to(dtype_of(output_dtype) if output_dtype else x_scale.dtype)


def dynamic_quantize_linear(x: Tensor) -> Results:
    """DynamicQuantizeLinear: codes of 8 bits without sign, their scale and zero point."""
    low, high = torch.clamp(x.amin(), max=0), torch.clamp(x.amax(), min=0)
    scale = (high - low) / 255
    safe = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = torch.clamp(torch.round(-low / safe), 0, 255)
    codes = torch.clamp(torch.round(x / safe) + zero, 0, 255)
    return codes.to(torch.uint8), scale, zero.to(torch.uint8)


def _spread(parameter: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """A scale or zero point in a shape that broadcasts against x."""
    if parameter.dim() == 0 or parameter.numel() == 1 and not block:
        return parameter.reshape(())
    axis %= x.dim()
    if block:
        return parameter.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    return parameter.reshape(-1, *[1] * (x.dim() - axis - 1))
