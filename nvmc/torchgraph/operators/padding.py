"""Padding: the operator, and that of convolutions and poolings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["center_crop_pad", "filled", "pad", "pads_of", "unknown_padding"]

_FAST = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


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


def unknown_padding(settings: Mapping[str, Any]) -> str | None:
    """Why the padding of a convolution or pooling is not supported."""
    auto_pad = settings.get("auto_pad", "NOTSET")
    if auto_pad.startswith("SAME") and any(d > 1 for d in settings.get("dilations") or ()):
        return (
            f"auto_pad {auto_pad} with dilations, where onnxruntime refuses or leaves the "
            "definition; give pads instead"
        )
    return None


def filled(x: Tensor, begin: Sequence[int], end: Sequence[int], value: float = 0.0) -> Tensor:
    """`x` with its last axes padded by `value`; negative numbers cut off."""
    widths = [n for pair in zip(reversed(begin), reversed(end), strict=True) for n in pair]
    return F.pad(x, widths, value=value) if any(widths) else x


def pad(
    x: Tensor,
    given: Sequence[int] | None = None,
    fill: float | Tensor | None = None,
    axes: Sequence[int] | None = None,
    *,
    mode: str = "constant",
    pads: Sequence[int] | None = None,
    value: float = 0.0,
) -> Tensor:
    """Pad in mode constant, reflect, edge or wrap; negative pads cut off, first of all."""
    widths = (given if given is not None else pads) or ()
    axes = range(x.dim()) if axes is None else [axis % x.dim() for axis in axes]
    begin, end = [0] * x.dim(), [0] * x.dim()
    for i, axis in enumerate(axes):
        begin[axis], end[axis] = widths[i], widths[i + len(axes)]
    if mode == "constant":
        if isinstance(fill, Tensor):
            return _filled_by(x, begin, end, fill)
        return filled(x, begin, end, value if fill is None else fill)
    x = filled(x, [min(n, 0) for n in begin], [min(n, 0) for n in end])
    begin, end = [max(n, 0) for n in begin], [max(n, 0) for n in end]
    if _is_fast(x, begin, end):
        flat = [n for pair in zip(begin[:1:-1], end[:1:-1], strict=True) for n in pair]
        return F.pad(x, flat, mode=_FAST[mode])
    for axis in range(x.dim()):
        if begin[axis] or end[axis]:
            index = _indices(x.shape[axis], begin[axis], end[axis], mode)
            x = x.index_select(axis, torch.from_numpy(index).to(x.device))
    return x


def _filled_by(x: Tensor, begin: Sequence[int], end: Sequence[int], fill: Tensor) -> Tensor:
    """`x` padded by a number that is not known ahead."""
    inside = filled(torch.ones_like(x, dtype=torch.bool), begin, end)
    return torch.where(inside, filled(x, begin, end), fill)


def _is_fast(x: Tensor, begin: Sequence[int], end: Sequence[int]) -> bool:
    """Whether torch pads so: batch and channels whole, at most two axes, by less than they have."""
    widths = [*begin[2:], *end[2:]]
    small = all(0 <= w < n for w, n in zip(widths, [*x.shape[2:]] * 2, strict=True))
    return x.dim() in (3, 4) and not any((*begin[:2], *end[:2])) and small


def _indices(size: int, begin: int, end: int, mode: str) -> np.ndarray:
    """Which entry each padded one repeats."""
    places = np.arange(-begin, size + end)
    if mode == "edge":
        return places.clip(0, size - 1)
    if mode == "wrap":
        return places % size
    period = max(2 * (size - 1), 1)
    places = places % period
    return np.minimum(places, period - places) if size > 1 else places * 0


def center_crop_pad(
    x: Tensor, shape: Sequence[int], *, axes: Sequence[int] | None = None
) -> Tensor:
    """CenterCropPad."""
    axes = range(x.dim()) if axes is None else [axis % x.dim() for axis in axes]
    begin, end = [0] * x.dim(), [0] * x.dim()
    for axis, wanted in zip(axes, shape, strict=True):
        more = wanted - x.shape[axis]
        begin[axis] = more // 2 if more > 0 else -(-more // 2)
        end[axis] = more - begin[axis]
    return filled(x, begin, end)
