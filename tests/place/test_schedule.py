"""Schedules against an event queue, round by round, and what is refused."""

from __future__ import annotations

import heapq
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest

from nvmc import (
    Compiled,
    Schedule,
    Target,
    compile_model,
    estimate_cost,
    load_hardware,
    place_network,
)
from nvmc.compiled.artifact import open_compiled
from nvmc.cost.hardware import Hardware
from nvmc.cost.mesh import Mesh
from nvmc.cost.schedule import read_schedule, schedule_schema, write_schedule
from nvmc.errors import HardwareError, OptionError
from nvmc.hardware.devices import Periphery

CONVOLUTIONS = {"c1": (3, 1, 1), "c2": (3, 2, 1), "c3": (1, 1, 0), "c4": (1, 2, 0)}
"""Kernel, stride and padding."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """Three convolutions with a branch beside the last two, an addition, and a matrix product."""
    folder = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(2)
    shapes = {"w1": (6, 3, 3, 3), "w2": (8, 6, 3, 3), "w3": (8, 8, 1, 1), "w4": (8, 6, 1, 1)}
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    weights["v"] = rng.normal(size=(8 * 6 * 6, 10)).astype(np.float32)
    made = []
    for name, weight, given in (("c1", "w1", "x"), ("c2", "w2", "r"), ("c3", "w3", "c2_")):
        kernel, stride, pad = CONVOLUTIONS[name]
        made.append(
            onnx.helper.make_node(
                "Conv", [given, weight], [f"{name}_"], name, strides=[stride] * 2, pads=[pad] * 4
            )
        )
        if name == "c1":
            made.append(onnx.helper.make_node("Relu", ["c1_"], ["r"], "relu"))
    made += [
        onnx.helper.make_node("Conv", ["r", "w4"], ["c4_"], "c4", strides=[2, 2]),
        onnx.helper.make_node("Add", ["c3_", "c4_"], ["a"], "add"),
        onnx.helper.make_node("Flatten", ["a"], ["f"], "flat"),
        onnx.helper.make_node("MatMul", ["f", "v"], ["y"], "fc"),
    ]
    graph = onnx.helper.make_graph(
        made,
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, ["N", 3, 12, 12])],
        [onnx.helper.make_tensor_value_info("y", 1, ["N", 10])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    path = folder / "net.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    periphery = Periphery(dac_bits=8, dac_mode="bit-serial", adc_bits=8)
    target = Target.of("rram4", weight_bits=4, cell_bits=2, rows=16, cols=8, periphery=periphery)
    return compile_model(path, target, output=folder / "net.nvmc")


def hardware(**changed: Any) -> Hardware:
    """ISAAC's components on 8 x 7 cores of 12 tiles."""
    base = load_hardware("isaac-32nm")
    assert base.mesh is not None
    small = {"columns": 8, "rows": 7, "tiles": 12, "shared_columns": 1, "shared_rows": 1}
    mesh = Mesh.model_validate(base.mesh.model_dump() | small | changed)
    return base.model_copy(update={"mesh": mesh})


def queue_layers(schedule: Schedule) -> dict[str, float]:
    """End of every node, each beginning when the last message of its inputs arrives."""
    waiting = {node.name: {given.source for given in node.inputs} for node in schedule.nodes}
    nodes = {node.name: node for node in schedule.nodes}
    arrived = dict.fromkeys(nodes, 0.0)
    ends: dict[str, float] = {}
    queue = [(0.0, "input")]
    while queue:
        now, name = heapq.heappop(queue)
        ends[name] = now
        for node in schedule.nodes:
            for given in node.inputs:
                if given.source != name:
                    continue
                arrived[node.name] = max(arrived[node.name], now + given.delay_s)
                waiting[node.name].discard(name)
                if not waiting[node.name]:
                    end = arrived[node.name] + node.rounds * node.round_s
                    heapq.heappush(queue, (end, node.name))
    return ends


@pytest.mark.parametrize("extra", [1.0, 1.5, 3.0])
def test_layer_by_layer_an_event_queue_gives_the_same_times(
    network: Compiled, extra: float
) -> None:
    once = place_network(network, hardware()).tiles_once
    schedule = place_network(network, hardware(), tiles=int(once * extra))
    ends = queue_layers(schedule)
    for node in schedule.nodes:
        assert node.end_s == pytest.approx(ends[node.name], rel=1e-12), node.name
    assert schedule.latency_s == pytest.approx(max(ends.values()), rel=1e-12)
    assert schedule.latency_bound_s is not None
    found, bound = schedule.latency_bound_s
    assert bound <= found == pytest.approx(sum(node.seconds for node in schedule.layers))


def rounds_needed(schedule: Schedule, node: Any, source: Any, number: int) -> int:
    """The source's last round that a round of a node needs, by looking at every pixel."""
    if node.name not in (*CONVOLUTIONS, "relu", "add"):
        return source.rounds - 1
    kernel, stride, pad = CONVOLUTIONS.get(node.name, (1, 1, 0))
    side = 12 if node.name in ("c1", "relu") else 6
    before = side * stride
    if node.kind == "layer":
        pixels = range(number * node.copies, min((number + 1) * node.copies, side * side))
    else:
        pixels = range(number * side, (number + 1) * side)  # a row
    last = 0
    for pixel in pixels:
        row, column = divmod(pixel, side)
        for y in range(row * stride - pad, row * stride - pad + kernel):
            for x in range(column * stride - pad, column * stride - pad + kernel):
                if 0 <= y < before and 0 <= x < before:
                    last = max(last, y * before + x)
    each = source.copies if source.kind == "layer" else before
    return last // each


@pytest.mark.parametrize("extra", [1.0, 1.5, 3.0])
def test_pipelined_no_round_is_too_early_and_none_waits_for_its_tiles(
    network: Compiled, extra: float
) -> None:
    once = place_network(network, hardware()).tiles_once
    schedule = place_network(network, hardware(), tiles=int(once * extra), pipeline=True)
    nodes = {node.name: node for node in schedule.nodes}
    for node in schedule.nodes:
        for number in range(node.rounds):
            begin = node.start_s + number * node.step_s
            for given in node.inputs:
                if given.source == "input":
                    continue
                source = nodes[given.source]
                after = rounds_needed(schedule, node, source, number)
                end = source.start_s + after * source.step_s + source.round_s
                assert begin >= end + given.delay_s - 1e-15, (node.name, number)
    work: dict[str, list[tuple[float, float]]] = {}
    for image in range(5):
        for node in schedule.layers:
            for number in range(node.rounds):
                begin = node.start_s + number * node.step_s + image * schedule.interval_s
                work.setdefault(node.name, []).append((begin, begin + node.round_s))
    for name, spans in work.items():
        spans.sort()
        for (_, end), (begin, _) in zip(spans, spans[1:], strict=False):
            assert begin >= end - 1e-15, name


def queue_pipeline(schedule: Schedule, images: int) -> list[float]:
    """End of each image where every round begins as soon as it can, images at once."""
    nodes = {node.name: node for node in schedule.nodes}
    ends: dict[tuple[int, str, int], float] = {}
    last: list[float] = []
    for image in range(images):
        for node in schedule.nodes:
            for number in range(node.rounds):
                before = (image, node.name, number - 1)
                if not number:
                    before = (image - 1, node.name, node.rounds - 1)
                begin = ends.get(before, 0.0)
                for given in node.inputs:
                    if given.source == "input":
                        begin = max(begin, given.delay_s)
                        continue
                    source = nodes[given.source]
                    after = rounds_needed(schedule, node, source, number)
                    begin = max(begin, ends[image, given.source, after] + given.delay_s)
                ends[image, node.name, number] = begin + node.round_s
        last.append(max(ends[image, n.name, n.rounds - 1] for n in schedule.nodes))
    return last


@pytest.mark.parametrize("extra", [1.0, 3.0])
def test_nothing_that_never_waits_is_faster_than_the_interval(
    network: Compiled, extra: float
) -> None:
    once = place_network(network, hardware()).tiles_once
    schedule = place_network(network, hardware(), tiles=int(once * extra), pipeline=True)
    ends = queue_pipeline(schedule, 12)
    assert ends[0] <= schedule.latency_s * (1 + 1e-12)
    assert (
        schedule.latency_s <= 1.5 * ends[0]
    )  # whole rows of 6 or 12, and even steps, cost so much
    longest = max(node.seconds for node in schedule.nodes)
    assert ends[-1] - ends[-2] == pytest.approx(longest, rel=1e-9)
    assert schedule.interval_s >= longest * (1 - 1e-12)
    assert schedule.interval_s == pytest.approx(max(longest, schedule.busiest_link_s))


SIZES = {"input": 432, "c1": 864, "relu": 864, "c2": 288, "c3": 288, "c4": 288, "add": 288}


def waiting(schedule: Schedule, moment: float) -> float:
    """Bits that wait just behind a moment, image by image, node by node, round by round."""
    total = 0.0
    nodes = {node.name: node for node in schedule.nodes}
    pipeline = schedule.mode == "pipeline"
    for name, size in {**SIZES, "flat": 288}.items():
        readers = [n for n in schedule.nodes if name in [given.source for given in n.inputs]]
        for image in range(int(moment / schedule.interval_s) + 1):
            now = moment - image * schedule.interval_s
            come = float(size)
            if name != "input":
                source = nodes[name]
                each = source.vectors / source.rounds if source.kind == "digital" else source.copies
                ends = [
                    source.start_s + r * source.step_s + source.round_s
                    for r in range(source.rounds)
                ]
                done = sum(end <= now for end in ends)
                come = size * min(done * each, source.vectors) / source.vectors
            gone = float(size)
            for reader in readers:
                ends = [
                    reader.start_s + r * reader.step_s + reader.round_s
                    for r in range(reader.rounds)
                ]
                done = sum(end <= now for end in ends)
                if done == reader.rounds:
                    continue
                if not pipeline or reader.name not in (*CONVOLUTIONS, "relu", "add"):
                    gone = 0.0
                    continue
                _, stride, pad = CONVOLUTIONS.get(reader.name, (1, 1, 0))
                side = 12 if reader.name in ("c1", "relu") else 6
                rows = done if reader.kind == "digital" else done * reader.copies // side
                free = max(0, rows * stride - pad) if rows else 0
                gone = min(gone, size * free / (side * stride))
            total += 8 * (come - gone)
    return total


@pytest.mark.parametrize("pipeline", [False, True])
def test_buffers_by_looking_at_every_moment(network: Compiled, pipeline: bool) -> None:
    schedule = place_network(network, hardware(), tiles=400, pipeline=pipeline)
    first = 0.0 if not pipeline else 6 * schedule.interval_s
    moments = {first}
    for node in schedule.nodes:
        for number in range(node.rounds):
            end = node.start_s + number * node.step_s + node.round_s
            moments.add(end % schedule.interval_s + first)
    most = max(waiting(schedule, moment * (1 + 1e-12)) for moment in moments)
    assert schedule.buffer_peak_bits == pytest.approx(most, rel=1e-9)


def test_every_tile_lies_on_one_core_and_no_core_has_too_many(network: Compiled) -> None:
    schedule = place_network(network, hardware(), tiles=300, pipeline=True)
    held = [0] * 56
    for array in schedule.arrays:
        entry = next(e for e in network.manifest.arrays if e.name == array.array)
        for cores, home in zip(array.cores, array.homes, strict=True):
            assert len(cores) == entry.tiles
            assert max(cores, key=cores.count) == home or cores.count(home) == max(
                cores.count(core) for core in cores
            )
            for core in cores:
                held[core] += 1
    assert held == schedule.core_tiles
    assert max(held) <= 12
    assert sum(held) == schedule.tiles_used <= 300


def test_bits_of_one_layer_by_hand(network: Compiled) -> None:
    """Everything on one core: nothing moves."""
    schedule = place_network(network, hardware(tiles=4000))
    assert schedule.bit_hops == 0
    assert schedule.hop_energy_j == 0
    assert [tiles for tiles in schedule.core_tiles if tiles] == [schedule.tiles_once]


def test_the_file_is_what_its_schema_says(network: Compiled, tmp_path: Path) -> None:
    schedule = place_network(network, hardware(), pipeline=True)
    path = tmp_path / "schedule.json"
    write_schedule(schedule, path)
    jsonschema.validate(json.loads(path.read_text()), schedule_schema())
    assert read_schedule(path) == schedule
    published = Path(__file__).parents[2] / "nvmc/cost/schema/schedule.schema.json"
    assert json.loads(published.read_text()) == schedule_schema()  # `make schema` writes it
    assert place_network(open_compiled(network.folder), hardware(), pipeline=True) == schedule


def test_what_cannot_be_placed_is_refused_in_a_line(network: Compiled) -> None:
    with pytest.raises(HardwareError, match="has no section .mesh."):
        place_network(network, "generic")
    once = place_network(network, hardware()).tiles_once
    with pytest.raises(OptionError, match=f"one copy of every layer takes {once}"):
        place_network(network, hardware(), tiles=once - 1)
    with pytest.raises(OptionError, match="8 x 7 cores of 12 tiles hold 672"):
        place_network(network, hardware(), tiles=673)
    with pytest.raises(OptionError, match="the network takes .* tiles, but 1 x 1 cores"):
        place_network(network, hardware(columns=1, rows=1))
    small = {"value": 1, "unit": "B", "source": "test"}
    with pytest.raises(OptionError, match="KiB of activations wait at once"):
        place_network(network, hardware(buffer=small))
    with pytest.raises(OptionError, match="chiplets are 0x1"):
        place_network(network, hardware(), chiplets=(0, 1))


def test_cost_counts_with_the_schedule(network: Compiled) -> None:
    on = hardware()
    schedule = place_network(network, on, tiles=400, pipeline=True)
    plain, found = estimate_cost(network, on), estimate_cost(network, on, schedule=schedule)
    assert found.latency.value == schedule.latency_s
    assert found.interval.value == schedule.interval_s
    router = sum(layer.components["router"] for layer in found.layers)
    assert router == pytest.approx(schedule.hop_energy_j)
    moved = sum(layer.components["router"] for layer in plain.layers)
    assert found.energy.value == pytest.approx(plain.energy.value - moved + router)
    assert sum(layer.tiles for layer in found.layers if layer.op) == schedule.tiles_used
    assert found.area_mm2.value == pytest.approx(
        plain.area_mm2.value * schedule.tiles_used / schedule.tiles_once, rel=0.1
    )
    with pytest.raises(OptionError, match="for hardware 'isaac-32nm', not 'generic'"):
        estimate_cost(network, "generic", schedule=schedule)
    with pytest.raises(OptionError, match="not what it was"):
        estimate_cost(network, hardware(tiles=13), schedule=schedule)
    other = schedule.model_copy(update={"network_sha256": "0" * 64})
    with pytest.raises(OptionError, match="another network"):
        estimate_cost(network, on, schedule=other)
