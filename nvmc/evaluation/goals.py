"""What is required of a population of chips, and whether it is met: by an end of an interval."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from nvmc.errors import OptionError
from nvmc.metrics import Metric
from nvmc.statistics import (
    Covers,
    Kpp,
    Yield,
    accuracy_interval,
    interval_ranks,
    parse_share,
    runs_needed,
)

__all__ = [
    "Requirement",
    "Verdict",
    "as_goal",
    "as_target",
    "as_wanted",
    "check_reachable",
    "parse_value",
    "read_goal",
]

Quantity = Literal["kpp", "yield"]


@dataclass(frozen=True)
class Requirement:
    """What chips must have.

    Attributes:
        of: The KPP, or the yield at the goal.
        bound: What the lower end of its interval must reach; of a KPP of which less is better,
            what the upper end must not exceed.
        at_most: Whether it is that.
        percent: Whether people write the bound in percent.
    """

    of: Quantity
    bound: float
    at_most: bool = False
    percent: bool = True

    @classmethod
    def parse(cls, text: str, metric: type[Metric] | None = None) -> Requirement:
        """`kpp>=95%`, `yield>=0.99`, or `kpp<=0.3` of a metric of which less is better.

        Args:
            text: What was given.
            metric: What chips are judged by; None for one of which more is better, in percent.

        Raises:
            OptionError: It is none, or not of this metric.
        """
        found = re.fullmatch(r"\s*(kpp|yield)\s*(>=|<=)(.*)", text)
        own, sign = _own_unit(metric), _sign(metric)
        if found is None or (found[1] == "yield" and found[2] == "<="):
            wanted = f"kpp{sign}{'VALUE' if own else 'SHARE'}"
            raise OptionError(
                f"require is {text!r}; expected {wanted} or yield>=SHARE, such as "
                f"{f'kpp{sign}0.3' if own else 'kpp>=95%'}"
            )
        if found[1] == "kpp" and found[2] != sign:
            raise _wrong_way(text, metric)
        if found[1] == "kpp" and own:
            return cls("kpp", parse_value("kpp", found[3]), sign == "<=", percent=False)
        of, bound = cast(Quantity, found[1]), parse_share(found[1], found[3])
        if of == "yield" and bound < 0:
            raise OptionError(f"require is {text!r}; expected a yield of 0 to 1")
        return cls(of, bound, of == "kpp" and sign == "<=")

    def check(self, metric: type[Metric] | None) -> None:
        """Complain of a requirement that is of another kind of metric.

        Raises:
            OptionError: It is.
        """
        if self.of == "kpp" and self.at_most != (_sign(metric) == "<="):
            raise _wrong_way(str(self), metric)

    def to_json(self) -> dict[str, Any]:
        """The keys of what is required."""
        least, most = (None, self.bound) if self.at_most else (self.bound, None)
        return {"of": self.of, "least": least, "most": most}

    def __str__(self) -> str:
        bound = f"{100 * self.bound:.6g}%" if self.percent else f"{self.bound:.6g}"
        return f"{self.of}{'<=' if self.at_most else '>='}{bound}"

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
            return Verdict(self, kpp.promised, kpp.covers, kpp.confidence, time_s)
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
        end: End of the interval that decides, the lower one, or the upper one where less is
            better; None for an open one.
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
        if self.end is None:
            return False
        bound = self.requirement.bound
        return self.end <= bound if self.requirement.at_most else self.end >= bound

    @property
    def basis(self) -> str:
        """What decided, for people."""
        of = "chips and images" if self.covers == "chips and images" else "chips alone"
        which = "upper" if self.requirement.at_most else "lower"
        return f"{which} end of the {self.confidence:.0%} interval of {of}"

    def to_json(self) -> dict[str, Any]:
        """The keys of an entry of `required` in `--json`."""
        return {
            **self.requirement.to_json(),
            "time_s": self.time_s,
            "low": None if self.requirement.at_most else self.end,
            "high": self.end if self.requirement.at_most else None,
            "covers": self.covers,
            "confidence": self.confidence,
            "met": self.met,
        }


def as_goal(goal: float | str | None, metric: type[Metric] | None = None) -> float | None:
    """A goal as a value of chips, from a number or what people write after `--goal`.

    Args:
        goal: A share, or a value in the metric's own unit.
        metric: What chips are judged by; None for one whose values are shares.

    Raises:
        OptionError: No chip can reach it, or it is no such value.
    """
    if goal is None:
        return None
    return read_goal(goal, not _own_unit(metric))


def read_goal(goal: float | str, percent: bool) -> float:
    """A goal of values that are shares (`percent`), or that have a unit of their own.

    Raises:
        OptionError: No chip can reach it, or it is no such value.
    """
    return (parse_share if percent else parse_value)("goal", str(goal))


def parse_value(name: str, text: str) -> float:
    """A value in a metric's own unit.

    Raises:
        OptionError: It is no number.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise OptionError(f"{name} is {text!r}; expected a number in the metric's own unit")
    return value


def _own_unit(metric: type[Metric] | None) -> bool:
    return metric is not None and not metric.percent


def _sign(metric: type[Metric] | None) -> str:
    return "<=" if metric is not None and metric.less_is_better else ">="


def _wrong_way(text: str, metric: type[Metric] | None) -> OptionError:
    name = "this metric" if metric is None else metric.short
    way = "less" if _sign(metric) == "<=" else "more"
    return OptionError(
        f"require is {text!r}, but of {name} {way} is better; give kpp{_sign(metric)}…"
    )


def as_wanted(
    goal: float | str | None,
    require: Sequence[Requirement | str],
    metric: type[Metric] | None = None,
) -> tuple[float | None, tuple[Requirement, ...]]:
    """A goal and requirements, from texts as behind `--goal` and `--require` too.

    Args:
        goal: As in `as_goal`.
        require: What chips must have.
        metric: What chips are judged by.

    Raises:
        OptionError: One is none, is of another kind of metric, or is of the yield without a goal.
    """
    share = as_goal(goal, metric)
    found = tuple(
        Requirement.parse(one, metric) if isinstance(one, str) else one for one in require
    )
    for one in found:
        one.check(metric)
    for one in found if share is None else ():
        if one.of == "yield":
            raise OptionError(
                f"{one} is required without a goal; give what a chip must reach, as --goal 97%"
            )
    return share, found


def as_target(
    goal: float | str,
    require: Requirement | str | None = None,
    metric: type[Metric] | None = None,
) -> tuple[float | None, Requirement]:
    """The one thing that a search is for: a goal, and what the chips must have.

    `97%` alone asks that the lower end of the KPP's interval reaches it, as `kpp>=97%` does; with
    `yield>=99%` it is what a chip must reach. Where less is better, `0.3` asks for `kpp<=0.3`.

    Raises:
        OptionError: One is wrong, or both name a KPP.
    """
    if isinstance(goal, str) and (">" in goal or "<" in goal):
        wanted = Requirement.parse(goal, metric)
        if require is not None or wanted.of == "yield":
            raise OptionError(
                f"goal is {goal!r}; expected what a chip must reach, such as 97%, beside "
                "--require yield>=SHARE, or kpp>=SHARE alone"
            )
        return None, wanted
    share = as_goal(goal, metric) or 0.0
    if require is None:
        return None, Requirement("kpp", share, _sign(metric) == "<=", not _own_unit(metric))
    found = Requirement.parse(require, metric) if isinstance(require, str) else require
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
                f"runs is {runs}, which leaves an end of the KPP's interval open, so that "
                f"{wanted} is never met; give at least --runs {runs_needed(percentile)}"
            )
        return
    best = accuracy_interval(runs, runs)
    if best.low >= wanted.bound:
        return
    if wanted.bound == 1:
        raise OptionError(f"{wanted} is met by no number of chips; require less, such as 99%")
    tail = (1 - best.confidence) / 2  # the interval's lower end is tail ** (1 / runs)
    needed = math.ceil(math.log(tail) / math.log(wanted.bound))
    raise OptionError(
        f"runs is {runs}: chips that all reach the goal show a yield of {100 * best.low:.2f} %, so "
        f"that {wanted} is never met; give at least --runs {needed}"
    )
