"""What a compiled network has to do for one image: tasks, the data between them, and units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import networkx as nx
import numpy as np

from nvmc.compiled.artifact import ArrayEntry, Compiled
from nvmc.compiled.work import LayerEntry
from nvmc.cost.counts import Counts, Use
from nvmc.cost.drives import assumed_drives
from nvmc.cost.hardware import Hardware
from nvmc.cost.network import Conductances, layer_counts, target_of, use_of
from nvmc.errors import ModelError
from nvmc.hardware.devices import Target
from nvmc.passes.graph.digital_work import digital_work
from nvmc.passes.graph.tile_graph import read_tile_graph
from nvmc.passes.graph.windows import Window, windows_of
from nvmc.passes.io.load_compiled import load_compiled
from nvmc.place.copies import Unit

__all__ = ["INPUT", "Input", "Task", "Work"]

INPUT = "input"
_RECURRENT = frozenset({"CrossbarGRU", "CrossbarLSTM", "CrossbarRNN"})


@dataclass(frozen=True)
class Input:
    """Data that a task takes from another one.

    Attributes:
        source: Index of that task.
        window: Which of its rows are needed when; None where all of them are.
    """

    source: int
    window: Window | None


@dataclass(frozen=True)
class Task:
    """One layer, one digital node, or the network's inputs.

    Attributes:
        name: Of the node.
        kind: `layer`, `digital` or `input`.
        op: Its operator.
        counts: Its events for one image, of one copy.
        use: How its tiles are used; of a digital node, the network's.
        arrays: Names of its arrays.
        vectors: Vectors that follow one another; rows of a digital node that works by row; else 1.
        rows: Rows of its output, where they follow one another; else 1.
        numbers: Values that it gives.
        bits: Bits of each.
        taken: Values that a layer takes.
        inputs: Where they come from.
        host: Index of the layer whose cores it works on; itself of a layer.
    """

    name: str
    kind: str
    op: str
    counts: Counts
    use: Use
    arrays: tuple[str, ...]
    vectors: int
    rows: int
    numbers: int
    bits: int
    taken: int
    inputs: tuple[Input, ...]
    host: int

    @property
    def each(self) -> int:
        """Vectors of a row of the output."""
        return self.vectors // self.rows


@dataclass(frozen=True)
class Work:
    """The tasks of a network, each behind those that it takes data from.

    Attributes:
        compiled: The network.
        hardware: What it runs on.
        entries: Its arrays by name.
        targets: How these are used.
        tasks: The first is the network's inputs.
        members: Indices of the layers of each unit, which are copied together.
        arrays: Arrays of each unit.
        uncounted: Digital nodes of unknown size, which take no time here.
    """

    compiled: Compiled
    hardware: Hardware
    entries: Mapping[str, ArrayEntry]
    targets: Mapping[str, Target]
    tasks: tuple[Task, ...]
    members: tuple[tuple[int, ...], ...]
    arrays: tuple[tuple[str, ...], ...]
    uncounted: tuple[str, ...]

    @classmethod
    def of(cls, compiled: Compiled, hardware: Hardware) -> Work:
        """Read it from a compiled network.

        Raises:
            OptionError: The network has no DAC or no ADC.
            ModelError: No layer has vectors, or one does not say how many.
        """
        maker = _Maker(compiled)
        tasks = maker.tasks()
        layers = [index for index, task in enumerate(tasks) if task.kind == "layer"]
        if not layers:
            raise ModelError("no layer is on crossbars, so there is nothing to place")
        members = _shared(tasks, layers)
        arrays = tuple(
            tuple(dict.fromkeys(name for index in unit for name in tasks[index].arrays))
            for unit in members
        )
        return cls(
            compiled,
            hardware,
            maker.entries,
            maker.targets,
            tuple(tasks),
            members,
            arrays,
            tuple(maker.uncounted),
        )

    @cached_property
    def units(self) -> list[Unit]:
        """What is copied, with its time by copies."""
        return [self._unit(number) for number in range(len(self.members))]

    @cached_property
    def unit_of(self) -> dict[int, int]:
        """The unit of each layer."""
        return {index: unit for unit, found in enumerate(self.members) for index in found}

    def layer_s(self, index: int, copies: int) -> float:
        """Seconds of a layer for one image: of its copy with the most vectors."""
        task = self.tasks[index]
        rounds = math.ceil(task.vectors / copies)
        counts = task.counts
        share = rounds / counts.vectors if counts.vectors else 0.0
        busiest = replace(
            counts,
            vectors=counts.vectors * share,
            read_bits=counts.read_bits * share,
            written_bits=counts.written_bits * share,
            multiply_adds=counts.multiply_adds * share,
            operations=counts.operations * share,
            moved_bits=0,
        )
        return self.hardware.layer_s(busiest, task.use)

    def digital_s(self, index: int, tiles: int) -> float:
        """Seconds of a digital node on the digital units of so many tiles."""
        task = self.tasks[index]
        return self.hardware.layer_s(replace(task.counts, tiles=tiles), task.use)

    def _unit(self, number: int) -> Unit:
        found = self.members[number]
        tiles = sum(self.entries[name].tiles for name in self.arrays[number])
        recurrent = any(self.tasks[index].op in _RECURRENT for index in found)
        most = 1 if recurrent else max(self.tasks[index].vectors for index in found)
        known: dict[int, float] = {}

        def seconds(copies: int) -> float:
            if copies not in known:
                known[copies] = sum(self.layer_s(index, copies) for index in found)
            return known[copies]

        return Unit(tiles, most, seconds)


def _shared(tasks: list[Task], layers: list[int]) -> tuple[tuple[int, ...], ...]:
    """Layers that share arrays, in the order of the first of each."""
    graph: nx.Graph[Any] = nx.Graph()
    for index in layers:
        graph.add_node(index)
        for name in tasks[index].arrays:
            graph.add_edge(index, name)
    found = [
        tuple(sorted(member for member in part if isinstance(member, int)))
        for part in nx.connected_components(graph)
    ]
    return tuple(sorted(found))


class _Maker:
    """Tasks of a compiled network."""

    def __init__(self, compiled: Compiled) -> None:
        manifest = compiled.manifest
        self.manifest = manifest
        self.entries = {entry.name: entry for entry in manifest.arrays}
        self.targets = {name: target_of(manifest, name) for name in self.entries}
        self.uses = {name: use_of(target) for name, target in self.targets.items()}
        self.graph = read_tile_graph(compiled.read_tiles())
        model = load_compiled(compiled)
        self.windows = windows_of(model)
        self.digital = {
            node.name: node
            for node in digital_work(model, manifest.work.assumed if manifest.work else {})
        }
        self.layers = {layer.name: layer for layer in manifest.layers}
        self.products = {node.name: node for node in manifest.digital}
        self.uncounted: list[str] = []

    def tasks(self) -> list[Task]:
        """All of them; the inputs are one."""
        names = [
            key
            for key in nx.topological_sort(self.graph)
            if self.graph.nodes[key]["kind"] in ("layer", "digital")
        ]
        layers = [
            key
            for key in names
            if self.graph.nodes[key]["kind"] == "layer"
            and self.layers[self.graph.nodes[key]["name"]].op != "CrossbarParameter"
        ]
        if not layers:
            return []
        kept = [key for key in names if key in layers or self.graph.nodes[key]["kind"] == "digital"]
        places = {key: number + 1 for number, key in enumerate(kept)}
        hosts = _hosts(self.graph, kept, layers)
        found = [self._inputs(places[layers[0]])]
        for key in kept:
            sources = dict.fromkeys(
                places[before] if before in places else 0
                for before in self.graph.predecessors(key)
                if before in places or self.graph.nodes[before]["kind"] == "input"
            )
            found.append(self._task(key, sources, places[hosts[key]], found))
        return found

    def _task(self, key: str, sources: Mapping[int, None], host: int, before: list[Task]) -> Task:
        node = self.graph.nodes[key]
        window = self.windows.get(node["name"])
        inputs = tuple(
            Input(s, window if window is not None and before[s].rows == window.inputs else None)
            for s in sources
        )
        rows = 1 if window is None else window.outputs
        if node["kind"] == "layer":
            return self._layer(self.layers[node["name"]], inputs, rows, host)
        work = self.digital.get(node["name"])
        if work is None or work.operations is None or work.values is None:
            self.uncounted.append(node["name"])
        products = self.products.get(node["name"])
        counts = Counts(
            operations=(work.operations if work else 0) or 0,
            multiply_adds=0
            if products is None
            else (products.multiply_adds or 0) + (products.activation_multiply_adds or 0),
        )
        first = self.manifest.arrays[0].name
        return Task(
            name=node["name"],
            kind="digital",
            op=node["op"],
            counts=counts,
            use=self.uses[first],
            arrays=(),
            vectors=rows,
            rows=rows,
            numbers=(work.values if work else 0) or 0,
            bits=self.uses[first].dac_bits,
            taken=0,
            inputs=inputs,
            host=host,
        )

    def _layer(self, layer: LayerEntry, inputs: tuple[Input, ...], rows: int, host: int) -> Task:
        cells = {
            name: Conductances(np.zeros((entry.groups, entry.rows)), 0, 0.0)
            for name in layer.arrays
            for entry in (self.entries[name],)
        }
        drives = {name: assumed_drives(self.targets[name]) for name in layer.arrays}
        counts = layer_counts(layer, self.entries, self.targets, cells, drives)
        vectors = max(1, math.ceil(counts.vectors))
        use = self.uses[layer.arrays[0]]
        entry = self.entries[layer.arrays[0]]
        products = layer.products or 0
        return Task(
            name=layer.name,
            kind="layer",
            op=layer.op,
            counts=counts,
            use=use,
            arrays=tuple(layer.arrays),
            vectors=vectors,
            rows=rows if vectors % rows == 0 else 1,
            numbers=_numbers(layer.output_shape, products * entry.cols),
            bits=use.dac_bits,
            taken=_numbers(layer.input_shape, products * entry.rows),
            inputs=inputs,
            host=host,
        )

    def _inputs(self, host: int) -> Task:
        """The network's inputs: they wait on the cores of the first layer."""
        numbers = sum(_numbers((value.shape or ())[1:], 0) for value in self.manifest.inputs)
        shape = self.manifest.inputs[0].shape if self.manifest.inputs else None
        rows = shape[2] if shape is not None and len(shape) > 2 else 1
        use = self.uses[self.manifest.arrays[0].name]
        rows = rows if isinstance(rows, int) else 1
        empty = Counts()
        return Task(
            INPUT, INPUT, "", empty, use, (), rows, rows, numbers, use.dac_bits, 0, (), host
        )


def _hosts(graph: Any, kept: list[str], layers: list[str]) -> dict[str, str]:
    """The layer on whose cores each works: of a digital node, the last that it takes data from.

    What comes before any layer works on the cores of the first layer behind it.
    """
    order = {key: number for number, key in enumerate(layers)}
    hosts: dict[str, str] = {key: key for key in layers}
    for key in kept:
        if key not in hosts:
            before = [hosts[p] for p in graph.predecessors(key) if p in hosts]
            if before:
                hosts[key] = max(before, key=order.__getitem__)
    for key in reversed(kept):
        if key not in hosts:
            behind = [hosts[s] for s in graph.successors(key) if s in hosts]
            hosts[key] = min(behind, key=order.__getitem__) if behind else layers[0]
    return hosts


def _numbers(shape: Sequence[int | str | None] | None, otherwise: int) -> int:
    if shape is None or any(not isinstance(size, int) for size in shape):
        return otherwise
    return math.prod(size for size in shape if isinstance(size, int))
