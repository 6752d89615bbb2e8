"""Poolings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nvmc.torchgraph.operators.operator import Results
from nvmc.torchgraph.operators.padding import filled, pads_of

__all__ = [
    "average_pool",
    "global_average_pool",
    "global_lp_pool",
    "global_max_pool",
    "lp_pool",
    "max_pool",
    "max_unpool",
]

_MAX: Mapping[int, Callable[..., Any]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEAN: Mapping[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_CONV = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}

Ints = tuple[int, ...]


def max_pool(
    x: Tensor,
    *,
    kernel_shape: Ints,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    storage_order: int = 0,
    strides: Ints | None = None,
    outputs: int,
) -> Results:
    """MaxPool; the second output, if wanted, indexes the flattened input."""
    rank = len(kernel_shape)
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    begin, end = pads_of(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad)
    if not x.is_floating_point():
        return _max_of_integers(x, kernel_shape, strides, dilations, begin, end, bool(ceil_mode))
    pool, size = _MAX[rank], x.shape
    if ceil_mode:
        end = _ends(x.shape[2:], kernel_shape, strides, dilations, begin, end)
    if begin != end or any(2 * p > k for p, k in zip(begin, kernel_shape, strict=True)):
        x, ahead, inside = filled(x, begin, end, float("-inf")), begin, (0,) * rank
    else:
        ahead, inside = (0,) * rank, begin
    if outputs == 1:
        return pool(x, kernel_shape, strides, inside, dilations)
    y, index = pool(x, kernel_shape, strides, inside, dilations, return_indices=True)
    return y, _flat_index(index, size, x.shape, ahead, storage_order)


def _max_of_integers(
    x: Tensor, kernel: Ints, strides: Ints, dilations: Ints, begin: Ints, end: Ints, ceil: bool
) -> Tensor:
    y = max_pool(
        x.double(),
        kernel_shape=kernel,
        strides=strides,
        dilations=dilations,
        pads=(*begin, *end),
        ceil_mode=int(ceil),
        outputs=1,
    )
    assert isinstance(y, Tensor)
    return y.to(x.dtype)


def _flat_index(index: Tensor, size: Ints, padded: Ints, ahead: Ints, storage_order: int) -> Tensor:
    """Indices into the whole tensor, from those into one padded plane."""
    rank = len(ahead)
    places: list[Tensor] = []
    for axis in range(rank - 1, -1, -1):
        places.append(index % padded[2 + axis] - ahead[axis])
        index = index // padded[2 + axis]
    places.reverse()
    order = range(rank - 1, -1, -1) if storage_order else range(rank)
    flat = torch.zeros_like(places[0])
    for axis in order:
        flat = flat * size[2 + axis] + places[axis]
    plane = torch.Size(size[2:]).numel()
    planes = torch.arange(size[0] * size[1], device=index.device)
    return flat + plane * planes.reshape(size[0], size[1], *[1] * rank)


def _ends(
    size: Ints, kernel: Ints, strides: Ints, dilations: Ints, begin: Ints, end: Ints
) -> tuple[int, ...]:
    """Padding behind each axis so that rounding down gives what `ceil_mode` asks for.

    A window that would start in the padding behind the input is left out.
    """
    ends: list[int] = []
    for n, k, s, d, before, behind in zip(
        size, kernel, strides, dilations, begin, end, strict=True
    ):
        reach = d * (k - 1) + 1
        count = -(-(n + before + behind - reach) // s) + 1
        count -= (count - 1) * s >= n + before
        ends.append((count - 1) * s + reach - n - before)
    return tuple(ends)


def average_pool(
    x: Tensor,
    *,
    kernel_shape: Ints,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """AveragePool."""
    rank = len(kernel_shape)
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    begin, end = pads_of(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad)
    plain = not ceil_mode and begin == end and set(dilations) <= {1}
    if plain and all(2 * p <= k for p, k in zip(begin, kernel_shape, strict=True)):
        return _MEAN[rank](x, kernel_shape, strides, begin, False, bool(count_include_pad))
    ones = x.new_ones((1, 1, *x.shape[2:]))
    if count_include_pad:
        ones = filled(ones, begin, end, 1.0)
    wide = _ends(x.shape[2:], kernel_shape, strides, dilations, begin, end) if ceil_mode else end
    sums = _window_sums(filled(x, begin, wide), kernel_shape, strides, dilations)
    if count_include_pad:
        ones = filled(ones, (0,) * rank, [w - e for w, e in zip(wide, end, strict=True)])
    else:
        ones = filled(ones, begin, wide)
    return sums / _window_sums(ones, kernel_shape, strides, dilations)


def _window_sums(x: Tensor, kernel: Ints, strides: Ints, dilations: Ints) -> Tensor:
    """The sum over each window, plane by plane."""
    rank = len(kernel)
    planes = x.reshape(-1, 1, *x.shape[2:])
    ones = x.new_ones((1, 1, *kernel))
    sums = _CONV[rank](planes, ones, None, tuple(strides), (0,) * rank, tuple(dilations))
    return sums.reshape(*x.shape[:2], *sums.shape[2:])


def lp_pool(
    x: Tensor,
    *,
    kernel_shape: Ints,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    p: int = 2,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """LpPool."""
    rank = len(kernel_shape)
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    begin, end = pads_of(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad)
    if ceil_mode:
        end = _ends(x.shape[2:], kernel_shape, strides, dilations, begin, end)
    powers = filled(x.abs().pow(p), begin, end)
    return _window_sums(powers, kernel_shape, strides, dilations).pow(1 / p)


def global_average_pool(x: Tensor) -> Tensor:
    """GlobalAveragePool."""
    return x.mean(tuple(range(2, x.dim())), keepdim=True)


def global_max_pool(x: Tensor) -> Tensor:
    """GlobalMaxPool."""
    return x.amax(tuple(range(2, x.dim())), keepdim=True)


def global_lp_pool(x: Tensor, *, p: int = 2) -> Tensor:
    """GlobalLpPool."""
    return x.abs().pow(p).sum(tuple(range(2, x.dim())), keepdim=True).pow(1 / p)


def max_unpool(
    x: Tensor,
    indices: Tensor,
    output_shape: Ints | None = None,
    *,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """MaxUnpool: numbers back to where MaxPool took them from, zeros elsewhere."""
    rank = len(kernel_shape)
    strides, pads = strides or (1,) * rank, pads or (0,) * 2 * rank
    inner = [
        (n - 1) * s + k - pads[i] - pads[i + rank]
        for i, (n, s, k) in enumerate(zip(x.shape[2:], strides, kernel_shape, strict=True))
    ]
    size = torch.Size((*x.shape[:2], *inner))
    flat = x.new_zeros(size.numel()).scatter(0, indices.reshape(-1), x.reshape(-1))
    y = flat.reshape(size)
    if output_shape is None:
        return y
    more = [wanted - n for wanted, n in zip(output_shape[2:], inner, strict=True)]
    return filled(y, (0,) * rank, more)
