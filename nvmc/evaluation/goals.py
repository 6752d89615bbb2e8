"""What is required of a population of chips, and whether it is met: by an interval's lower end."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from nvmc.errors import OptionError
from nvmc.statistics import (
    Covers,
    Kpp,
    Yield,
    accuracy_interval,
    interval_ranks,
    parse_share,
    runs_needed,
)

__all__ = ["Requirement", "Verdict", "as_goal", "as_target", "as_wanted", "check_reachable"]

Quantity = Literal["kpp", "yield"]


@dataclass(frozen=True)
class Requirement:
    """What chips must have.

    Attributes:
        of: The KPP, or the yield at the goal.
        least: What the lower end of its interval must reach.
    """

    of: Quantity
    least: float

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """`kpp>=95%` or `yield>=0.99`.

        Raises:
            OptionError: It is none.
        """
        found = re.fullmatch(r"\s*(kpp|yield)\s*>=(.*)", text)
        if found is None:
            raise OptionError(
                f"require is {text!r}; expected kpp>=SHARE or yield>=SHARE, such as kpp>=95%"
            )
        of, least = cast(Quantity, found[1]), parse_share(found[1], found[2])
        if of == "yield" and least < 0:
            raise OptionError(f"require is {text!r}; expected a yield of 0 to 1")
        return cls(of, least)

    def __str__(self) -> str:
        return f"{self.of}>={100 * self.least:.6g}%"

    def judge(self, kpp: Kpp, reached: Yield | None, time_s: float | None = None) -> Verdict:
        """Whether chips at one time have it.

        Args:
            kpp: Of the chips.
            reached: Their yield at the goal; for a requirement of the yield.
            time_s: Seconds since programming, which the verdict repeats.

        Raises:
            OptionError: The yield is required without a goal.
        """
        if self.of == "kpp":
            return Verdict(self, kpp.interval.low, kpp.covers, kpp.confidence, time_s)
        if reached is None:
            raise OptionError(
                f"{self} is required without a goal; give what a chip must reach, as --goal 97%"
            )
        return Verdict(self, reached.low, "chips", reached.confidence, time_s)


@dataclass(frozen=True)
class Verdict:
    """Whether a requirement is met.

    Attributes:
        requirement: What is required.
        end: Lower end of the interval that decides; None for an open one.
        covers: What that interval is certain over.
        confidence: Of that interval.
        time_s: Seconds since programming, where it was given.
    """

    requirement: Requirement
    end: float | None
    covers: Covers
    confidence: float
    time_s: float | None

    @property
    def met(self) -> bool:
        """Whether the end reaches what is required; an open one does not."""
        return self.end is not None and self.end >= self.requirement.least

    @property
    def basis(self) -> str:
        """What decided, for people."""
        of = "chips and images" if self.covers == "chips and images" else "chips alone"
        return f"lower end of the {self.confidence:.0%} interval of {of}"

    def to_json(self) -> dict[str, Any]:
        """The keys of an entry of `required` in `--json`."""
        return {
            "of": self.requirement.of,
            "least": self.requirement.least,
            "time_s": self.time_s,
            "low": self.end,
            "covers": self.covers,
            "confidence": self.confidence,
            "met": self.met,
        }


def as_goal(goal: float | str | None) -> float | None:
    """A goal as a value of chips, from a number or what people write after `--goal`.

    Raises:
        OptionError: No chip can reach it, or it is no share.
    """
    return goal if goal is None else parse_share("goal", str(goal))


def as_wanted(
    goal: float | str | None, require: Sequence[Requirement | str]
) -> tuple[float | None, tuple[Requirement, ...]]:
    """A goal and requirements, from texts as behind `--goal` and `--require` too.

    Raises:
        OptionError: One is none, or is of the yield without a goal.
    """
    share = as_goal(goal)
    found = tuple(Requirement.parse(one) if isinstance(one, str) else one for one in require)
    for one in found if share is None else ():
        if one.of == "yield":
            raise OptionError(
                f"{one} is required without a goal; give what a chip must reach, as --goal 97%"
            )
    return share, found


def as_target(
    goal: float | str, require: Requirement | str | None = None
) -> tuple[float | None, Requirement]:
    """The one thing that a search is for: a goal, and what the chips must have.

    `97%` alone asks that the lower end of the KPP's interval reaches it, as `kpp>=97%` does; with
    `yield>=99%` it is what a chip must reach.

    Raises:
        OptionError: One is wrong, or both name a KPP.
    """
    if isinstance(goal, str) and ">" in goal:
        wanted = Requirement.parse(goal)
        if require is not None or wanted.of == "yield":
            raise OptionError(
                f"goal is {goal!r}; expected what a chip must reach, such as 97%, beside "
                "--require yield>=SHARE, or kpp>=SHARE alone"
            )
        return None, wanted
    share = parse_share("goal", str(goal))
    if require is None:
        return None, Requirement("kpp", share)
    found = Requirement.parse(require) if isinstance(require, str) else require
    if found.of == "kpp":
        raise OptionError(
            f"goal is {goal!r} and {found} is required; give one of the two, or yield>=SHARE"
        )
    return share, found


def check_reachable(wanted: Requirement, runs: int, percentile: float) -> None:
    """Complain of so few chips that their interval could not show what is required.

    Raises:
        OptionError: That is so.
    """
    if wanted.of == "kpp":
        if interval_ranks(runs, percentile)[0] < 1:
            raise OptionError(
                f"runs is {runs}, which leaves the lower end of the KPP's interval open, so that "
                f"{wanted} is never met; give at least --runs {runs_needed(percentile)}"
            )
        return
    best = accuracy_interval(runs, runs)
    if best.low >= wanted.least:
        return
    if wanted.least == 1:
        raise OptionError(f"{wanted} is met by no number of chips; require less, such as 99%")
    tail = (1 - best.confidence) / 2  # the interval's lower end is tail ** (1 / runs)
    needed = math.ceil(math.log(tail) / math.log(wanted.least))
    raise OptionError(
        f"runs is {runs}: chips that all reach the goal show a yield of {100 * best.low:.2f} %, so "
        f"that {wanted} is never met; give at least --runs {needed}"
    )
