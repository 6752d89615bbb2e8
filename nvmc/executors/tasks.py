"""What is sent to a worker and what it does: chips by name, a share of a span of images.

A task names its chips; the workload they are run on is sent to a worker once. Imports nothing of
what carries the messages.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import nvmc
from nvmc.errors import ClusterError, NvmcError
from nvmc.evaluation.population import Workload
from nvmc.hardware.chip import PHYSICS, Chip
from nvmc.metrics import Total, total_of
from nvmc.runtime.montecarlo import (
    ENGINE,
    Span,
    evaluate_chips,
)

__all__ = ["Done", "Names", "Pace", "named", "run_chips", "versions"]


@dataclass(frozen=True)
class Names:
    """Chips that differ in nothing but their index.

    Attributes:
        pattern: One of them.
        indices: The index of each.
    """

    pattern: Chip
    indices: tuple[int | None, ...]

    def chips(self) -> list[Chip]:
        """The chips."""
        return [replace(self.pattern, index=index) for index in self.indices]


def named(chips: Iterable[Chip]) -> list[Names]:
    """`chips` by name, neighbours that differ only in their index together."""
    found: list[tuple[Chip, list[int | None]]] = []
    for chip in chips:
        if not found or replace(chip, index=found[-1][0].index) != found[-1][0]:
            found.append((chip, []))
        found[-1][1].append(chip.index)
    return [Names(pattern, tuple(indices)) for pattern, indices in found]


def versions() -> dict[str, str]:
    """What must be equal on every machine for their numbers to be of one experiment."""
    return {"nvmc": nvmc.__version__, "physics": str(PHYSICS), "engine": ENGINE}


@dataclass(frozen=True)
class Done:
    """What a task has found.

    Attributes:
        totals: Of its chips, in their order.
        seconds: How long they took.
    """

    totals: tuple[Total, ...]
    seconds: float


def run_chips(
    workload: Workload, names: Sequence[Names], span: Span, expected: dict[str, str]
) -> Done | NvmcError:
    """Run chips in this thread.

    Args:
        workload: The network, the images and the metric.
        names: The chips.
        span: The images.
        expected: `versions` of who asks.

    Returns:
        What was found, or what is wrong with the user's input, to be raised where the user is.
    """
    started = time.perf_counter()
    found = versions()
    if found != expected:
        return ClusterError(
            f"a worker runs {_listed(found)}; expected {_listed(expected)}, as here"
        )
    try:
        chips = [chip for name in names for chip in name.chips()]
        totals = evaluate_chips(
            workload.network, workload.feed, workload.metric, chips, span, jobs=1
        )
    except NvmcError as error:
        return error
    return Done(tuple(map(total_of, totals)), time.perf_counter() - started)


def _listed(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())


class Pace:
    """How many chips make a task: about a second's work, and less towards the end.

    Args:
        stack: Chips that are run in one session; a task is a multiple of these.
        seconds: How long a task should take.
    """

    def __init__(self, stack: int, seconds: float) -> None:
        self._stack = stack
        self._seconds = seconds
        self._stacks = 1

    def size(self, left: int, threads: int) -> int:
        """Chips of the next task, where `left` are left for so many threads."""
        share = left // (2 * threads * self._stack)
        return min(left, max(1, min(self._stacks, share)) * self._stack)

    def learn(self, chips: int, seconds: float) -> None:
        """Note how long a task took; the next ones have at most twice as many chips."""
        fitting = int(self._seconds / max(seconds, 1e-9) * chips / self._stack)
        self._stacks = max(1, min(fitting, max(self._stacks, 2 * chips // self._stack)))
