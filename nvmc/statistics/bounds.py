"""How likely a sample without replacement shows few of many misses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.statistics import special

__all__ = ["chance_of_so_few"]

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

NEGLIGIBLE = 1e-17
"""Terms below this share of a sum do not change it."""


def chance_of_so_few(
    seen: Any, misses: Any, sampled: int, images: int, decisions: int = 1
) -> Floats:
    """The chance of so few misses in a sample if there are so many in all, or a bound of it.

    With one decision an image, the misses in the sample are hypergeometric and the chance is
    exact. With more it is at most exp(-n KL(s / (n D) || c / (M D))), whatever images the misses
    lie in (Hoeffding, JASA 58, 1963: theorem 1, carried over to samples without replacement by
    theorem 4). It falls as `misses` grows. Arrays are broadcast.

    Args:
        seen: s, misses in the sample, of which there are at most so many; 0 to n D.
        misses: c, misses in all; more than there are decisions have a chance of 0.
        sampled: n, images in the sample, drawn without replacement; at least 1.
        images: M, images in all.
        decisions: D, decisions per image.
    """
    seen, wanted = np.broadcast_arrays(np.asarray(seen, np.int64), np.asarray(misses, np.int64))
    misses = np.clip(wanted, 0, images * decisions)
    if decisions == 1:
        chance = _hypergeometric(seen, misses, sampled, images)
    else:
        share, mean = seen / (sampled * decisions), misses / (images * decisions)
        divergence = special.kl_div(share, mean) + special.kl_div(1 - share, 1 - mean)
        chance = np.where(mean > share, np.exp(-sampled * divergence), 1.0)
    return np.where(wanted > images * decisions, 0.0, chance)


def _hypergeometric(seen: Counts, misses: Counts, sampled: int, images: int) -> Floats:
    """P(X <= seen), X = misses in the sample; above the mean by its complement, the hits."""
    above = seen * images > sampled * misses
    few = np.where(above, sampled - seen - 1, seen)
    tail = _lower_tail(few, np.where(above, images - misses, misses), sampled, images)
    return np.where(above, 1.0 - tail, tail)


def _lower_tail(few: Counts, misses: Counts, sampled: int, images: int) -> Floats:
    """P(X <= few) below the mean: the last term, and those before it by their ratios.

    Good to the rounding of logarithms of factorials, some 1e-9 for a million images.
    """
    hits = images - misses
    possible = (few >= 0) & (few >= sampled - hits)
    k = np.where(possible, few, 0)
    last = np.where(possible, _log_choose(misses, k) + _log_choose(hits, sampled - k), -np.inf)
    total = np.ones(k.shape)
    term = total.copy()
    while np.any(term > NEGLIGIBLE * total):
        down = k * (hits - sampled + k) / ((misses - k + 1) * (sampled - k + 1))
        term = term * np.where(possible, down, 0.0)
        total += term
        k = np.maximum(k - 1, 0)
    return np.exp(np.minimum(last - _log_choose(images, sampled) + np.log(total), 0.0))


def _log_choose(n: Any, k: Any) -> Any:
    """Logarithm of the number of ways to choose k of n."""
    return special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0)
