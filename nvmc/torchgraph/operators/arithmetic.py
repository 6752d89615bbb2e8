"""Arithmetic, element by element."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from nvmc.torchgraph.operators.straight import straight

__all__ = [
    "div",
    "maximum",
    "mean",
    "minimum",
    "mod",
    "power",
    "rounded",
    "sign",
    "total",
]


def div(a: Tensor, b: Tensor) -> Tensor:
    """Div; integers towards zero."""
    if a.is_floating_point():
        return a / b
    return torch.div(a, b, rounding_mode="trunc")


def mod(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    """Mod with the sign of b, or with that of a if `fmod`."""
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


def power(x: Tensor, y: Tensor) -> Tensor:
    """Pow, in the type of x."""
    return torch.pow(x, y).to(x.dtype)


def rounded(x: Tensor) -> Tensor:
    """Round, halves to even; straight-through."""
    return straight(x, torch.round(x))


def sign(x: Tensor) -> Tensor:
    """Sign; straight-through between -1 and 1, where it saturates without gradient.

    Source: Hubara et al., Binarized Neural Networks, NeurIPS 2016 (arXiv 1602.02830), Eq. 4.
    """
    if not (x.requires_grad and torch.is_grad_enabled()):
        return torch.sign(x)
    return straight(torch.clamp(x, -1, 1), torch.sign(x))


def maximum(*x: Tensor) -> Tensor:
    """Max of any number of tensors."""
    return reduce(torch.maximum, x)


def minimum(*x: Tensor) -> Tensor:
    """Min of any number of tensors."""
    return reduce(torch.minimum, x)


def total(*x: Tensor) -> Tensor:
    """Sum of any number of tensors."""
    return reduce(torch.add, x)


def mean(*x: Tensor) -> Tensor:
    """Mean of any number of tensors."""
    return reduce(torch.add, x) / len(x)
