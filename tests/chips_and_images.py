"""Worlds of chips and images whose true percentile is known, and how often intervals hold it.

Chips are drawn, images are drawn, and all chips see the same images. Worlds differ in how skewed
chips are and in how much they go wrong on the same images: not at all, wholly, or in part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nvmc.statistics import Images, accuracy_interval, percentile_performance

__all__ = ["WORLDS", "Coverage", "World", "coverage"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """A law of chips and images.

    Attributes:
        draw: Values of so many chips on so many images.
        truth: The percentile of all chips' values over all images.
        decisions: In each image.
    """

    draw: Callable[[np.random.Generator, int, int], Floats]
    truth: Callable[[float], float]
    decisions: int = 1


@dataclass(frozen=True)
class Coverage:
    """Shares of trials in which an interval holds the percentile over all images.

    Attributes:
        both: The interval of chips and images.
        alone: That of chips alone, which does not claim to.
        pearson: Clopper and Pearson's around the printed KPP, which has no proof here.
        low: Misses of `both` at its lower end, as a share.
        high: At its upper end.
        width: Mean width of `both` where it is closed, NaN where it never is.
        pearson_width: Of `pearson`.
    """

    both: float
    alone: float
    pearson: float
    low: float
    high: float
    width: float
    pearson_width: float


def coverage(world: World, k: float, chips: int, images: int, trials: int, seed: int) -> Coverage:
    """Draw chips and images anew in every trial."""
    rng, truth = np.random.default_rng(seed), world.truth(k)
    rows: list[list[float]] = []
    for _ in range(trials):
        values = world.draw(rng, chips, images)
        kpp = percentile_performance(values, k, images=Images(images, world.decisions))
        own = accuracy_interval(round(kpp.value * images), images)
        (low, high), (l1, h1) = (
            (-np.inf if e.low is None else e.low, np.inf if e.high is None else e.high)
            for e in (kpp.interval, kpp.chips_alone)
        )
        rows.append(
            [
                low <= truth <= high,
                l1 <= truth <= h1,
                own.low <= truth <= own.high,
                low > truth,
                high < truth,
                high - low,
                own.high - own.low,
            ]
        )
    found = np.array(rows)
    *shares, _, _ = found.mean(axis=0).tolist()
    width = found[np.isfinite(found[:, 5]), 5]
    return Coverage(*shares, float(width.mean()) if len(width) else np.nan, found[:, 6].mean())


def _skewed(rng: np.random.Generator, chips: int) -> Floats:
    """Accuracies of chips: most near 0.99, with a long tail to the left."""
    return 1 - 0.01 * np.exp(1.0 * rng.normal(size=chips)).clip(max=60)


def _skewed_truth(k: float) -> float:
    return 1 - 0.01 * float(np.exp(stats.norm.ppf(1 - k / 100)))


def _apart(rng: np.random.Generator, chips: int, images: int) -> Floats:
    return rng.binomial(images, _skewed(rng, chips)) / images


def _together(rng: np.random.Generator, chips: int, images: int) -> Floats:
    difficulty = np.sort(rng.random(images))
    return np.searchsorted(difficulty, _skewed(rng, chips)) / images


def _equal(rng: np.random.Generator, chips: int, images: int) -> Floats:
    return np.full(chips, rng.binomial(images, 0.99) / images)


def _equal_apart(rng: np.random.Generator, chips: int, images: int) -> Floats:
    return rng.binomial(images, 0.99, chips) / images


def _partly(rng: np.random.Generator, chips: int, images: int) -> Floats:
    """A chip of ability a is right on an image of difficulty d with a chance of Phi(a - d)."""
    ability = 6 - 0.8 * rng.exponential(size=(chips, 1))
    difficulty = 1.5 * rng.normal(size=images)
    noise = rng.standard_normal((chips, images), dtype=np.float32)
    return (ability - difficulty + noise > 0).mean(axis=1)


def _partly_truth(k: float) -> float:
    ability = 6 - 0.8 * stats.expon.ppf(1 - k / 100)
    return float(stats.norm.cdf(ability / np.sqrt(1 + 1.5**2)))


def _maps(rng: np.random.Generator, chips: int, images: int) -> Floats:
    """Maps of 16 decisions: a third of the images are right or wrong as a whole."""
    quality = _skewed(rng, chips)[:, None]
    whole = rng.random(images) < 0.3
    hits = np.where(
        whole, 16 * (rng.random(images) < quality), rng.binomial(16, quality, (chips, images))
    )
    return hits.sum(axis=1) / (16 * images)


WORLDS = {
    "skewed, each fails on images of its own": World(_apart, _skewed_truth),
    "skewed, all fail on the same images": World(_together, _skewed_truth),
    "skewed, partly on the same": World(_partly, _partly_truth),
    "equal, all fail on the same images": World(_equal, lambda k: 0.99),
    "equal, each fails on its own": World(_equal_apart, lambda k: 0.99),
    "skewed, maps of 16 decisions": World(_maps, _skewed_truth, 16),
}
