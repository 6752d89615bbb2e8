"""Element by element."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["add", "div", "mul", "sub"]


def add(a: Tensor, b: Tensor) -> Tensor:
    """Add."""
    return a + b


def sub(a: Tensor, b: Tensor) -> Tensor:
    """Sub."""
    return a - b


def mul(a: Tensor, b: Tensor) -> Tensor:
    """Mul."""
    return a * b


def div(a: Tensor, b: Tensor) -> Tensor:
    """Div; integers towards zero."""
    if a.is_floating_point():
        return a / b
    return torch.div(a, b, rounding_mode="trunc")
