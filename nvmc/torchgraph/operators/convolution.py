"""Convolutions."""

from __future__ import annotations

from functools import wraps
from typing import Any

import torch
from torch import Tensor

from nvmc.torchgraph.operators.padding import filled, pads_of

__all__ = ["conv", "conv_channels_last", "conv_transpose"]

_CONV = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
_TRANSPOSED = {1: torch.conv_transpose1d, 2: torch.conv_transpose2d, 3: torch.conv_transpose3d}

Ints = tuple[int, ...]


def conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """Conv of x (N, C, spatial...) with w (M, C / group, kernel...) and b (M)."""
    rank = w.dim() - 2
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    begin, end = pads_of(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    if begin != end:
        x, begin = filled(x, begin, end), (0,) * rank
    return _CONV[rank](x, w, b, strides, begin, dilations, group)


@wraps(conv)  # whose parameters tell what the node's inputs and attributes are
def conv_channels_last(x: Tensor, w: Tensor, b: Tensor | None = None, **attributes: Any) -> Tensor:
    """Conv whose result, in two dimensions, lies in memory with its channels last."""
    if x.dim() == 4:
        x = x.to(memory_format=torch.channels_last)
        w = w.to(memory_format=torch.channels_last)
    return conv(x, w, b, **attributes)


def conv_transpose(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    output_padding: Ints | None = None,
    output_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """ConvTranspose of x (N, C, spatial...) with w (C, M / group, kernel...) and b (M).

    Where torch's own paddings do not reach, the full product is cut or widened by zeros.
    """
    rank = w.dim() - 2
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    extra = tuple(output_padding or (0,) * rank)
    full = tuple(
        (n - 1) * s + d * (k - 1) + 1
        for n, s, d, k in zip(x.shape[2:], strides, dilations, w.shape[2:], strict=True)
    )
    begin, end = _cuts(x.shape[2:], full, strides, extra, auto_pad, output_shape, pads)
    convolve = _TRANSPOSED[rank]
    known = all(e < max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True))
    if begin == end and known and min(begin) >= 0:
        return convolve(x, w, b, strides, begin, extra, group, dilations)
    y = convolve(x, w, None, strides, (0,) * rank, (0,) * rank, group, dilations)
    y = filled(y, [-n for n in begin], [e - n for e, n in zip(extra, end, strict=True)])
    return y if b is None else y + b.reshape(-1, *[1] * rank)


def _cuts(
    size: Ints,
    full: Ints,
    strides: Ints,
    extra: Ints,
    auto_pad: str,
    output_shape: Ints | None,
    pads: Ints | None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How much of the full product (and its output padding) falls away on either side."""
    rank = len(size)
    if output_shape is None and auto_pad in ("NOTSET", "VALID"):
        pads = pads if pads and auto_pad == "NOTSET" else (0,) * 2 * rank
        return tuple(pads[:rank]), tuple(pads[rank:])
    wanted = [n * s for n, s in zip(size, strides, strict=True)]
    if output_shape is not None:
        wanted = list(output_shape)[-rank:]
    begin: list[int] = []
    end: list[int] = []
    for f, e, n in zip(full, extra, wanted, strict=True):
        less = (f + e - n) // 2
        more = f + e - n - less
        begin.append(less if auto_pad == "SAME_UPPER" else more)
        end.append(more if auto_pad == "SAME_UPPER" else less)
    return tuple(begin), tuple(end)
