"""The graph of tiles, nodes and the data that flows between them."""

from __future__ import annotations

import json
from typing import Any

import networkx as nx
import onnx_ir as ir

from nvmc.compiled.operators import DOMAIN
from nvmc.hardware.devices import Target
from nvmc.hardware.tiling import Matrix, tiles_of
from nvmc.passes.graph.arrays import Mapping
from nvmc.passes.graph.mappable import nodes_of, subgraphs_of

_nx: Any = nx  # it is untyped in parts

__all__ = ["critical_path", "read_tile_graph", "tile_graph", "tile_graph_json", "utilization"]


def tile_graph(model: ir.Model, mapping: Mapping, target: Target) -> Any:
    """A directed acyclic graph of a compiled network, as `networkx.DiGraph`.

    Its nodes are `input:NAME`, `output:NAME`, `layer:NAME` (on crossbars), `digital:NAME` and
    `tile:ARRAY:NUMBER`, each with the attribute `kind` (the word before the colon). Layers and
    digital nodes carry `name` and `op`; tiles carry `array`, `plane`, `groups`, `rows`, `cols` and
    `cells`. Edges follow the data; an edge from a tile leads to each layer that reads its array.
    The nodes of a subgraph stand before the node that owns it.

    Args:
        model: What `map-crossbars` made.
        mapping: What it mapped where.
        target: The cells, with the arrays of its layers. The graph's own `rows` and `cols` are
            those of the tiles of all layers but these; `sizes` has those of other tiles, by array.
    """
    sizes = {entry.name: _size(target, entry.name) for entry in mapping.arrays}
    targets = {entry.name: target.of_array(entry.name) for entry in mapping.arrays}
    even = {name for name, own in targets.items() if own.periphery.row_split == "even"}
    size: dict[str, Any] = {"rows": target.rows, "cols": target.cols}
    other: Any = {name: [*own] for name, own in sizes.items() if own != (target.rows, target.cols)}
    graph: nx.DiGraph[str] = nx.DiGraph(**size | ({"sizes": other} if other else {}))
    for value in model.graph.inputs:
        graph.add_node(f"input:{value.name}", kind="input", name=value.name)
    nodes = list(nodes_of(model))
    for node in nodes:
        kind = "layer" if node.domain == DOMAIN else "digital"
        graph.add_node(_key(node), kind=kind, name=node.name, op=node.op_type)
    owners = _owners(nodes)
    for node in nodes:
        for value in node.inputs:
            for source in _sources(value, owners):
                graph.add_edge(source, _key(node))
        for subgraph in subgraphs_of(node):
            for value in subgraph.outputs:
                for source in _sources(value, owners):
                    graph.add_edge(source, _key(node))
    for value in model.graph.outputs:
        graph.add_node(f"output:{value.name}", kind="output", name=value.name)
        for source in _sources(value, owners):
            graph.add_edge(source, f"output:{value.name}")
    _add_tiles(graph, mapping, sizes, even)
    return graph


def _size(target: Target, array: str) -> tuple[int, int]:
    """Word lines and bit lines of an array's tiles."""
    own = target.of_array(array)
    return own.rows, own.cols


def critical_path(graph: Any) -> list[str]:
    """Names of the layers on the path with the most layers, in order of the data."""
    edges: nx.DiGraph[str] = nx.DiGraph()
    kinds = graph.nodes
    for name in graph.nodes:
        if kinds[name]["kind"] != "tile":
            edges.add_node(name)
    for source, sink in graph.edges:
        if kinds[source]["kind"] != "tile":
            edges.add_edge(source, sink, layers=int(kinds[sink]["kind"] == "layer"))
    path = nx.dag_longest_path(edges, weight="layers", default_weight=0)
    return [kinds[name]["name"] for name in path if kinds[name]["kind"] == "layer"]


def utilization(graph: Any) -> dict[str, float]:
    """Cells in use over cells in its tiles, for each array; `""` is all of them together.

    Without any tile the total is 0.
    """
    shared = graph.graph["rows"], graph.graph["cols"]
    sizes: dict[str, Any] = graph.graph.get("sizes", {})
    used: dict[str, int] = {}
    room: dict[str, int] = {}
    for _, data in graph.nodes(data=True):
        if data["kind"] == "tile":
            for key in (data["array"], ""):
                used[key] = used.get(key, 0) + data["cells"]
                rows, cols = sizes.get(data["array"], shared)
                room[key] = room.get(key, 0) + rows * cols
    shares = {key: used[key] / room[key] for key in used}
    return shares or {"": 0.0}


def tile_graph_json(graph: Any) -> str:
    """The graph in networkx's node-link form."""
    return json.dumps(nx.node_link_data(graph, edges="edges"), separators=(",", ":"))


def read_tile_graph(content: bytes) -> Any:
    """The graph in a compiled network's `tiles.json`."""
    return _nx.node_link_graph(json.loads(content), edges="edges")


def _key(node: ir.Node) -> str:
    return f"{'layer' if node.domain == DOMAIN else 'digital'}:{node.name}"


def _owners(nodes: list[ir.Node]) -> dict[ir.Value, ir.Node]:
    """The node that owns the subgraph of which a value is an input."""
    return {value: node for node in nodes for graph in subgraphs_of(node) for value in graph.inputs}


def _sources(value: ir.Value | None, owners: dict[ir.Value, ir.Node]) -> list[str]:
    """The graph nodes that a value comes from; none for constants."""
    if value is None or value.is_initializer():
        return []
    producer = value.producer()
    if producer is not None:
        return [_key(producer)]
    owner = owners.get(value)
    if owner is None:
        return [f"input:{value.name}"] if value.is_graph_input() else []
    return [source for outer in owner.inputs for source in _sources(outer, owners)]


def _add_tiles(
    graph: Any, mapping: Mapping, sizes: dict[str, tuple[int, int]], even: set[str]
) -> None:
    readers: dict[str, list[str]] = {}
    for layer in mapping.layers:
        for array in layer.arrays:
            readers.setdefault(array, []).append(f"layer:{layer.name}")
    for entry in mapping.arrays:
        matrix = Matrix(entry.groups, entry.rows, entry.cols)
        tiles = tiles_of(matrix, entry.planes, *sizes[entry.name], entry.name in even)
        for number, tile in enumerate(tiles):
            name = f"tile:{entry.name}:{number}"
            spans = {key: list(getattr(tile, key)) for key in ("groups", "rows", "cols")}
            where = {"array": entry.name, "plane": tile.plane, **spans, "cells": tile.cells}
            graph.add_node(name, kind="tile", **where)
            for layer in dict.fromkeys(readers.get(entry.name, ())):
                graph.add_edge(name, layer)
