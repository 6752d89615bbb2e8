"""Operators of one or two tensors that are a function of torch's and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

__all__ = ["binary", "unary"]


def unary(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """`function`, whose parameter is called x: torch's own have no signature to read."""

    def operator(x: Tensor) -> Tensor:
        return function(x)

    return operator


def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """`function`, whose parameters are called a and b."""

    def operator(a: Tensor, b: Tensor) -> Tensor:
        return function(a, b)

    return operator
