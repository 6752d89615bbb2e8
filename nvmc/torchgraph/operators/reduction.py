"""Reductions and what else runs along an axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from nvmc.torchgraph.operators.operator import Results

__all__ = [
    "argmax",
    "argmin",
    "cumprod",
    "cumsum",
    "reduced",
    "top_k",
]

Axes = tuple[int, ...]


def reduced(
    x: Tensor,
    given: Sequence[int] | None = None,
    *,
    kind: str,
    axes: Sequence[int] | None = None,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Tensor:
    """ReduceSum and its like over the given axes; over all if none are given."""
    before, reduce, after = _KINDS[kind]
    axes = tuple((given if given is not None else axes) or ())
    x = x if before is None else before(x)
    if axes or not noop_with_empty_axes:
        dims = sorted({axis % x.dim() for axis in axes}) if axes else list(range(x.dim()))
        if dims:
            x = reduce(x, tuple(dims), bool(keepdims))
    return x if after is None else after(x)


def _sum(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return torch.sum(x, axes, keep, dtype=x.dtype)


def _mean(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    if x.is_floating_point():
        return torch.mean(x, axes, keep)
    count = x.numel() // max(torch.amax(x, axes).numel(), 1)
    return torch.div(_sum(x, axes, keep), count, rounding_mode="trunc")


def _prod(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    for axis in reversed(axes):
        x = torch.prod(x, axis, keep, dtype=x.dtype)
    return x


def _extreme(x: Tensor, axes: Axes, keep: bool, *, largest: bool) -> Tensor:
    if x.numel():
        return (torch.amax if largest else torch.amin)(x, axes, keep)
    if x.is_floating_point():
        worst = float("-inf") if largest else float("inf")
    elif x.dtype == torch.bool:
        worst = not largest
    else:
        worst = torch.iinfo(x.dtype).min if largest else torch.iinfo(x.dtype).max
    shape = [1 if i in axes else n for i, n in enumerate(x.shape) if keep or i not in axes]
    return x.new_full(shape, worst)


def _logsumexp(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return torch.logsumexp(x if x.is_floating_point() else x.float(), axes, keep).to(x.dtype)


_Reduce = Callable[[Tensor, Axes, bool], Tensor]
_Map = Callable[[Tensor], Tensor] | None
_KINDS: dict[str, tuple[_Map, _Reduce, _Map]] = {
    "L1": (torch.abs, _sum, None),
    "L2": (torch.square, _sum, torch.sqrt),
    "LogSum": (None, _sum, torch.log),
    "LogSumExp": (None, _logsumexp, None),
    "Max": (None, partial(_extreme, largest=True), None),
    "Mean": (None, _mean, None),
    "Min": (None, partial(_extreme, largest=False), None),
    "Prod": (None, _prod, None),
    "Sum": (None, _sum, None),
    "SumSquare": (torch.square, _sum, None),
}


def argmax(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """ArgMax: the first largest, or the last if `select_last_index`."""
    if not select_last_index:
        return torch.argmax(x, axis, bool(keepdims))
    last = torch.argmax(torch.flip(x, (axis,)), axis, bool(keepdims))
    return x.shape[axis] - 1 - last


def argmin(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """ArgMin: the first smallest, or the last if `select_last_index`."""
    if not select_last_index:
        return torch.argmin(x, axis, bool(keepdims))
    last = torch.argmin(torch.flip(x, (axis,)), axis, bool(keepdims))
    return x.shape[axis] - 1 - last


def cumsum(x: Tensor, axis: int | list[int], *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """CumSum."""
    return _running(torch.cumsum, 0, x, axis, exclusive, reverse)


def cumprod(x: Tensor, axis: int | list[int], *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """CumProd."""
    return _running(torch.cumprod, 1, x, axis, exclusive, reverse)


def _running(
    function: Callable[..., Tensor],
    start: int,
    x: Tensor,
    axis: int | list[int],
    exclusive: int,
    reverse: int,
) -> Tensor:
    axis = _number(axis)
    x = torch.flip(x, (axis,)) if reverse else x
    if exclusive:
        first = torch.full_like(x.narrow(axis, 0, 1), start)
        x = torch.cat([first, x.narrow(axis, 0, x.shape[axis] - 1)], axis)
    y = function(x, axis, dtype=x.dtype)
    return torch.flip(y, (axis,)) if reverse else y


def _number(value: int | list[int]) -> int:
    """A number that may come in a list of its own."""
    return value[0] if isinstance(value, list) else value


def top_k(
    x: Tensor,
    given: int | list[int] | None = None,
    *,
    axis: int = -1,
    k: int = 1,
    largest: int = 1,
    sorted: int = 1,
) -> Results:
    """TopK; among equal numbers the one of lower index comes first."""
    if given is not None:
        k = _number(given)
    values, indices = torch.sort(x, stable=True, dim=axis, descending=bool(largest))
    return values.narrow(axis, 0, k), indices.narrow(axis, 0, k)
