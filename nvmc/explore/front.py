"""Which designs are on the front: none that reaches the goal is as good and costs less."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nvmc.cost.result import Cost, Figure
from nvmc.explore.race import Bar, Raced
from nvmc.explore.space import Design

__all__ = ["QUANTITIES", "Candidate", "Quantity", "bar_of", "beats", "figures_of", "non_dominated"]

Quantity = Literal["energy", "latency", "interval", "area"]

QUANTITIES: dict[Quantity, tuple[str, str]] = {
    "energy": ("energy_j", "J"),
    "latency": ("latency_s", "s"),
    "interval": ("interval_s", "s"),
    "area": ("area_mm2", "mm²"),
}
"""What can be minimised -> its name in files, and its unit."""

Figures = Mapping[Quantity, Figure]


@dataclass(frozen=True)
class Candidate:
    """A design with its costs, and what was found of its chips.

    Attributes:
        design: The design.
        folder: Its compiled network.
        costs: By hardware; None where that hardware cannot say.
        ideal: Value of the chip whose every cell is on target.
        raced: What its chips showed.
        beaten_by: The design on the front, by its number, that costs no more and is no worse;
            None where it misses the goal or is on the front.
    """

    design: Design
    folder: str
    costs: Mapping[str, Figures | None]
    ideal: float
    raced: Raced
    beaten_by: int | None = None

    def values(self, hardware: str, minimise: Sequence[Quantity]) -> tuple[float, ...]:
        """The minimised figures under a hardware, infinite where it cannot say."""
        figures = self.costs[hardware]
        return tuple(float("inf") if figures is None else figures[q].value for q in minimise)


def figures_of(cost: Cost) -> Figures:
    """The figures of a cost that can be minimised."""
    return {
        "energy": cost.energy,
        "latency": cost.latency,
        "interval": cost.interval,
        "area": cost.area_mm2,
    }


def bar_of(
    least: float, costs: Sequence[float], passed: Iterable[tuple[int, Sequence[float], float]]
) -> tuple[Bar, int | None]:
    """What a design must clear: the goal, and every design that costs no more.

    A design of the very same costs that is just as good stands beside it.

    Args:
        least: What the goal asks of the interval's lower end.
        costs: The design's.
        passed: Number, costs and lower end of those that have cleared theirs.

    Returns:
        The bar, and the number of the design that sets it; None where the goal does.
    """
    bar, by = Bar(least), None
    for number, others, end in passed:
        if all(a <= b for a, b in zip(others, costs, strict=True)):
            beyond = tuple(others) != tuple(costs)
            if (end, beyond) > (bar.end, bar.beyond):
                bar, by = Bar(end, beyond), number
    return bar, by


def beats(one: Candidate, other: Candidate, hardware: str, minimise: Sequence[Quantity]) -> bool:
    """Whether a design is no worse than another in anything, and better in something."""
    mine, others = one.values(hardware, minimise), other.values(hardware, minimise)
    a, b = one.raced.end or 0.0, other.raced.end or 0.0
    no_worse = a >= b and all(x <= y for x, y in zip(mine, others, strict=True))
    return no_worse and (a > b or mine != others)


def non_dominated(
    candidates: Sequence[Candidate], hardware: str, minimise: Sequence[Quantity]
) -> list[Candidate]:
    """Those that no other beats, the cheapest first."""
    front = [
        one
        for one in candidates
        if not any(beats(other, one, hardware, minimise) for other in candidates)
    ]
    return sorted(front, key=lambda one: (one.values(hardware, minimise), one.design.number))
