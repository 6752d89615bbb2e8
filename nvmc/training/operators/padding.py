"""Padding of convolutions and poolings, as ONNX describes it."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

__all__ = ["filled", "pads_of"]


def pads_of(
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int] | None,
    auto_pad: str,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Padding before and behind each spatial axis, `auto_pad` resolved for this size."""
    rank = len(size)
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        begin: list[int] = []
        end: list[int] = []
        for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
            total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
            less, more = total // 2, total - total // 2
            upper = auto_pad == "SAME_UPPER"
            begin.append(less if upper else more)
            end.append(more if upper else less)
        return tuple(begin), tuple(end)
    if auto_pad == "VALID" or pads is None:
        return (0,) * rank, (0,) * rank
    return tuple(pads[:rank]), tuple(pads[rank:])


def filled(x: Tensor, begin: Sequence[int], end: Sequence[int], value: float = 0.0) -> Tensor:
    """`x` with its last axes padded by `value`; negative numbers cut off."""
    widths = [n for pair in zip(reversed(begin), reversed(end), strict=True) for n in pair]
    return F.pad(x, widths, value=value) if any(widths) else x
