from __future__ import annotations

import json
from typing import Any

import networkx as nx
import onnx_ir as ir
import pytest

from nvmc.hardware.devices import Target, load_device
from nvmc.passes.graph.arrays import Mapping
from nvmc.passes.graph.tile_graph import critical_path, tile_graph, tile_graph_json, utilization
from nvmc.passes.map_crossbars import MapCrossbars
from nvmc.passes.pipeline import compile_passes
from onnx_models import MAPPED
from onnx_text import proto_of

TARGET = Target.of(load_device("fefet2"), rows=8, cols=4)

RESIDUAL = """g (float[B,4] x) => (y) <float[4,4] a, float[4,4] b, float[4,4] c> {
  p = MatMul (x, a)
  q = Relu (p)
  r = MatMul (q, b)
  s = MatMul (x, c)
  y = Add (r, s)
}"""


def graph_of(text: str, target: Target = TARGET) -> tuple[Any, Mapping]:
    model = ir.from_proto(proto_of(text))
    for step in compile_passes(target):
        step(model)
    assert isinstance(step, MapCrossbars)
    return tile_graph(model, step.mapping, step.target), step.mapping


def of_kind(graph: Any, kind: str) -> list[str]:
    return [name for name, data in graph.nodes(data=True) if data["kind"] == kind]


@pytest.mark.parametrize("name", MAPPED)
def test_everything_is_a_node_and_data_flows_one_way(name: str) -> None:
    graph, mapping = graph_of(MAPPED[name][1])
    assert nx.is_directed_acyclic_graph(graph)
    assert len(of_kind(graph, "layer")) == len(mapping.layers)
    assert len(of_kind(graph, "digital")) == len(mapping.digital)
    assert len(of_kind(graph, "tile")) == sum(array.tiles for array in mapping.arrays)
    inputs, outputs = of_kind(graph, "input"), of_kind(graph, "output")
    for layer in of_kind(graph, "layer"):
        assert any(nx.has_path(graph, source, layer) for source in inputs)
        assert any(nx.has_path(graph, layer, sink) for sink in outputs)
        assert any(graph.nodes[source]["kind"] == "tile" for source in graph.predecessors(layer))


def test_data_flow_of_a_residual_network() -> None:
    graph, _ = graph_of(RESIDUAL)
    flow = {
        (graph.nodes[a]["name"], graph.nodes[b]["name"])
        for a, b in graph.edges
        if graph.nodes[a]["kind"] != "tile"
    }
    assert flow == {
        ("x", "MatMul_0"),
        ("MatMul_0", "Relu_0"),
        ("Relu_0", "MatMul_1"),
        ("x", "MatMul_2"),
        ("MatMul_1", "Add_0"),
        ("MatMul_2", "Add_0"),
        ("Add_0", "y"),
    }
    assert critical_path(graph) == ["MatMul_0", "MatMul_1"]


def test_a_shared_weights_tiles_serve_both_layers() -> None:
    graph, _ = graph_of(MAPPED["shared"][1])
    tiles = of_kind(graph, "tile")
    assert tiles
    for tile in tiles:
        assert sorted(graph.successors(tile)) == sorted(of_kind(graph, "layer"))


def test_utilization_counts_cells() -> None:
    graph, mapping = graph_of(RESIDUAL)
    shares = utilization(graph)
    # 4 x 4 weights, packed on 8 x 4 tiles: half of each tile.
    assert shares == {"": 0.5, "a": 0.5, "b": 0.5, "c": 0.5}
    assert all(shares[array.name] == array.utilization for array in mapping.arrays)


def test_a_network_without_weights() -> None:
    graph, _ = graph_of("g (float[2] x) => (y) { y = Relu (x) }")
    assert utilization(graph) == {"": 0.0} and critical_path(graph) == []


def test_json_gives_the_graph_back() -> None:
    graph, _ = graph_of(RESIDUAL)
    read = nx.node_link_graph(json.loads(tile_graph_json(graph)), edges="edges")
    assert nx.utils.graphs_equal(
        read, nx.node_link_graph(nx.node_link_data(graph, edges="edges"), edges="edges")
    )
    assert set(read.nodes) == set(graph.nodes) and set(read.edges) == set(graph.edges)
