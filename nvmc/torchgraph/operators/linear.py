"""Products of matrices."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["determinant", "einsum", "gemm", "matmul"]


def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803
    transB: int = 0,  # noqa: N803
) -> Tensor:
    """Gemm: alpha A' B' + beta C."""
    a = a.t() if transA else a
    weight = b if transB else b.t()
    if alpha == 1.0 and beta == 1.0 and (c is None or c.dim() == 1):
        if c is None or c.shape[0] == weight.shape[0]:
            return F.linear(a, weight, c)
    y = a @ weight.t()
    y = y if alpha == 1.0 else y * alpha
    return y if c is None else y + (c if beta == 1.0 else c * beta)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """MatMul, broadcast over leading axes as numpy does."""
    return a @ b


def einsum(*x: Tensor, equation: str) -> Tensor:
    """Einsum."""
    return torch.einsum(equation, *x)


def determinant(x: Tensor) -> Tensor:
    """Det."""
    return torch.det(x)
