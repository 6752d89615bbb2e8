"""Activation functions."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["relu", "softmax"]


def relu(x: Tensor) -> Tensor:
    """Relu."""
    return torch.relu(x)


def softmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    """Softmax over `axis`; before opset 13 over all axes from `axis` on."""
    if opset >= 13:
        return torch.softmax(x, -1 if axis is None else axis)
    axis = 1 if axis is None else axis
    axis = axis + x.dim() if axis < 0 else axis
    flat = x.reshape(x.shape[:axis].numel(), -1)
    return torch.softmax(flat, 1).reshape(x.shape)
