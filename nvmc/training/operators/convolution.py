"""Convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nvmc.training.operators.padding import filled, pads_of

__all__ = ["conv"]

_CONV = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}


def conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Conv of x (N, C, spatial...) with w (M, C / group, kernel...) and b (M)."""
    rank = w.dim() - 2
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    begin, end = pads_of(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    if begin != end:
        x, begin = filled(x, begin, end), (0,) * rank
    return _CONV[rank](x, w, b, strides, begin, dilations, group)
