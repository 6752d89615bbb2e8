"""What `nvmc solve` found: the values that were tried, and the one that meets the goal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from nvmc.arguments import checked
from nvmc.evaluation.at_time import AtTime
from nvmc.evaluation.description import Description
from nvmc.evaluation.goals import Requirement, Verdict
from nvmc.evaluation.parameters import PARAMETERS, Value
from nvmc.evaluation.records import Elsewhere
from nvmc.metrics.values import ends_text, value_text
from nvmc.tables import Cell, Shown, Table

__all__ = ["FORMAT", "Find", "Solution", "TriedValue"]

FORMAT = "nvmc.evaluation.solve/1"

Find = Literal["least", "most"]


@dataclass(frozen=True)
class TriedValue:
    """One value of the parameter.

    Attributes:
        value: It.
        description: Network, chips, images, and how they were run.
        ideal: Value of the chip whose every cell is on target.
        at: What the chips are worth.
        verdict: Whether they have what is required.
        elsewhere: Chips that others had found.
    """

    value: Value
    description: Description
    ideal: float
    at: AtTime
    verdict: Verdict
    elsewhere: Elsewhere = Elsewhere()

    def to_json(self, column: str, goal: float | None) -> dict[str, Any]:
        """The keys of an entry of `tried` in `--json`."""
        reached = None if goal is None else self.at.yield_at(goal).to_json()
        return {
            column: self.value.number,
            "ideal": self.ideal,
            "percentile": self.at.kpp.to_json(),
            "yield": reached,
            "share": self.at.share,
            "required": self.verdict.to_json(),
        }


@checked
@dataclass(frozen=True, repr=False)
class Solution(Shown):
    """Which values of a parameter meet a goal.

    Attributes:
        parameter: Its name in `PARAMETERS`.
        find: Whether the least or the most of it is looked for.
        requirement: What the chips must have.
        goal: What a chip must reach, where a yield is required.
        values: All values that were looked among, ascending; `none` is the highest.
        assumed: Whether nobody said which values, so that these are the usual ones.
        tried: Those at which chips were run, ascending.
        found: The value; None where none meets the goal.
        next: The next value, which misses the goal; None where there is no other.
        seconds: Wall time of everything.
    """

    parameter: str
    find: Find
    requirement: Requirement
    goal: float | None
    values: tuple[Value, ...]
    assumed: bool
    tried: tuple[TriedValue, ...]
    found: TriedValue | None
    next: TriedValue | None
    seconds: float

    @property
    def met(self) -> bool:
        """Whether some value meets the goal."""
        return self.found is not None

    @property
    def rises(self) -> list[tuple[Value, Value]]:
        """Neighbours among those tried where the harder value was better, against what is assumed.

        The first of a pair is the easier one.
        """
        ordered = self.tried if self.find == "most" else self.tried[::-1]
        sign = -1 if self.requirement.at_most else 1
        ends = [-math.inf if (end := t.verdict.end) is None else sign * end for t in ordered]
        return [
            (ordered[i].value, ordered[i + 1].value)
            for i in range(len(ends) - 1)
            if ends[i] < ends[i + 1]
        ]

    def headline(self) -> str:
        """What it is and what came out, in one line."""
        asked = f"{self.find} {self.parameter}"
        if self.found is None:
            return f"Solution: no {self.parameter} of {len(self.values)} values has {self.wanted}"
        end = "" if self.next is not None else ", the last of the values"
        return f"Solution: {asked} with {self.wanted} is {self.found.value.text}{end}"

    @property
    def wanted(self) -> str:
        """What chips must have, as it is typed: `kpp>=95%`; of a yield with its goal."""
        goal = "" if self.goal is None or self.requirement.of == "kpp" else f" at {self.goal:g}"
        return f"{self.requirement}{goal}"

    def shown(self) -> Table:
        """A row for each value that was tried, rounded."""
        metric = self.tried[0].description.metric
        rows = tuple(
            (
                one.value.text,
                value_text(metric, one.ideal),
                value_text(metric, one.at.kpp.value),
                ends_text(metric, one.at.kpp.interval),
                "met" if one.verdict.met else "missed",
            )
            for one in self.tried
        )
        return Table((self.parameter, "ideal", "KPP", "its interval", "goal"), rows)

    def records(self) -> Iterator[dict[str, Cell]]:
        """A row for each value that was tried."""
        column = PARAMETERS[self.parameter].column
        for one in self.tried:
            kpp, number = one.at.kpp, one.value.number
            yield {
                column: "none" if number is None else number,
                "ideal": one.ideal,
                "kpp": kpp.value,
                "kpp_low": kpp.interval.low,
                "kpp_high": kpp.interval.high,
                "met": str(one.verdict.met).lower(),
            }

    def to_json(self) -> dict[str, Any]:
        """The result as `nvmc solve --json` prints it; docs/solve.md names the keys."""
        column = PARAMETERS[self.parameter].column
        known = (self.found, self.next)
        shown = [None if t is None else t.to_json(column, self.goal) for t in known]
        return {
            "format": FORMAT,
            "description": self.tried[0].description.to_json(),
            "over": column,
            "find": self.find,
            "goal": self.goal,
            "required": self.requirement.to_json(),
            "values": [value.number for value in self.values],
            "values_assumed": self.assumed,
            "met": self.met,
            "found": shown[0],
            "next": shown[1],
            "monotone": not self.rises,
            "tried": [one.to_json(column, self.goal) for one in self.tried],
            "seconds": self.seconds,
        }
