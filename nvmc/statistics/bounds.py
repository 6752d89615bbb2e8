"""How many misses images that were not run can hide: bounds for a sample without replacement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["chance_of_so_few", "most_misses"]

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

SLACK = 1e-9
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
    seen, level = np.broadcast_arrays(np.asarray(seen, np.int64), np.asarray(level, float))
    low = seen.copy()  # so many there are, at least
    high = decisions * (images - sampled) + seen + 1  # so many there cannot be
    while np.any(high - low > 1):
        middle = (low + high) // 2
        chance = chance_of_so_few(seen, middle, sampled, images, decisions)
        unlikely = (chance <= level * (1 - SLACK)) & (high - low > 1)
        high = np.where(unlikely, middle, high)
        low = np.where(unlikely, low, np.maximum(middle, low))
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
    """P(X <= seen), X = misses in the sample: the last term, and those before it by their ratios.

    Up to rounding of the logarithms of factorials, some 1e-11 for a million images.
    """
    hits = images - misses
    most = np.minimum(seen, np.minimum(misses, sampled))
    log: Callable[[Any, Any], Any] = _log_choose
    last = log(misses, most) + log(hits, sampled - most) - log(images, sampled)
    total = np.ones(most.shape)
    term, k = total.copy(), most.copy()
    while np.any(term > NEGLIGIBLE * total):
        down = k * (hits - sampled + k) / ((misses - k + 1) * (sampled - k + 1))
        term = term * np.maximum(down, 0.0)
        total += term
        k = np.maximum(k - 1, 0)
    chance = np.exp(np.minimum(last + np.log(total), 0.0))
    return np.where(sampled - most > hits, 0.0, chance)


def _log_choose(n: Any, k: Any) -> Floats:
    return special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0)
