"""How many copies of each layer's weights: the layers that wait longest get more tiles."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Unit", "least_bottleneck", "least_sum"]


@dataclass(frozen=True)
class Unit:
    """What is copied as a whole: one layer, or the layers that share an array.

    Attributes:
        tiles: Crossbars of one copy.
        most: Copies beyond which nothing is gained: the vectors of an image; 1 where vectors wait
            for one another.
        seconds: Time for an image with so many copies; it never rises with them.
    """

    tiles: int
    most: int
    seconds: Callable[[int], float]

    def needed(self, limit: float, *, below: bool = False) -> int | None:
        """The least copies that take at most `limit`, or less than it; None if none do.

        By bisection, since the time never rises with copies.
        """

        def fits(copies: int) -> bool:
            found = self.seconds(copies)
            return found < limit if below else found <= limit

        if not fits(self.most):
            return None
        low, high = 0, self.most  # `low` copies do not fit, `high` do
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if fits(middle) else (middle, high)
        return high


def least_bottleneck(units: Sequence[Unit], tiles: int) -> list[int]:
    """Copies such that the slowest unit takes the least time that so many tiles allow. Exact.

    A time is possible when the least copies that keep every unit within it fit into the tiles;
    that is monotone, so bisection finds the least one. It ends when no unit can be made faster than
    the bottleneck within the tiles, so no float decides where it stops. Tiles that do not make the
    bottleneck faster stay free.

    Args:
        units: At least one.
        tiles: Crossbars there are; at least one copy of each has to fit.

    Returns:
        Copies of each unit: the least that keep it within the bottleneck.
    """

    def fitting(limit: float, *, below: bool = False) -> list[int] | None:
        found: list[int] = []
        for unit in units:
            copies = unit.needed(limit, below=below)
            if copies is None:
                return None
            found.append(copies)
        taken = sum(unit.tiles * copies for unit, copies in zip(units, found, strict=True))
        return found if taken <= tiles else None

    best = [1] * len(units)
    slowest, low = _bottleneck(units, best), 0.0
    while (better := fitting(slowest, below=True)) is not None:
        best, slowest = better, _bottleneck(units, better)
        middle = (low + slowest) / 2
        half = fitting(middle)
        if half is None:
            low = middle
        else:
            best, slowest = half, _bottleneck(units, half)
    return best


def _bottleneck(units: Sequence[Unit], copies: Sequence[int]) -> float:
    return max(unit.seconds(number) for unit, number in zip(units, copies, strict=True))


def least_sum(units: Sequence[Unit], tiles: int) -> tuple[list[int], float]:
    """Copies such that the units' times add up to little, and what no copies can be below.

    Tiles go where a tile saves the most time, along the lower convex hull of each unit's times. The
    first step that no longer fits, taken in part, gives the bound (the linear relaxation of the
    knapsack; P. Sinha and A. A. Zoltners, Operations Research 27, 503, 1979); smaller steps then
    fill what is left.

    Args:
        units: At least one.
        tiles: Crossbars there are; at least one copy of each has to fit.

    Returns:
        Copies of each unit, and a lower bound of the sum in seconds.
    """
    left = tiles - sum(unit.tiles for unit in units)
    hulls = [_hull(unit, 1 + left // unit.tiles) for unit in units]
    queue: list[tuple[float, int, int]] = []
    for number, unit in enumerate(units):
        _offer(queue, hulls[number], unit.tiles, number, 0)
    copies = [1] * len(units)
    total = sum(unit.seconds(1) for unit in units)
    bound: float | None = None
    while queue:
        saved, number, place = heapq.heappop(queue)
        (before, _), (after, _) = hulls[number][place : place + 2]
        cost = (after - before) * units[number].tiles
        if cost > left:
            bound = total + saved * left if bound is None else bound
            continue
        left -= cost
        total += saved * cost
        copies[number] = after
        _offer(queue, hulls[number], units[number].tiles, number, place + 1)
    _fill(units, copies, left)
    return copies, total if bound is None else bound


def _offer(
    queue: list[tuple[float, int, int]],
    hull: list[tuple[int, float]],
    tiles: int,
    number: int,
    place: int,
) -> None:
    """Queue the next step of a hull, by the time that a tile saves (negative, so least first)."""
    if place + 1 < len(hull):
        (before, slow), (after, fast) = hull[place : place + 2]
        heapq.heappush(queue, ((fast - slow) / ((after - before) * tiles), number, place))


def _hull(unit: Unit, most: int) -> list[tuple[int, float]]:
    """Copies and times on the lower convex hull, from one copy on."""
    points: list[tuple[int, float]] = []
    for copies in _steps(unit.most, min(most, unit.most)):
        point = (copies, unit.seconds(copies))
        if points and point[1] >= points[-1][1]:
            continue
        while len(points) > 1 and _above(points[-2], points[-1], point):
            points.pop()
        points.append(point)
    return points


def _steps(vectors: int, most: int) -> list[int]:
    """The least copies for each number of rounds that copies of up to `most` can take."""
    found, copies = [1], 1
    while copies < most:
        rounds = math.ceil(vectors / copies) - 1
        if rounds < 1:
            break
        copies = math.ceil(vectors / rounds)
        if copies <= most:
            found.append(copies)
    return found


def _above(a: tuple[int, float], b: tuple[int, float], c: tuple[int, float]) -> bool:
    """Whether b lies on or above the line from a to c."""
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])


def _fill(units: Sequence[Unit], copies: list[int], left: int) -> None:
    """Spend what tiles are left, the step with the most time saved first."""
    while True:
        best: tuple[float, int, int] | None = None
        for number, unit in enumerate(units):
            here = unit.seconds(copies[number])
            more = unit.needed(here, below=True)
            if more is None or (more - copies[number]) * unit.tiles > left:
                continue
            saved = here - unit.seconds(more)
            if best is None or saved > best[0]:
                best = saved, number, more
        if best is None:
            return
        _, number, more = best
        left -= (more - copies[number]) * units[number].tiles
        copies[number] = more
