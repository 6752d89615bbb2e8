"""When each task works, in closed form: a start and an even step.

Round r of a task that starts at s with steps of t, of which it works a, ends at s + r t + a. Let
its inputs for round r be there at i(r). As soon as they are, a task of n rounds is over at

    E = max over r of  i(r) + (n - r) a

It gets this very end, and begins as early as an even step allows: the last round begins at E - a,
round r at E - a - (n - 1 - r) t, which may not be before i(r). So

    t = min over r < n - 1 of  (E - a - i(r)) / (n - 1 - r),

which is never less than a; and at most what lets its n rounds fit into the interval. A task that is
faster than its source so keeps its pace, and does not wait for all of it. Images follow one another
at the interval, each at the very same times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from nvmc.cost.mesh import Mesh
from nvmc.place.plan import Plan
from nvmc.place.traffic import Flow, Traffic
from nvmc.place.work import INPUT, Input, Task, Work

__all__ = ["Slot", "Timing", "done_with", "needed", "timing_of"]


@dataclass(frozen=True)
class Slot:
    """When a task works on the first image.

    Attributes:
        start: Seconds.
        step: Seconds from one round to the next.
        work: Seconds of a round, at most the step.
        rounds: Rounds of an image.
        copies: That work side by side in a round.
    """

    start: float
    step: float
    work: float
    rounds: int
    copies: int

    @property
    def end(self) -> float:
        """Seconds."""
        return float(self.ends()[-1])

    def ends(self) -> NDArray[np.float64]:
        """End of every round."""
        begins = self.start + np.arange(self.rounds, dtype=np.float64) * self.step
        return begins + np.float64(self.work)


@dataclass(frozen=True)
class Timing:
    """When all tasks work.

    Attributes:
        slots: Of each task.
        delays: Seconds until what a task takes is there, for each of its inputs.
        latency: Seconds of one image.
        interval: Seconds from one image to the next.
        bound_by: What decides the interval.
        path: Indices of the tasks that decide the latency.
    """

    slots: tuple[Slot, ...]
    delays: dict[tuple[int, int], float]
    latency: float
    interval: float
    bound_by: str
    path: tuple[int, ...]


def needed(source: Task, own: Task, given: Input, slots: tuple[Slot, Slot]) -> NDArray[np.int64]:
    """The round of the source, from 0, that has to be over before each round of the task.

    Args:
        source: Where data come from.
        own: The task.
        given: Its input.
        slots: Of both; only copies and rounds are looked at.
    """
    before, after = slots
    if given.window is None:
        return np.full(after.rounds, before.rounds - 1)
    rows = np.array([given.window.needed(row) for row in range(own.rows)])
    return (rows[_rows(own, after)] * source.each + before.copies - 1) // before.copies - 1


def done_with(source: Task, own: Task, given: Input, slots: tuple[Slot, Slot]) -> NDArray[np.int64]:
    """Rows of the source that are not needed any more after each round of the task."""
    after = slots[1]
    if given.window is None:
        found = np.zeros(after.rounds, np.int64)
        found[-1] = source.rows
        return found
    rows = np.array([0, *(given.window.done_with(row) for row in range(own.rows))])
    finished = np.minimum((np.arange(after.rounds) + 1) * after.copies, own.vectors) // own.each
    return rows[finished]


def _rows(task: Task, slot: Slot) -> NDArray[np.int64]:
    """The row of the last vector of each round."""
    last = np.minimum((np.arange(slot.rounds) + 1) * slot.copies, task.vectors) - 1
    return last // task.each


def timing_of(
    work: Work, copies: Sequence[int], plan: Plan, traffic: Traffic, mesh: Mesh, pipeline: bool
) -> Timing:
    """When all tasks work.

    Args:
        work: The network.
        copies: Of each unit.
        plan: Where they lie.
        traffic: What goes between them.
        mesh: The links.
        pipeline: Whether a task begins with the first rows of its inputs, and images follow one
            another; otherwise it begins when all of its inputs are there, and so does an image.
    """
    slots: list[Slot] = []
    delays: dict[tuple[int, int], float] = {}
    causes: nx.DiGraph[int] = nx.DiGraph()
    free: dict[int, tuple[float, int]] = {unit: (0.0, -1) for unit in range(len(work.members))}
    flows = [traffic.of(index, task) for index, task in enumerate(work.tasks)]
    rough = [
        _unplaced(work, index, copies, flows[index], mesh, pipeline)
        for index in range(len(work.tasks))
    ]
    pace = _interval(work, rough, traffic)[0] if pipeline else 0.0
    for index, task in enumerate(work.tasks):
        slot = rough[index]
        begin, cause = 0.0, -1
        alone = task.kind == "layer" and len(work.members[work.unit_of[index]]) == 1
        if task.kind == "layer":
            begin, cause = free[work.unit_of[index]]
        ready = np.full(slot.rounds, begin)
        behind = np.arange(slot.rounds, 0, -1) * slot.work
        for place, given in enumerate(task.inputs):
            flow, source = flows[index][place], work.tasks[given.source]
            carried = flow.busiest_s(mesh)
            delay = flow.farthest_s + (carried / slot.rounds if pipeline else carried)
            delays[index, place] = delay
            taken = given if pipeline else Input(given.source, None)
            rounds = needed(source, task, taken, (slots[given.source], slot))
            there = slots[given.source].ends()[rounds] + delay
            if cause < 0 or (there + behind).max() > (ready + behind).max():
                cause = given.source
            ready = np.maximum(ready, there)
        slots.append(_paced(slot, ready, pace if alone or task.kind == "digital" else 0.0))
        causes.add_node(index)
        if cause >= 0:
            causes.add_edge(cause, index)
        if task.kind == "layer":
            free[work.unit_of[index]] = (slots[-1].end, index)
    last = max(range(len(slots)), key=lambda index: slots[index].end)
    path = [last]
    while found := list(causes.predecessors(path[-1])):
        path.append(found[0])
    latency = slots[last].end
    interval, by = latency, "the latency: one inference after another"
    if pipeline:
        interval, by = _interval(work, slots, traffic)
    return Timing(tuple(slots), delays, latency, interval, by, tuple(reversed(path)))


def _paced(slot: Slot, ready: NDArray[np.float64], pace: float) -> Slot:
    """A task with its start and step, when its inputs are known.

    Args:
        slot: Its rounds and work.
        ready: When the inputs of each round are there.
        pace: Seconds that its rounds may take together, from one image to the next.
    """
    left = np.arange(slot.rounds - 1, -1, -1)  # rounds behind each
    last = float((ready + left * slot.work).max())  # begin of the last round
    step = slot.work
    if slot.rounds > 1 and pace:
        step = float(((last - ready[:-1]) / left[:-1]).min())
        step = max(slot.work, min(step, pace / slot.rounds))
    return replace(slot, start=max(0.0, last - (slot.rounds - 1) * step), step=step)


def _unplaced(
    work: Work,
    index: int,
    copies: Sequence[int],
    flows: Sequence[Flow],
    mesh: Mesh,
    pipeline: bool,
) -> Slot:
    """A task's rounds and step, which start at 0 here."""
    task = work.tasks[index]
    unit = work.unit_of[task.host]
    if task.kind == INPUT:
        return Slot(0.0, 0.0, 0.0, task.rows, 1)
    if task.kind == "digital":
        tiles = work.units[unit].tiles * copies[unit]
        seconds, number, rounds = work.digital_s(index, tiles), 1, task.rows
    else:
        seconds, number = work.layer_s(index, copies[unit]), copies[unit]
        rounds = math.ceil(task.vectors / number)
    # Links that carry less than the tiles compute hold them up.
    held = flows if pipeline else flows[len(task.inputs) :]
    seconds = max([seconds, *(flow.busiest_s(mesh) for flow in held)])
    return Slot(0.0, seconds / rounds, seconds / rounds, rounds, number)


def _interval(work: Work, slots: Sequence[Slot], traffic: Traffic) -> tuple[float, str]:
    """Seconds from one image to the next, and what decides it."""
    found: list[tuple[float, str]] = [(traffic.busiest_s, "the busiest link")]
    for members in work.members:
        first, last = slots[min(members)], slots[max(members)]
        span = last.end - first.start if len(members) > 1 else first.rounds * first.work
        found.append((span, work.tasks[min(members)].name))
    digital: dict[int, float] = {}
    for task, slot in zip(work.tasks, slots, strict=True):
        if task.kind == "digital":
            digital[task.host] = digital.get(task.host, 0.0) + slot.rounds * slot.work
    for host, seconds in digital.items():
        found.append((seconds, f"digital nodes behind {work.tasks[host].name}"))
    return max(found, key=lambda one: one[0])
