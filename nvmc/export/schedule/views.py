"""Views of buffers, and loops."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nvmc.export.schedule.format import Instruction, Repeat, View

__all__ = ["Loops", "dense", "opened", "repeated", "view"]

Loops = Sequence[tuple[str, int]]
"""Index and number of turns, the outer loop first."""


def dense(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of elements that lie one after another, the last axis fastest."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def view(
    buffer: str,
    shape: Sequence[int] = (),
    strides: Sequence[int] | None = None,
    offset: int = 0,
    loops: dict[str, int] | None = None,
) -> View:
    """A view, dense where no strides are given."""
    strides = dense(shape) if strides is None else strides
    return View(
        buffer=buffer,
        offset=offset,
        shape=tuple(shape),
        strides=tuple(strides),
        loops=loops or None,
    )


def opened(loops: Loops, strides: dict[str, int]) -> dict[str, int]:
    """What the index of each loop counts for; those of one turn, and of nothing, are left out."""
    counts = dict(loops)
    return {name: n for name, n in strides.items() if counts.get(name, 1) > 1 and n}


def repeated(loops: Loops, body: Sequence[Instruction]) -> list[Instruction]:
    """The body in loops; those of one turn are left out."""
    found: list[Instruction] = [*body]
    for index, count in reversed(loops):
        if count > 1:
            found = [Repeat(index=index, count=count, body=tuple(found))]
    return found
