"""Operators that make a tensor of a shape."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nvmc.torchgraph.operators.logic import dtype_of
from nvmc.torchgraph.operators.operator import Context

__all__ = ["constant_of_shape", "eye_like", "ramp"]


def constant_of_shape(
    shape: Sequence[int], *, value: Tensor | None = None, context: Context
) -> Tensor:
    """ConstantOfShape."""
    value = torch.zeros(1) if value is None else value
    return value.to(context.device).reshape(()).repeat(tuple(shape))


def eye_like(x: Tensor, *, dtype: int = 0, k: int = 0) -> Tensor:
    """EyeLike."""
    kind = dtype_of(dtype) if dtype else x.dtype
    ones = torch.ones(x.shape, dtype=kind, device=x.device)
    return torch.triu(torch.tril(ones, k), k)


def ramp(start: Tensor, limit: Tensor, delta: Tensor, *, context: Context) -> Tensor:
    """Range."""
    first, step = start.item(), delta.item()
    count = max(math.ceil((limit.item() - first) / step), 0)
    return torch.arange(count, device=context.device).to(start.dtype) * step + first
