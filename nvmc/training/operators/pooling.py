"""Poolings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nvmc.training.operators.operator import Results
from nvmc.training.operators.padding import filled, pads_of

__all__ = ["max_pool"]

_MAX = {1: torch.max_pool1d, 2: torch.max_pool2d, 3: torch.max_pool3d}


def max_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
) -> Results:
    """MaxPool."""
    rank = len(kernel_shape)
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    begin, end = pads_of(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad)
    if begin != end or any(2 * p > k for p, k in zip(begin, kernel_shape, strict=True)):
        x, begin = filled(x, begin, end, float("-inf")), (0,) * rank
    return _MAX[rank](x, kernel_shape, strides, begin, dilations, bool(ceil_mode))
