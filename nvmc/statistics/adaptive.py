"""The lowest of many chips, found without running all chips on all images.

Chips are run on more and more images, in one order that is random but for the first few; those
that cannot be among the lowest any more are dropped. The lowest are exact with a probability of at
least 1 - delta over the order of the images, whatever the chips are. Proof: docs/adaptive.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.statistics.bounds import chance_of_so_few

__all__ = ["Eliminated", "Elimination", "Work", "hard_first", "look_ends"]

LOOKS = (0.05, 0.09, 0.14, 0.2, 0.28, 0.4, 0.6)
"""Shares of the random images after which chips may be dropped."""
SLACK = 1e-6
"""Levels are made smaller by this share: more than rounding can make a probability too small."""
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
        mean: Mean of all chips' hits; exact where none was dropped, else an estimate, whose bias
            over the order of the images is small beside its bound.
        mean_bound: Bound of its standard deviation over the order of the images; 0 where exact.
        delta: Probability that the lowest are not exact, at most.
    """

    totals: Floats
    dropped: int
    fraction: float
    mean: float
    mean_bound: float
    delta: float


class _State(Enum):
    """What an elimination waits for. It moves on when all of that is added (`_move`).

    BEGIN ─▶ HARD ─▶ LOOK ─▶ CEILING ─▶ CONTEND ─┐ as long as there are contenders
      │               ▲                  │  ▲    │
      │               └── the next look ─┤  └────┘
      └───── nothing may be dropped ─────┴─▶ REST ─▶ DONE
    """

    BEGIN = auto()
    HARD = auto()  # every chip runs the hard images; no random sample, so nothing is concluded
    LOOK = auto()  # the chips that are left run up to the present look
    CEILING = auto()  # those that seem lowest run all images: no more than the `rank`-th of them
    CONTEND = auto()  # those that seem to lie below the ceiling run all images, and lower it
    REST = auto()  # after the last look those that are left run all images
    DONE = auto()


class Elimination:
    """Decides which chips are run on which images, until the `rank` lowest are known.

    ```
    while (work := elimination.next()) is not None:
        end = work.first + work.count
        for chip, hits in evaluate(work):  # in any order
            elimination.add(chip, end, elimination.total(chip, work.first) + hits)
    found = elimination.result()
    ```
    The decisions depend on the totals only, not on the order in which they are added, and at each
    look on those up to it, so a run that is taken up with all its totals, wherever it was ended,
    goes the same way. Calls must not overlap.

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
        # Totals are only compared at these numbers of images, the same for every chip. A total at
        # another number (`_known`) is where a chip goes on, and decides nothing.
        self._stops = np.unique([0, hard, *self._looks, images])
        self._totals = np.full((chips, len(self._stops)), np.nan)
        self._totals[:, 0] = 0
        self._dropped = np.zeros(chips, bool)
        self._known = {chip: dict(totals) for chip, totals in (known or {}).items()}
        for chip, totals in self._known.items():
            for end, total in totals.items():
                self._check(chip, end, total)
        # All chips complete: take that in at once. Otherwise a state takes in what it waits for, so
        # that a run that is taken up drops at every look what it would have dropped then.
        if sum(images in totals for totals in self._known.values()) == chips:
            self._recall(np.arange(chips), images)
        self._state, self._look = _State.BEGIN, 0
        self._asked: tuple[Positions, int] = (np.arange(0), 0)
        self._move()

    def next(self) -> Work | None:
        """What to run now; None when the lowest chips are known.

        All of it must be added before anything else is asked for.
        """
        while self._state is not _State.DONE:
            chips, end = self._asked
            self._recall(chips, end)
            chips = chips[~self._reached(chips, end)]
            if len(chips):
                starts = self._starts(chips, end)
                first = int(starts.min())
                return Work(tuple(chips[starts == first].tolist()), first, end - first)
            self._move()
        return None

    def total(self, chip: int, images: int) -> float:
        """Hits of a chip among the first `images` of the order; NaN where they are not known."""
        column = int(np.searchsorted(self._stops, images))
        if column < len(self._stops) and self._stops[column] == images:
            total = float(self._totals[chip, column])
            if not math.isnan(total):
                return total
        return self._known.get(chip, {}).get(images, math.nan)

    def add(self, chip: int, images: int, total: float) -> None:
        """Take in that a chip has `total` hits among the first `images` of the order.

        Raises:
            OptionError: There is no such chip or image, or the total is no number of hits.
        """
        self._check(chip, images, total)
        column = int(np.searchsorted(self._stops, images))
        if self._stops[column] == images:
            self._totals[chip, column] = total
        else:
            self._known.setdefault(chip, {})[images] = float(total)

    def result(self) -> Eliminated:
        """What was found; call it when `next` has returned None."""
        totals = self._totals[:, -1].copy()
        left = int(np.count_nonzero(np.isnan(totals)))
        furthest = np.where(np.isnan(self._totals), 0, self._stops).max(axis=1)
        for chip, known in self._known.items():
            furthest[chip] = max(furthest[chip], *known)
        mean, error = self._mean(totals)
        return Eliminated(
            totals=totals,
            dropped=left,
            fraction=float(furthest.sum()) / (self._chips * self._images),
            mean=mean,
            mean_bound=error,
            delta=self._delta if left else 0.0,
        )

    def _check(self, chip: int, images: int, total: float) -> None:
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

    def _recall(self, chips: Positions, end: int) -> None:
        """Take in what is known of chips at `end`, or later where it is not known there.

        What is known of later looks is left for them: so a run that is taken up decides as it did.
        """
        for chip in chips.tolist() if self._known else ():
            known = self._known.get(chip, {})
            stops = [images for images in known if images >= end and images in self._stops]
            if stops:
                self.add(chip, min(stops), known[min(stops)])

    def _move(self) -> None:
        """Enter the next state, and choose the chips and the images that it waits for.

        All totals asked for are in by now, so jobs and machines change nothing.
        """
        left, images = self._undecided(), self._images
        match self._state:
            case _State.BEGIN if self._rank == self._chips or self._delta == 0:
                self._state, self._asked = _State.REST, (left, images)
            case _State.BEGIN if self._hard:
                self._state, self._asked = _State.HARD, (left, self._hard)
            case _State.BEGIN | _State.HARD:
                self._state, self._asked = _State.LOOK, (left, self._looks[0])
            case _State.LOOK:
                self._state, self._asked = _State.CEILING, (self._lowest(left), images)
            case _State.CEILING | _State.CONTEND if len(chips := self._contenders(left)):
                self._state, self._asked = _State.CONTEND, (chips, images)
            case _State.CEILING | _State.CONTEND:
                self._look += 1
                last = self._look == len(self._looks)
                end = images if last else self._looks[self._look]
                self._state = _State.REST if last else _State.LOOK
                self._asked = (self._undecided(), end)  # some have just been dropped
            case _State.REST | _State.DONE:
                self._state = _State.DONE

    def _lowest(self, chips: Positions) -> Positions:
        """Chips to be completed so that `rank` are: those that seem to be the lowest."""
        lacking = self._rank - len(self._completed())  # 0 from the second look on
        return chips[np.argsort(self._estimates(chips), kind="stable")[:lacking]]

    def _contenders(self, chips: Positions) -> Positions:
        """Drop what can be dropped; the next chips of the others that seem to be among the lowest.

        Some at a time: each that is completed may lower the ceiling, and spare the later ones.
        """
        if not len(chips):
            return chips
        lowest = self._completed()
        chips = chips[~self._beyond(chips, lowest)]
        hits = self._estimates(chips)
        promising = np.flatnonzero(hits <= lowest[-1])
        first = np.argsort(hits[promising], kind="stable")[: max(LEAST, self._rank // 4)]
        return chips[promising[first]]

    def _beyond(self, chips: Positions, lowest: Floats) -> NDArray[np.bool_]:
        """Which chips are dropped: with as few hits as the lowest, so few misses are unlikely."""
        images, looks = self._images - self._hard, self._last_looks(chips)
        ranks, levels = _levels(self._rank, self._delta / len(self._looks))
        beyond = np.zeros(len(chips), bool)
        for look in np.unique(looks).tolist():  # a run that is taken up may know some chips later
            here = np.flatnonzero(looks == look)
            before, sampled = self._at(chips[here], self._hard), look - self._hard
            seen = sampled * self._decisions - (self._at(chips[here], look) - before)
            misses = images * self._decisions - (lowest[ranks - 1] - before[:, None])
            chance = chance_of_so_few(seen[:, None], misses, sampled, images, self._decisions)
            beyond[here] = np.all(chance <= levels * (1 - SLACK), axis=1)
        self._dropped[chips[beyond]] = True
        return beyond

    def _estimates(self, chips: Positions, looks: Positions | None = None) -> Floats:
        """Hits on all images, as those up to the last look suggest, or up to other looks."""
        looks = self._last_looks(chips) if looks is None else looks
        after = self._totals[chips, np.searchsorted(self._stops, looks)]
        before = self._at(chips, self._hard)
        return before + (self._images - self._hard) / (looks - self._hard) * (after - before)

    def _mean(self, totals: Floats) -> tuple[float, float]:
        """Mean hits of all chips, and a bound of its standard error.

        A chip counts with its estimate from the first look, where there was one, so that no
        decision enters. The chips' mean share y of hits of an image lies in 0 ... 1, so over
        images it varies at most as a coin does, by m (1 - m) where m is its mean.
        """
        if not np.isnan(totals).any():
            return float(totals.mean()), 0.0
        everyone, look = np.arange(self._chips), self._looks[0]
        first = ~np.isnan(self._at(everyone, self._hard) + self._at(everyone, look))
        chips = np.flatnonzero(first | np.isnan(totals))
        estimates = self._estimates(chips, np.where(first, look, self._last_looks(everyone))[chips])
        hits = totals.copy()
        hits[chips] = estimates
        n, images = look - self._hard, self._images - self._hard
        every = images * self._decisions
        share = float((estimates - self._at(chips, self._hard)).mean()) / every
        share = min(max(share, 0.0), 1.0)  # it is rounded
        spread = (1 - n / images) * share * (1 - share) / n * images / (images - 1)
        return float(hits.mean()), every * math.sqrt(spread) * len(chips) / self._chips

    def _completed(self) -> Floats:
        """Hits of the completed chips, the `rank` lowest of them, ascending."""
        lowest = np.sort(self._totals[:, -1])[: self._rank]
        return lowest[~np.isnan(lowest)]

    def _undecided(self) -> Positions:
        """Chips that are neither completed nor dropped."""
        return np.flatnonzero(np.isnan(self._totals[:, -1]) & ~self._dropped)

    def _last_looks(self, chips: Positions) -> Positions:
        """The last look at each chip."""
        is_look = (self._stops > self._hard) & (self._stops < self._images)
        looks = is_look & ~np.isnan(self._totals[chips])
        return np.where(looks, self._stops, 0).max(axis=1)

    def _at(self, chips: Positions, images: int) -> Floats:
        return self._totals[chips, np.searchsorted(self._stops, images)]

    def _reached(self, chips: Positions, end: int) -> NDArray[np.bool_]:
        """Which chips need not be run to `end`: they were, or have been looked at later."""
        # A total beyond the hard images does not tell how many of the hits are hard ones, which the
        # estimates need; only a complete chip needs none.
        enough = (
            self._stops >= end if end > self._hard else np.isin(self._stops, (end, self._images))
        )
        return np.any(enough & ~np.isnan(self._totals[chips]), axis=1)

    def _starts(self, chips: Positions, end: int) -> Positions:
        """Up to where the hits of each chip are known, before `end`."""
        known = (self._stops < end) & ~np.isnan(self._totals[chips])
        starts = np.where(known, self._stops, 0).max(axis=1)
        for place, chip in enumerate(chips.tolist() if self._known else ()):
            others = [images for images in self._known.get(chip, ()) if images < end]
            starts[place] = max(starts[place], *others) if others else starts[place]
        return starts


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


def _levels(rank: int, delta: float) -> tuple[Positions, Floats]:
    """Ranks from below, and the levels at which a chip is compared with each of them.

    Ranks are taken from the top in groups of 1, 2, 4, ...; every group gets the same share of
    delta, which its ranks share equally, and is stood for by its highest rank, the strictest.
    """
    sizes = 2 ** np.arange(rank.bit_length())
    return rank + 1 - sizes, delta / len(sizes) / sizes


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
