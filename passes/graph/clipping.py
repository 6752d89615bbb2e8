"""How wide the range of a weight should be: outliers cost every other weight its accuracy.

The step of codes is s = c / (2^H - 1) with c the largest magnitude, and the errors of cells are
proportional to it. With weights clipped at a smaller c, those beyond it are wrong by what is cut
off, and all others are nearer to what they should be. The expected squared error of a weight is

    E(c) = sum_w (w - s q(w))^2 + s^2 sum_w v(q(w))

with q the clipped code and v its mean squared error in code steps (`nvmc.hardware.expected_error`;
TRICE, Eq. 14). For inputs that are alike and independent that is the layer's squared output error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.expected_error import CodeErrors
from nvmc.hardware.tiling import Channels

__all__ = ["Widths", "widths_of"]

Float = NDArray[np.float64]

_BINS = 8192
_FEWEST_BINS = 128
_CANDIDATES = np.geomspace(1.0, 0.04, 64)
"""Widths that are tried, as shares of the largest magnitude."""


@dataclass(frozen=True)
class Widths:
    """The best width of each channel of a weight, or of all of it.

    Attributes:
        best: That with the least expected squared error, to be broadcast against the weight.
        error: Root of that error over the weight's norm.
        unclipped: The same with nothing clipped.
    """

    best: Float
    error: float
    unclipped: float


def widths_of(
    weight: NDArray[Any], bits: int | None, errors: CodeErrors, channels: Channels | None
) -> Widths:
    """The widths at which a weight's expected squared error is least.

    Magnitudes are counted in bins, so that the cost is one pass over the weight and 64 over the
    bins.

    Args:
        weight: Finite weights.
        bits: H from 2 to 16; None for analog weights.
        errors: Of the cells that hold it.
        channels: The channels that have a scale each; None for one scale per tensor.
    """
    numbers = np.zeros((), np.int64) if channels is None else channels.numbers
    count = 1 if channels is None else channels.count
    largest = np.zeros(count)
    if channels is None:
        largest[0] = np.max(np.abs(weight), initial=0.0)
    else:
        whole = np.broadcast_to(channels.largest(weight), numbers.shape)
        largest[numbers.reshape(-1)] = whole.reshape(-1)
    bins = max(_FEWEST_BINS, _BINS // count)
    counts = _histogram(weight, numbers, largest, bins)
    values: Float = (np.arange(bins, dtype=np.float64) + 0.5) * (
        2 / bins
    ) - 1  # in units of the largest magnitude
    found = np.stack([_error(counts, values, share, bits, errors) for share in _CANDIDATES])
    chosen = np.argmin(found, axis=0)
    norm = float(np.sum(np.square(weight, dtype=np.float64)))
    scaled = np.square(largest)
    best = largest * _CANDIDATES[chosen]
    return Widths(
        best=best[numbers],
        error=_root(float(np.sum(found.min(axis=0) * scaled)), norm),
        unclipped=_root(float(np.sum(found[0] * scaled)), norm),
    )


def _root(error: float, norm: float) -> float:
    return (error / norm) ** 0.5 if norm else 0.0


def _histogram(
    weight: NDArray[Any], numbers: NDArray[np.int64], largest: Float, bins: int
) -> Float:
    """How many weights of each channel (rows) lie in each bin from -largest to largest."""
    counts = np.zeros((len(largest), bins))
    span = np.where(largest > 0, largest, 1.0)[numbers]
    shape = weight.shape
    spans, rows = np.broadcast_to(span, shape), np.broadcast_to(numbers, shape)
    for one, wide, row in zip(_parts(weight), _parts(spans), _parts(rows), strict=True):
        place = ((one / wide + 1) * (bins / 2)).astype(np.int64).clip(0, bins - 1)
        flat = np.bincount((row * bins + place).reshape(-1), minlength=counts.size)
        counts += flat.reshape(counts.shape)
    return counts


def _parts(values: NDArray[Any]) -> NDArray[Any]:
    """Rows of the first axis, or the whole where there is no other: little is held at once."""
    return values if values.ndim > 1 else values[None]


def _error(
    counts: Float, values: Float, share: float, bits: int | None, errors: CodeErrors
) -> Float:
    """E(c) of each channel in units of its largest magnitude squared, for c = share of it."""
    top = errors.steps[-1]
    unit = share / top
    steps = np.clip(values / unit, -top, top)
    steps = steps if bits is None else np.rint(steps)
    return counts @ (np.square(values - steps * unit) + np.square(unit) * errors.of(steps))
