"""Operators that move numbers and change none."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nvmc.torchgraph.operators.operator import Results

__all__ = [
    "concat",
    "depth_to_space",
    "expand",
    "flatten",
    "identity",
    "reshape",
    "reverse_sequence",
    "shape_of",
    "size_of",
    "slices",
    "space_to_depth",
    "split",
    "squeeze",
    "tile",
    "transpose",
    "trilu",
    "unsqueeze",
]


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
    return x.reshape(x.shape[:axis].numel(), x.shape[axis:].numel())


def squeeze(
    x: Tensor, given: Sequence[int] | None = None, *, axes: Sequence[int] | None = None
) -> Tensor:
    """Squeeze of the given axes; of all of size one if none are given."""
    chosen = given if given is not None else axes
    return x.squeeze() if chosen is None else x.squeeze(tuple(chosen))


def unsqueeze(
    x: Tensor, given: Sequence[int] | None = None, *, axes: Sequence[int] | None = None
) -> Tensor:
    """Unsqueeze; axes count in the result."""
    chosen = (given if given is not None else axes) or ()
    rank = x.dim() + len(chosen)
    for axis in sorted(axis % rank for axis in chosen):
        x = x.unsqueeze(axis)
    return x


def transpose(x: Tensor, *, perm: Sequence[int] | None = None) -> Tensor:
    """Transpose; all axes reversed without `perm`."""
    return x.permute(*(range(x.dim() - 1, -1, -1) if perm is None else perm))


def concat(*x: Tensor, axis: int = 1) -> Tensor:
    """Concat."""
    return torch.cat(x, axis)


def split(
    x: Tensor,
    given: Sequence[int] | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
    split: Sequence[int] | None = None,
    outputs: int,
) -> Results:
    """Split into the given sizes, or into equal parts of which the last may be smaller."""
    sizes = given if given is not None else split
    if sizes is None:
        sizes = -(-x.shape[axis] // (num_outputs or outputs))
        return torch.functional.split(x, sizes, axis)
    return torch.functional.split(x, list(sizes), axis)


def slices(
    x: Tensor,
    starts_input: Sequence[int] | None = None,
    ends_input: Sequence[int] | None = None,
    axes_input: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
    *,
    starts: Sequence[int] = (),
    ends: Sequence[int] = (),
    axes: Sequence[int] | None = None,
) -> Tensor:
    """Slice."""
    starts = starts if starts_input is None else starts_input
    ends = ends if ends_input is None else ends_input
    axes = axes if axes_input is None else axes_input
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = steps or (1,) * len(starts)
    index = [slice(None)] * x.dim()
    backward: list[int] = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis %= x.dim()
        chosen = range(*slice(start, end, step).indices(x.shape[axis]))
        if step < 0:
            backward.append(axis)
            chosen = chosen[::-1]
        index[axis] = slice(chosen.start, max(chosen.stop, chosen.start), chosen.step)
    y = x[tuple(index)]
    return y.flip(backward) if backward else y


def expand(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Expand: broadcasting both ways."""
    rank = max(x.dim(), len(shape))
    wide = x[(None,) * (rank - x.dim())]
    size = (*[1] * (rank - len(shape)), *shape)
    return wide.expand([-1 if n == 1 else n for n in size])


def tile(x: Tensor, repeats: Sequence[int]) -> Tensor:
    """Tile."""
    return x.repeat(*repeats)


def shape_of(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    """Shape, int64 on the host."""
    return torch.tensor(x.shape[start:end], dtype=torch.int64)


def size_of(x: Tensor) -> Tensor:
    """Size, int64 on the host."""
    return torch.tensor(x.numel(), dtype=torch.int64)


def trilu(x: Tensor, k: int | list[int] | None = None, *, upper: int = 1) -> Tensor:
    """Trilu of the last two axes."""
    diagonal = k[0] if isinstance(k, list) else k or 0
    return torch.triu(x, diagonal) if upper else torch.tril(x, diagonal)


def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """DepthToSpace."""
    n, c, h, w = x.shape
    b, depth = blocksize, c // blocksize**2
    if mode == "DCR":
        y = x.reshape(n, b, b, depth, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        y = x.reshape(n, depth, b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    return y.reshape(n, depth, h * b, w * b)


def space_to_depth(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """SpaceToDepth."""
    n, c, h, w = x.shape
    b = blocksize
    y = x.reshape(n, c, h // b, b, w // b, b)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return y.permute(*order).reshape(n, c * b * b, h // b, w // b)


def reverse_sequence(
    x: Tensor, sequence_lens: Tensor, *, batch_axis: int = 1, time_axis: int = 0
) -> Tensor:
    """ReverseSequence: the first steps of each entry of the batch in reverse order."""
    steps = torch.arange(x.shape[time_axis], device=x.device).unsqueeze(1)
    lengths = sequence_lens.unsqueeze(0)
    index = torch.where(steps < lengths, lengths - 1 - steps, steps)
    index = index if time_axis == 0 else index.t()
    index = index.reshape(*index.shape, *[1] * (x.dim() - 2)).expand(x.shape)
    return x.gather(time_axis, index)
