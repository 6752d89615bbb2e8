"""Activation functions."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "celu",
    "clip",
    "elu",
    "gelu",
    "hard_sigmoid",
    "hardmax",
    "leaky_relu",
    "log_softmax",
    "prelu",
    "selu",
    "shrink",
    "softmax",
    "softplus",
    "swish",
    "thresholded_relu",
]

_LINEAR_FROM = 40.0
"""Above it, softplus is the identity to double precision."""


def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    """LeakyRelu."""
    return F.leaky_relu(x, alpha)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """PRelu; the slope is broadcast to the shape of x."""
    return torch.where(x >= 0, x, slope * x)


def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Elu."""
    return F.elu(x, alpha)


def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Celu."""
    return F.celu(x, alpha)


def selu(
    x: Tensor, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875
) -> Tensor:
    """Selu."""
    return gamma * F.elu(x, alpha)


def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """Gelu."""
    return F.gelu(x, approximate=approximate)


def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Swish: x sigmoid(alpha x)."""
    return F.silu(x) if alpha == 1.0 else x * torch.sigmoid(alpha * x)


def softplus(x: Tensor) -> Tensor:
    """Softplus."""
    return F.softplus(x, threshold=_LINEAR_FROM)


def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """HardSigmoid."""
    return torch.clamp(alpha * x + beta, 0, 1)


def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """ThresholdedRelu."""
    return F.threshold(x, alpha, 0.0)


def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    """Shrink."""
    zero = torch.zeros_like(x)
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, zero))


def clip(
    x: Tensor,
    low: Tensor | float | None = None,
    high: Tensor | float | None = None,
    *,
    min: float | None = None,
    max: float | None = None,
) -> Tensor:
    """Clip; where the bounds cross, the upper one holds."""
    low, high = min if low is None else low, max if high is None else high
    if low is None and high is None:
        return x
    if isinstance(low, Tensor) != isinstance(high, Tensor):
        y = x if low is None else torch.clamp(x, min=low)
        return y if high is None else torch.clamp(y, max=high)
    clamp: Callable[..., Tensor] = torch.clamp
    return clamp(x, low, high)


def softmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    """Softmax over `axis`; before opset 13 over all axes from `axis` on."""
    if opset >= 13:
        return torch.softmax(x, -1 if axis is None else axis)
    return torch.softmax(_rows(x, axis), 1).reshape(x.shape)


def log_softmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    """LogSoftmax over `axis`; before opset 13 over all axes from `axis` on."""
    if opset >= 13:
        return torch.log_softmax(x, -1 if axis is None else axis)
    return torch.log_softmax(_rows(x, axis), 1).reshape(x.shape)


def hardmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    """Hardmax: one at the first maximum, zero elsewhere."""
    old = opset < 13
    flat = _rows(x, axis) if old else x
    axis = 1 if old else -1 if axis is None else axis
    index = flat.argmax(axis, keepdim=True)
    return torch.zeros_like(flat).scatter(axis, index, 1.0).reshape(x.shape)


def _rows(x: Tensor, axis: int | None) -> Tensor:
    axis = 1 if axis is None else axis
    axis = axis + x.dim() if axis < 0 else axis
    return x.reshape(x.shape[:axis].numel(), x.shape[axis:].numel())
