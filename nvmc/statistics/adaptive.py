"""The lowest of many chips, found without running all chips on all images.

Chips are run on more and more images, in one order that is random but for the first few; those
that cannot be among the lowest any more are dropped. The lowest are exact with a probability of at
least 1 - delta over the order of the images, whatever the chips are. Proof: docs/adaptive.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.statistics.bounds import most_misses

__all__ = ["Eliminated", "Elimination", "Work", "hard_first", "look_ends"]

LOOKS = (0.05, 0.09, 0.14, 0.2, 0.28, 0.4, 0.6)
"""Shares of the random images after which chips may be dropped."""
LEAST = 8
"""Promising chips that are completed at once, at least."""

Positions = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Work:
    """Chips to be run on images `first` ... `first + count - 1` of the order."""

    chips: tuple[int, ...]
    first: int
    count: int


@dataclass(frozen=True)
class Eliminated:
    """What an elimination found, in hits.

    Attributes:
        totals: Hits of every chip on all images; NaN where a chip was dropped. Shape (chips,).
        dropped: Chips that were not run on all images.
        fraction: Chip-images run, as a share of all chips on all images.
        mean: Mean of all chips' hits; exact where none was dropped, else an estimate that is
            unbiased over the order of the images.
        mean_error: Bound of its standard error over the order of the images; 0 where exact.
        delta: Probability that the lowest are not exact, at most.
    """

    totals: Floats
    dropped: int
    fraction: float
    mean: float
    mean_error: float
    delta: float


class Elimination:
    """Decides which chips are run on which images, until the `rank` lowest are known.

    ```
    while (work := elimination.next()) is not None:
        end = work.first + work.count
        for chip, hits in evaluate(work):  # in any order
            elimination.add(chip, end, elimination.total(chip, work.first) + hits)
    found = elimination.result()
    ```
    The decisions depend on the totals only, not on the order in which they are added, so a run
    that is taken up with all its totals goes the same way. Calls must not overlap.

    Args:
        chips: Number of chips.
        images: Number of images.
        rank: How many of the lowest chips are wanted exactly (`highest_rank`).
        hard: How many images stand first in the order for a reason; the others stand in random
            order, drawn independently of the chips (`hard_first`).
        decisions: Decisions per image; hits of one image are 0 to this.
        delta: Probability that the lowest are not exact, at most; 0 drops no chip.
        known: Totals that are there already: chip -> images of the order -> hits among them.

    Raises:
        OptionError: An argument is out of range.
    """

    def __init__(
        self,
        chips: int,
        images: int,
        *,
        rank: int,
        hard: int = 0,
        decisions: int = 1,
        delta: float = 1e-3,
        known: Mapping[int, Mapping[int, float]] | None = None,
    ) -> None:
        _check(chips, images, rank, hard, decisions, delta)
        self._chips, self._images, self._rank = chips, images, rank
        self._hard, self._decisions, self._delta = hard, decisions, delta
        self._looks = look_ends(images, hard)
        self._totals: list[dict[int, float]] = [{0: 0.0} for _ in range(chips)]
        self._dropped = np.zeros(chips, bool)
        for chip, totals in (known or {}).items():
            for end, total in totals.items():
                self.add(chip, end, total)
        self._steps = self._plan()
        self._step: tuple[Positions, int] | None = next(self._steps, None)

    def next(self) -> Work | None:
        """What to run now; None when the lowest chips are known.

        All of it must be added before anything else is asked for.
        """
        while self._step is not None:
            wanted, end = self._step
            missing = [int(chip) for chip in wanted if not self._reached(int(chip), end)]
            if missing:
                starts = [max(n for n in self._totals[chip] if n < end) for chip in missing]
                first = min(starts)
                same = tuple(c for c, start in zip(missing, starts, strict=True) if start == first)
                return Work(same, first, end - first)
            self._step = next(self._steps, None)
        return None

    def total(self, chip: int, images: int) -> float:
        """Hits of a chip among the first `images` of the order, which must be known."""
        return self._totals[chip][images]

    def add(self, chip: int, images: int, total: float) -> None:
        """Take in that a chip has `total` hits among the first `images` of the order."""
        if not 0 <= chip < self._chips or not 0 < images <= self._images:
            raise OptionError(
                f"chip {chip} with {images} images; expected chip 0 to {self._chips - 1} and 1 to "
                f"{self._images} images"
            )
        if not 0 <= total <= images * self._decisions or total != int(total):
            raise OptionError(
                f"chip {chip} has {total} hits among {images * self._decisions} decisions; "
                "expected a whole number, as accuracy and agreement count"
            )
        self._totals[chip][images] = float(total)

    def result(self) -> Eliminated:
        """What was found; call it when `next` has returned None."""
        totals = np.array([known.get(self._images, np.nan) for known in self._totals])
        left = int(np.count_nonzero(np.isnan(totals)))
        run = sum(max(known) for known in self._totals)
        mean, error = self._mean(totals)
        return Eliminated(
            totals=totals,
            dropped=left,
            fraction=run / (self._chips * self._images),
            mean=mean,
            mean_error=error,
            delta=self._delta if left else 0.0,
        )

    def _plan(self) -> Iterator[tuple[Positions, int]]:
        """The steps: (chips, images that each of them must have been run on before the next)."""
        if self._rank < self._chips and self._delta > 0:
            if self._hard:
                yield self._undecided(), self._hard
            for look in self._looks:
                yield self._undecided(), look
                yield self._lowest(), self._images
                yield from self._drop()
        yield self._undecided(), self._images

    def _lowest(self) -> Positions:
        """Chips to be completed so that `rank` are: those that seem to be the lowest."""
        chips = self._undecided()
        lacking = self._rank - len(self._completed())
        return chips[np.argsort(self._estimates(chips), kind="stable")[:lacking]]

    def _drop(self) -> Iterator[tuple[Positions, int]]:
        """Drop what can be dropped; complete the chips that still seem to be among the lowest."""
        while True:
            lowest = self._completed()
            chips = self._undecided()
            self._dropped[chips[self._beyond(chips, lowest)]] = True
            chips = self._undecided()
            hits = self._estimates(chips)
            promising = np.flatnonzero(hits <= lowest[-1])
            if not len(promising):
                return
            first = np.argsort(hits[promising], kind="stable")[: max(LEAST, self._rank // 4)]
            yield chips[promising[first]], self._images

    def _beyond(self, chips: Positions, lowest: Floats) -> NDArray[np.bool_]:
        """Which chips have more hits than the lowest, for certain but for the error allowed."""
        beyond = np.ones(len(chips), bool)
        images, looks = self._images - self._hard, self._look_of(chips)
        for look in self._looks:
            here = np.flatnonzero(looks == look)
            before, after = self._at(chips[here], self._hard), self._at(chips[here], look)
            sampled = look - self._hard
            seen = (sampled * self._decisions - (after - before)).astype(np.int64)
            few, where = np.unique(seen, return_inverse=True)
            for rank, level in _levels(self._rank, self._delta / len(self._looks)):
                most = most_misses(few, sampled, images, level, self._decisions)
                least = before + images * self._decisions - most[where]
                beyond[here] &= least > lowest[rank - 1]
        return beyond

    def _estimates(self, chips: Positions, first: bool = False) -> Floats:
        """Hits on all images, as those up to the last look suggest, or up to the first."""
        before, looks = self._at(chips, self._hard), self._look_of(chips)
        if first:
            begun = np.array([self._looks[0] in self._totals[chip] for chip in chips], bool)
            looks = np.where(begun, self._looks[0], looks)
        after = np.array([self._totals[c][n] for c, n in zip(chips, looks, strict=True)], float)
        return before + (self._images - self._hard) / (looks - self._hard) * (after - before)

    def _mean(self, totals: Floats) -> tuple[float, float]:
        """Mean hits of all chips, and a bound of its standard error.

        A chip that was looked at counts with its estimate from the first look, so that no
        decision enters. The chips' mean share y of hits of an image lies in 0 ... 1, so over
        images it varies at most as a coin does, by m (1 - m) where m is its mean.
        """
        if not np.isnan(totals).any():
            return float(totals.mean()), 0.0
        looked = self._look_of(np.arange(self._chips)) > 0
        chips = np.flatnonzero(looked & [self._hard in known for known in self._totals])
        hits = totals.copy()
        hits[chips] = self._estimates(chips, first=True)
        n, images = self._looks[0] - self._hard, self._images - self._hard
        every = images * self._decisions
        share = float((hits[chips] - self._at(chips, self._hard)).mean()) / every
        spread = (1 - n / images) * share * (1 - share) / n * images / (images - 1)
        return float(hits.mean()), every * math.sqrt(spread) * len(chips) / self._chips

    def _completed(self) -> Floats:
        """Hits of the completed chips, the `rank` lowest of them, ascending."""
        found = [known[self._images] for known in self._totals if self._images in known]
        return np.sort(np.array(found))[: self._rank]

    def _undecided(self) -> Positions:
        """Chips that are neither completed nor dropped."""
        open_ = np.array([self._images not in known for known in self._totals])
        return np.flatnonzero(open_ & ~self._dropped)

    def _look_of(self, chips: Positions) -> Positions:
        """The last look at each chip; 0 where there was none."""
        looks = (0, *self._looks)
        return np.array([max(n for n in looks if n in self._totals[c]) for c in chips], np.int64)

    def _at(self, chips: Positions, images: int) -> Floats:
        return np.array([self._totals[chip][images] for chip in chips], float)

    def _reached(self, chip: int, end: int) -> bool:
        """Whether a chip need not be run to `end`: it was, or has been looked at later."""
        known = self._totals[chip]
        return end in known or (
            end > self._hard and any(n in known for n in self._looks if n > end)
        )


def look_ends(images: int, hard: int = 0) -> tuple[int, ...]:
    """Numbers of images, from the start of the order, after which chips may be dropped."""
    rest = images - hard
    ends = (hard + math.ceil(share * rest) for share in LOOKS)
    return tuple(dict.fromkeys(end for end in ends if hard < end < images)) or (images,)


def hard_first(margins: Any, hard: int) -> tuple[Positions, int]:
    """An order of images: those of least margin first, the others as they stand.

    Where the images stand in random order, the others still do: which come first is decided by
    the images alone, ties included.

    Args:
        margins: How clearly the ideal chip decides each image, negative where wrongly; (images,).
        hard: How many come first, at most; fewer where margins are equal.

    Returns:
        Indices of the images, shape (images,), and how many come first.

    Raises:
        OptionError: hard is out of range.
    """
    keys = np.nan_to_num(np.asarray(margins, float), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    if not 0 <= hard < len(keys):
        raise OptionError(f"hard is {hard}; expected 0 to {len(keys) - 1}, images but for one")
    first = keys < np.sort(keys)[hard]
    return np.argsort(~first, kind="stable"), int(np.count_nonzero(first))


def _levels(rank: int, delta: float) -> list[tuple[int, float]]:
    """(rank from below, level): what a chip is held against so that it may be dropped.

    Ranks are taken from the top in groups of 1, 2, 4, ...; every group gets the same share of
    delta, which its ranks share equally, and is stood for by its lowest rank.
    """
    groups = rank.bit_length()
    return [
        (max(rank + 2 - 2 ** (group + 1), 1), delta / groups / 2**group) for group in range(groups)
    ]


def _check(chips: int, images: int, rank: int, hard: int, decisions: int, delta: float) -> None:
    if chips < 1 or images < 1 or decisions < 1:
        raise OptionError(
            f"{chips} chips, {images} images with {decisions} decisions; expected at least 1 each"
        )
    if not 1 <= rank <= chips:
        raise OptionError(f"rank is {rank}; expected 1 to {chips}, the number of chips")
    if not 0 <= hard < images:
        raise OptionError(f"hard is {hard}; expected 0 to {images - 1}, images but for one")
    if not 0 <= delta < 1:
        raise OptionError(f"delta is {delta}; expected 0 to 1, such as 1e-3")
