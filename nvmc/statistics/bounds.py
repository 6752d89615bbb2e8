"""How many misses images that were not run can hide: bounds for a sample without replacement."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["chance_of_so_few", "most_misses"]

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

SLACK = 1e-6
"""Levels are made smaller by this share: more than rounding can make a probability too small."""
NEGLIGIBLE = 1e-17
"""Terms below this share of a sum do not change it."""


def most_misses(seen: Any, sampled: int, images: int, level: Any, decisions: int = 1) -> Counts:
    """Upper confidence bound of the misses among all images, from those among a sample of them.

    The greatest number of misses in all for which so few in the sample have a chance of more than
    `level`; it is exceeded with a probability of at most `level` (`chance_of_so_few` falls with
    the number of misses). Arrays are broadcast.

    Args:
        seen: Misses in the sample, 0 to sampled * decisions.
        sampled: Images in the sample, drawn without replacement; at least 1.
        images: Images in all.
        level: In (0, 1).
        decisions: Decisions per image.

    Returns:
        Misses among all `images` * `decisions` decisions.
    """
    shape = np.broadcast_shapes(np.shape(seen), np.shape(level))
    least: Counts = np.broadcast_to(np.asarray(seen, np.int64), shape)
    allowed: Floats = np.broadcast_to(np.asarray(level, np.float64), shape) * (1 - SLACK)
    low = least  # so many there are, at least
    high = decisions * (images - sampled) + least + 1  # so many there cannot be
    while np.any(high - low > 1):
        middle = (low + high) // 2
        chance = chance_of_so_few(least, middle, sampled, images, decisions)
        unlikely = (chance <= allowed) & (high - low > 1)
        low, high = np.where(unlikely, low, middle), np.where(unlikely, middle, high)
    return low


def chance_of_so_few(
    seen: Counts, misses: Counts, sampled: int, images: int, decisions: int = 1
) -> Floats:
    """The chance of at most `seen` misses in a sample when there are `misses` in all, or a bound.

    With one decision an image the number in the sample is hypergeometric and the chance exact.
    With more it is at most exp(-n KL(s / (n D) || c / (M D))), whatever images the misses lie in
    (Hoeffding, JASA 58, 1963: theorem 1, which theorem 4 carries over to sampling without
    replacement).
    """
    if decisions == 1:
        return _hypergeometric(seen, misses, sampled, images)
    share = seen / (sampled * decisions)
    mean = misses / (images * decisions)
    divergence = special.kl_div(share, mean) + special.kl_div(1 - share, 1 - mean)
    return np.where(mean > share, np.exp(-sampled * divergence), 1.0)


def _hypergeometric(seen: Counts, misses: Counts, sampled: int, images: int) -> Floats:
    """P(X <= seen), X = misses in the sample; above the mean by its complement, the hits."""
    seen, misses = np.broadcast_arrays(seen, misses)
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
