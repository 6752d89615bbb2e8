"""How much the buffers of cores have to hold, by what is there when."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nvmc.place.plan import Plan
from nvmc.place.timing import Timing, done_with
from nvmc.place.work import Input, Work

__all__ = ["Buffers", "buffers_of"]

Events = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Times, and bits that come or go then."""


@dataclass(frozen=True)
class Buffers:
    """The most bits that wait at any time.

    Attributes:
        layers: On the cores of each layer, by its index: its own outputs and those of digital nodes
            that work there.
        cores: On each core, were the most of all its layers to wait at once.
        whole: On the chip.
    """

    layers: dict[int, float]
    cores: tuple[float, ...]
    whole: float


def buffers_of(work: Work, plan: Plan, timing: Timing, pipeline: bool) -> Buffers:
    """The most bits that wait at any time, with images at the interval of the timing.

    A value takes room from the end of the round that computes it. It is given up with the rows that
    no task needs any more, at the end of a task's round; where images do not overlap, when all
    tasks that take it are over. What nobody takes (results) leaves at once.
    """
    by_host: dict[int, list[Events]] = {}
    readers: dict[int, list[tuple[int, Input]]] = {}
    for index, task in enumerate(work.tasks):
        for given in task.inputs:
            taken = given if pipeline else Input(given.source, None)
            readers.setdefault(given.source, []).append((index, taken))
    for index, task in enumerate(work.tasks):
        if index in readers and task.numbers:
            events = _life(work, timing, index, readers[index])
            by_host.setdefault(task.host, []).append(events)
    interval = timing.interval
    layers = {host: _peak(events, interval) for host, events in by_host.items()}
    cores = [0.0] * len(plan.filled)
    for host, bits in layers.items():
        held: Counter[int] = Counter()
        for copy in plan.copies[work.unit_of[host]]:
            for chunks in copy.chunks.values():
                for chunk in chunks:
                    held[chunk.core] += len(chunk.numbers)
        tiles = sum(held.values())
        for core, number in held.items():
            cores[core] += bits * number / tiles
    whole = _peak([events for found in by_host.values() for events in found], interval)
    return Buffers(layers, tuple(cores), whole)


def _life(work: Work, timing: Timing, index: int, readers: list[tuple[int, Input]]) -> Events:
    """When the bits of a value of one image come and go."""
    task, slot = work.tasks[index], timing.slots[index]
    bits = task.numbers * task.bits
    done = np.minimum(np.arange(1, slot.rounds + 1) * slot.copies, task.vectors)
    come = np.diff(done, prepend=0) * (bits / task.vectors)
    gone: list[tuple[NDArray[np.float64], NDArray[np.int64]]] = []
    for reader, given in readers:
        own = timing.slots[reader]
        rows = done_with(task, work.tasks[reader], given, (slot, own))
        gone.append((own.ends(), rows))
    times = np.unique(np.concatenate([ends for ends, _ in gone]))
    least = np.full(len(times), task.rows)
    for ends, rows in gone:
        place = np.searchsorted(ends, times, side="right")
        least = np.minimum(least, np.concatenate([[0], rows])[place])
    leave = -np.diff(least, prepend=0) * (bits / task.rows)
    return np.concatenate([slot.ends(), times]), np.concatenate([come, leave])


def _peak(found: list[Events], interval: float) -> float:
    """The most at any time, with another image at every interval for as long as one likes.

    All that comes goes again. So at the phase p of an interval there is the sum of bits times
    -ceil((time - p) / interval) over all events of one image: at p = 0 first, then event by event.
    What goes at a time goes before what comes then.
    """
    times = np.concatenate([times for times, _ in found])
    bits = np.concatenate([bits for _, bits in found])
    begun = np.ceil(times / interval)
    first = -float((bits * begun).sum())
    phases = times - (begun - 1) * interval
    order = np.lexsort((bits, phases))
    inside = order[phases[order] < interval]  # those at a whole interval are counted at p = 0
    return max(0.0, first, first + float(bits[inside].cumsum().max(initial=0.0)))
