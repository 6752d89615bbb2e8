"""Reads of cells that cannot conduct less than nothing.

A read is max(0, g + s z) with z a standard normal. Of many cells only the sum is seen, which is as
good as normal, so their means and variances are all that a column needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace

__all__ = ["clipped_reads"]

_FAR = 6.0  # spreads from nothing, where the moments move by less than float32 resolves


def clipped_reads(
    levels: Any, spread: Any, off_level: float, tail: Callable[[Any], Any]
) -> tuple[Any, Any]:
    """Mean and standard deviation of one read of every cell, clipped at zero conductance.

    With a = g/s, q = P(z < -a), f the normal density and h = f(a) - a q, the mean is g + s h and
    the variance s^2 (1 + (a^2 - 1) q - a f(a) - h^2); at g = 0 that is 0.399 s and 0.341 s^2.

    Args:
        levels: Present levels, in level steps; NumPy or torch.
        spread: Standard deviation of a read that is not clipped, likewise.
        off_level: What a cell at level 0 conducts, in level steps.
        tail: P(z < x) of a standard normal, elementwise in float64.

    Returns:
        Levels and spreads like those given: themselves where no cell is near zero conductance.
    """
    xp = array_namespace(levels)
    distance = xp.clip(levels + off_level, 0, None)
    near = distance < _FAR * spread
    if not xp.any(near):
        return levels, spread
    scale = xp.astype(spread[near], xp.float64)
    a = xp.astype(distance[near], xp.float64) / scale
    below = tail(-a)
    density = xp.exp(-0.5 * a * a) / math.sqrt(2 * math.pi)
    more = density - a * below
    variance = 1 + (a * a - 1) * below - a * density - more * more
    means, spreads = xp.asarray(levels, copy=True), xp.asarray(spread, copy=True)
    means[near] += xp.astype(scale * more, levels.dtype)
    spreads[near] = xp.astype(scale * xp.sqrt(variance), spread.dtype)
    return means, spreads
