"""Bits through the mesh for one image: how many routers they pass, and what each link carries."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nvmc.cost.mesh import Mesh
from nvmc.place.plan import Copy, Plan
from nvmc.place.work import Task, Work

__all__ = ["Flow", "Traffic", "flow_between", "traffic_of"]

Bits = Mapping[int, float]
"""Core -> bits."""
Grid = NDArray[np.float64]
Pair = tuple[Bits, Bits, float]
"""Shares of each source, which add up to 1; bits that each sink takes, from all sources by their
shares; and how many bits there are, if a link carries a bit once for all sinks behind it (multicast
along rows, then down columns), or infinity."""


@dataclass(frozen=True)
class Flow:
    """Data from some cores to others.

    Attributes:
        bits: All of them, those that stay on their core too.
        bit_hops: Sum over bits of the routers that they pass: of a bit that leaves its core, links
            and one more.
        crossings: Sum over bits of the chiplets' borders that they cross.
        farthest_s: Time of the first bit of the farthest pair of cores.
        links: Bits over each link: east and west, of shape (rows, columns - 1) of routers, south
            and north, of shape (rows - 1, columns).
    """

    bits: float
    bit_hops: float
    crossings: float
    farthest_s: float
    links: tuple[Grid, Grid, Grid, Grid]

    def busiest_s(self, mesh: Mesh) -> float:
        """Seconds that the busiest link needs."""
        return _link_s(self.links, mesh)


@dataclass(frozen=True)
class Traffic:
    """All data of one image.

    Attributes:
        inputs: A flow for each input of each task.
        sums: Of each layer: what its cores send to the homes of its copies, and its state to them.
        busiest_s: Seconds that the busiest link needs for all of them.
    """

    inputs: dict[tuple[int, int], Flow]
    sums: dict[int, Flow]
    busiest_s: float

    def of(self, index: int, task: Task) -> list[Flow]:
        """The flows that a task causes."""
        found = [self.inputs[index, place] for place in range(len(task.inputs))]
        return [*found, self.sums[index]] if index in self.sums else found


def flow_between(mesh: Mesh, pairs: list[Pair]) -> Flow:
    """What goes from cores to cores, along rows first.

    Cost: one pass over the grid of routers for each pair.

    Args:
        mesh: The cores.
        pairs: What goes where.
    """
    rows, columns = mesh.router_shape
    links = (
        np.zeros((rows, columns - 1)),
        np.zeros((rows, columns - 1)),
        np.zeros((rows - 1, columns)),
        np.zeros((rows - 1, columns)),
    )
    bits = left = farthest = 0.0
    for sources, sinks, distinct in pairs:
        _add(mesh, links, sources, sinks, distinct)
        whole = sum(sinks.values())
        bits += whole
        left += sum(
            share * min(whole - sinks.get(core, 0.0), distinct) for core, share in sources.items()
        )
        farthest = max(farthest, _farthest(mesh, sources, sinks))
    across, down = mesh.edges()
    crossings = sum(float(grid[:, across].sum()) for grid in links[:2])
    crossings += sum(float(grid[down].sum()) for grid in links[2:])
    over = sum(float(grid.sum()) for grid in links)
    return Flow(bits, over + left, crossings, farthest, links)


def _add(mesh: Mesh, links: tuple[Grid, ...], sources: Bits, sinks: Bits, distinct: float) -> None:
    """Add the bits of each link, without a loop over pairs: sources and sinks are independent.

    Over the link from column c to c + 1 in row r goes what starts in row r up to column c, times
    what ends beyond c. From row r to r + 1 in column c goes what starts up to row r, times what
    ends in column c beyond row r.
    """
    rows, columns = mesh.router_shape
    start, end = np.zeros((rows, columns)), np.zeros((rows, columns))
    for core, share in sources.items():
        start[mesh.router(core)] += share
    for core, number in sinks.items():
        end[mesh.router(core)] += number
    ends = end.sum(axis=0).cumsum()  # by column, up to c
    beyond = ends[-1] - ends
    east, west, south, north = links
    begun = start.cumsum(axis=1)
    east += begun[:, :-1] * np.minimum(beyond[:-1], distinct)
    west += (begun[:, -1:] - begun[:, :-1]) * np.minimum(ends[:-1], distinct)
    started = start.sum(axis=1).cumsum()[:, None]
    ended = end.cumsum(axis=0)
    south += started[:-1] * np.minimum(ended[-1:] - ended[:-1], distinct)
    north += (started[-1:] - started[:-1]) * np.minimum(ended[:-1], distinct)


def _farthest(mesh: Mesh, sources: Bits, sinks: Bits) -> float:
    """Seconds from the source to the sink that lie farthest apart."""
    hop = mesh.hop.si
    extra = 0.0 if mesh.chiplet_hop is None else mesh.chiplet_hop.si - hop
    starts = np.array([mesh.router(core) for core in sources]).reshape(-1, 2)
    ends = np.array([mesh.router(core) for core in sinks]).reshape(-1, 2)
    if not len(starts) or not len(ends) or (set(sources) == set(sinks) and len(sources) == 1):
        return 0.0
    size = np.array([mesh.rows // mesh.shared_rows, mesh.columns // mesh.shared_columns])
    apart = np.abs(starts[:, None] - ends[None]).sum(axis=2)
    crossed = np.abs(starts[:, None] // size - ends[None] // size).sum(axis=2)
    return float(((apart + 1) * hop + crossed * extra).max())


def _link_s(links: tuple[Grid, ...], mesh: Mesh) -> float:
    """Seconds that the busiest of these links needs."""
    across, down = mesh.edges()
    slow = mesh.link.si if mesh.chiplet_link is None else mesh.chiplet_link.si
    worst = 0.0
    for number, grid in enumerate(links):
        border = across[None, :] if number < 2 else down[:, None]
        if grid.size:
            worst = max(worst, float((grid / np.where(border, slow, mesh.link.si)).max()))
    return worst


def traffic_of(work: Work, plan: Plan, mesh: Mesh) -> Traffic:
    """All data of one image.

    A value lies on the homes of the copies that computed it, evenly, since vectors go to copies in
    turn. A copy takes at most all inputs, and at most what its vectors read. Every core takes what
    its tiles need, and sends a sum for each of its columns to the home.
    """
    inputs: dict[tuple[int, int], Flow] = {}
    sums: dict[int, Flow] = {}
    for index, task in enumerate(work.tasks):
        copies = plan.copies[work.unit_of[task.host]]
        if task.kind == "layer":
            sums[index] = flow_between(mesh, _sums(task, copies))
        sinks = _taken(work, task, copies) if task.kind == "layer" else None
        whole = sum(_sent(work.tasks[given.source]) for given in task.inputs)
        for place, given in enumerate(task.inputs):
            source = work.tasks[given.source]
            shares = _shares(plan.copies[work.unit_of[source.host]])
            bits = float(source.numbers * source.bits)
            if sinks is None:
                ends = {core: share * bits for core, share in _shares(copies).items()}
                moved = source.host != task.host
                pairs: list[Pair] = [(shares, ends, math.inf)] if moved else []
            else:
                part = _sent(source) / whole if whole else 1.0 / len(task.inputs)
                once = part * task.taken * task.bits if mesh.multicast else math.inf
                pairs = [(shares, {core: part * n for core, n in sinks.items()}, once)]
            inputs[index, place] = flow_between(mesh, pairs)
    flows = [*inputs.values(), *sums.values()]
    total = tuple(sum(flow.links[way] for flow in flows) for way in range(4))
    return Traffic(inputs, sums, _link_s(total, mesh))  # pyright: ignore


def _sent(task: Task) -> float:
    return float(task.numbers * task.bits)


def _shares(copies: tuple[Copy, ...]) -> dict[int, float]:
    """Share of a value on each home."""
    found: dict[int, float] = {}
    for copy in copies:
        found[copy.home] = found.get(copy.home, 0.0) + 1 / len(copies)
    return found


def _taken(work: Work, task: Task, copies: tuple[Copy, ...]) -> dict[int, float]:
    """Bits of its inputs that each core takes; those of a recurrent state are no inputs."""
    array = task.arrays[0]
    entry = work.entries[array]
    reads = task.vectors / len(copies) * entry.groups * entry.rows
    bits = min(float(task.taken), reads) * task.bits
    found: dict[int, float] = {}
    for copy in copies:
        for chunk in copy.chunks[array]:
            share = chunk.inputs / (entry.groups * entry.rows)
            found[chunk.core] = found.get(chunk.core, 0.0) + bits * share
    return found


def _sums(task: Task, copies: tuple[Copy, ...]) -> list[Pair]:
    """Partial sums to the homes, and from these the state of a recurrent layer to its tiles."""
    pairs: list[Pair] = []
    each = task.vectors / len(copies)
    for copy in copies:
        for number, array in enumerate(task.arrays):
            for chunk in copy.chunks[array]:
                if chunk.core == copy.home:
                    continue
                bits = each * chunk.sums * task.counts.width
                pairs.append(({chunk.core: 1.0}, {copy.home: bits}, math.inf))
                if number:
                    state = each * chunk.inputs * task.bits
                    pairs.append(({copy.home: 1.0}, {chunk.core: state}, math.inf))
    return pairs
