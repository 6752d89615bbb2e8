"""Operators that move numbers and change none."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

__all__ = ["flatten", "identity", "reshape"]


def identity(x: Tensor) -> Tensor:
    """Identity."""
    return x


def reshape(x: Tensor, shape: Sequence[int], *, allowzero: int = 0) -> Tensor:
    """Reshape; a zero keeps the size of `x` there unless `allowzero`."""
    if not allowzero:
        shape = [n or x.shape[i] for i, n in enumerate(shape)]
    return x.reshape(tuple(shape))


def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """Flatten to a matrix whose rows run over the axes ahead of `axis`."""
    axis = axis + x.dim() if axis < 0 else axis
    rows = x.shape[:axis].numel()
    return x.reshape(rows, x.shape[axis:].numel())
