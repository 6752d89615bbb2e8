"""Functions of one tensor, element by element, that torch has under another name."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "absolute",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "cos",
    "cosh",
    "erf",
    "exp",
    "floor",
    "log",
    "neg",
    "sin",
    "sinh",
    "sqrt",
    "tan",
]


def absolute(x: Tensor) -> Tensor:
    """Abs."""
    return torch.abs(x)


def acos(x: Tensor) -> Tensor:
    """Acos."""
    return torch.acos(x)


def acosh(x: Tensor) -> Tensor:
    """Acosh."""
    return torch.acosh(x)


def asin(x: Tensor) -> Tensor:
    """Asin."""
    return torch.asin(x)


def asinh(x: Tensor) -> Tensor:
    """Asinh."""
    return torch.asinh(x)


def atan(x: Tensor) -> Tensor:
    """Atan."""
    return torch.atan(x)


def atanh(x: Tensor) -> Tensor:
    """Atanh."""
    return torch.atanh(x)


def ceil(x: Tensor) -> Tensor:
    """Ceil."""
    return torch.ceil(x)


def cos(x: Tensor) -> Tensor:
    """Cos."""
    return torch.cos(x)


def cosh(x: Tensor) -> Tensor:
    """Cosh."""
    return torch.cosh(x)


def erf(x: Tensor) -> Tensor:
    """Erf."""
    return torch.erf(x)


def exp(x: Tensor) -> Tensor:
    """Exp."""
    return torch.exp(x)


def floor(x: Tensor) -> Tensor:
    """Floor."""
    return torch.floor(x)


def log(x: Tensor) -> Tensor:
    """Log."""
    return torch.log(x)


def neg(x: Tensor) -> Tensor:
    """Neg."""
    return torch.neg(x)


def sin(x: Tensor) -> Tensor:
    """Sin."""
    return torch.sin(x)


def sinh(x: Tensor) -> Tensor:
    """Sinh."""
    return torch.sinh(x)


def sqrt(x: Tensor) -> Tensor:
    """Sqrt."""
    return torch.sqrt(x)


def tan(x: Tensor) -> Tensor:
    """Tan."""
    return torch.tan(x)
