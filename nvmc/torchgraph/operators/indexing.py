"""Operators that read or write where an index says."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "compress",
    "gather",
    "gather_elements",
    "gather_nd",
    "nonzero",
    "one_hot",
    "scatter_elements",
    "scatter_nd",
]

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def gather(data: Tensor, indices: Tensor | int, *, axis: int = 0) -> Tensor:
    """Gather along an axis; an embedding where the data are a matrix."""
    if isinstance(indices, int):
        return data.select(axis, indices)
    axis %= data.dim()
    index = _positive(indices, data.shape[axis])
    if axis == 0 and data.dim() == 2:
        return F.embedding(index, data)
    chosen = data.index_select(axis, index.reshape(-1))
    return chosen.reshape(*data.shape[:axis], *index.shape, *data.shape[axis + 1 :])


def gather_elements(data: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """GatherElements."""
    return torch.gather(data, axis, _positive(indices, data.shape[axis]))


def gather_nd(data: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    """GatherND."""
    depth = indices.shape[-1]
    index: list[Tensor] = []
    for axis in range(batch_dims):
        shape = [1] * (indices.dim() - 1)
        shape[axis] = -1
        index.append(torch.arange(data.shape[axis], device=data.device).reshape(shape))
    index += [indices[..., i].long() for i in range(depth)]
    return data[tuple(index)]


def scatter_elements(
    data: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none"
) -> Tensor:
    """ScatterElements and Scatter."""
    index = _positive(indices, data.shape[axis])
    if reduction == "none":
        return data.scatter(axis, index, updates)
    return data.scatter_reduce(axis, index, updates, _REDUCTIONS[reduction], include_self=True)


def scatter_nd(
    data: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none"
) -> Tensor:
    """ScatterND."""
    depth = indices.shape[-1]
    index = tuple(_positive(indices[..., i], data.shape[i]) for i in range(depth))
    if reduction in ("none", "add"):
        return data.index_put(index, updates, accumulate=reduction == "add")
    places = torch.arange(data.shape[:depth].numel(), device=data.device)
    rows = places.reshape(data.shape[:depth])[index].reshape(-1)
    flat = data.reshape(data.shape[:depth].numel(), -1)
    new = updates.reshape(rows.shape[0], -1)
    rows = rows.unsqueeze(1).expand(new.shape)
    done = flat.scatter_reduce(0, rows, new, _REDUCTIONS[reduction], include_self=True)
    return done.reshape(data.shape)


def one_hot(
    indices: Tensor, depth: float | list[float], values: Tensor, *, axis: int = -1
) -> Tensor:
    """OneHot."""
    depth = int(depth[0]) if isinstance(depth, list) else int(depth)
    axis = axis + indices.dim() + 1 if axis < 0 else axis
    places = torch.arange(depth, device=indices.device)
    places = places.reshape(depth, *[1] * (indices.dim() - axis))
    index = indices.long().unsqueeze(axis)
    index = torch.where(index < 0, index + depth, index)
    return torch.where(index == places, values[1], values[0])


def nonzero(x: Tensor) -> Tensor:
    """NonZero; the result's size depends on the numbers."""
    return torch.nonzero(x).t()


def compress(x: Tensor, condition: Sequence[bool], *, axis: int | None = None) -> Tensor:
    """Compress."""
    index = torch.tensor([i for i, keep in enumerate(condition) if keep], device=x.device)
    return x.reshape(-1)[index] if axis is None else x.index_select(axis, index)


def _positive(indices: Tensor, size: int) -> Tensor:
    indices = indices.long()
    return torch.where(indices < 0, indices + size, indices)
