"""What chips are worth on images that nobody has seen yet: certainty over chips and images both.

All chips are judged on the same images, so what those images leave open does not average out over
chips. Both are covered by one bound that assumes nothing of chips, images or how chips go wrong
together. Proof and simulated coverage: docs/statistics.md.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from nvmc.errors import OptionError
from nvmc.statistics import special

__all__ = ["End", "Images", "ends"]

CANDIDATES = 24
"""Ranks that are weighed against one another for an end."""
GRID = np.append(np.geomspace(1e-8, 1, 400), 1.0)
"""Shares of the chips that the images may flatter, at which the bound's slope is taken."""
HALVINGS = 60


@dataclass(frozen=True)
class Images:
    """The images that every chip was judged on, as a sample of all that there could be.

    Attributes:
        count: Their number; they count as drawn independently of one another.
        decisions: Decisions in each, of which a value is the share that is right. Those of one
            image may hang together in any way.
    """

    count: int
    decisions: int = 1

    def __post_init__(self) -> None:
        if self.count < 1 or self.decisions < 1:
            raise OptionError(
                f"{self.count} images with {self.decisions} decisions; expected at least 1 each"
            )

    def lower(self, value: float, risk: float) -> float:
        """What the true mean is above but for a chance of `risk`, where `value` was seen.

        With one decision an image it is the end of Clopper and Pearson (Biometrika 26, 1934).
        With more it is the least q with n KL(value || q) <= ln(1 / risk) (Hoeffding, JASA 58,
        1963, theorem 1), which holds for any values of one image in [0, 1].
        """
        if self.decisions == 1:
            hits = round(value * self.count)
            return float(special.betaincinv(hits, self.count - hits + 1, risk)) if hits else 0.0
        low, high = 0.0, value
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            divergence = special.kl_div(value, middle) + special.kl_div(1 - value, 1 - middle)
            if divergence * self.count > -math.log(risk):
                low = middle
            else:
                high = middle
        return low

    def upper(self, value: float, risk: float) -> float:
        """What the true mean is below but for a chance of `risk`."""
        return 1 - self.lower(1 - value, risk)


@dataclass(frozen=True)
class End:
    """Where an end of the interval comes from.

    Attributes:
        rank: Of the chip whose value is taken, from 1, ascending.
        risk: Chance that is left to the images (`Images.lower`, `Images.upper`).
    """

    rank: int
    risk: float


@lru_cache(maxsize=256)
def ends(runs: int, share: float, tail: float) -> tuple[End | None, End | None]:
    """Lower and upper end of the interval of a percentile; None for an open one.

    Args:
        runs: Number of chips.
        share: Of the chips that lie below the percentile.
        tail: Chance of a miss, at most, on either side.
    """
    low, high = _end(runs, share, tail), _end(runs, 1 - share, tail)
    return low, None if high is None else End(runs + 1 - high.rank, high.risk)


def _end(runs: int, share: float, tail: float) -> End | None:
    """The lower end, counted from the lowest chip.

    A chip is one of the low ones with a chance of `share`, and the images flatter it with one of
    d, which is random as the images are, with a mean of at most r. The `rank`-th lowest is
    flattered with a chance of at most G(d) = P(Binomial(runs, share (1 - d)) < rank), and

        E G(d) <= G(0) + s r,    s the greatest slope (G(d) - G(0)) / d.

    Hence the risk r = (tail - G(0)) / s. Any rank will do; the one that is taken would be best if
    chips differed as much as images let them seem to, both by normal laws.
    """
    counts = range(runs + 1)
    found: dict[int, tuple[float, End]] = {}
    for level in tail * np.geomspace(1e-3, 1, CANDIDATES):
        rank = bisect_right(counts, level, key=lambda count: special.bdtr(count, runs, share))
        if rank < 1 or rank in found:
            continue
        chance = special.bdtr(rank - 1, runs, share * (1 - GRID))
        # Between two points of the grid G is at most what it is at the upper one; below the first
        # it is at most `chance[0]`, which takes the place of G(0).
        slope = np.max((chance[1:] - chance[0]) / GRID[:-1])
        risk = min(1.0, float((tail - chance[0]) / slope))
        if risk > 0:
            away = special.ndtri(share) - special.ndtri(rank / (runs + 1))
            found[rank] = (away - float(special.ndtri(risk)), End(rank, risk))
    return min(found.values(), key=lambda each: each[0])[1] if found else None
