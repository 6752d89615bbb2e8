"""What rounding a weight to codes changes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.rounding import Rounding
from nvmc.hardware.tiling import Channels

__all__ = ["rounding_of"]


def rounding_of(
    weight: NDArray[Any],
    codes: NDArray[Any],
    scale: NDArray[Any],
    bits: int,
    channels: Channels | None,
) -> Rounding:
    """How far codes * scale are from a weight.

    Cost: a few passes over it, of which no more than a row along its first axis is held twice.

    Args:
        weight: Finite weights.
        codes: Their codes, of the same shape.
        scale: The step, which broadcasts against them.
        bits: H.
        channels: The output channels; None for a weight whose uses do not agree on any.
    """
    steps = np.broadcast_to(scale, weight.shape)
    off = norm = 0.0
    for one, code, step in zip(weight, codes, steps, strict=True):
        wide = one.astype(np.float64)
        off += float(np.sum(np.square(wide - code * step.astype(np.float64))))
        norm += float(np.sum(np.square(wide)))
    largest = np.max(np.abs(weight)) if channels is None else channels.largest(weight)
    highest = np.max(np.abs(codes)) if channels is None else channels.largest(codes)
    count = 1 if channels is None else channels.count
    lost = np.broadcast_to((largest > 0) & (highest == 0), np.shape(largest))
    numbers = np.zeros(()) if channels is None else channels.numbers
    alike = all(
        bool(np.all(np.abs(w) == m)) for w, m in zip(weight, _rows(largest, weight), strict=True)
    )
    return Rounding(
        error=(off / norm) ** 0.5 if norm else 0.0,
        binary=alike and norm > 0 and weight.size >= 2 * count,
        channels=count,
        zeroed=int(np.unique(numbers[lost]).size),
        zeros=int(np.count_nonzero(weight == 0)) if bits == 1 else 0,
    )


def _rows(values: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """`values` of the shape of `weight`, to be gone through along its first axis."""
    return np.broadcast_to(values, weight.shape)
