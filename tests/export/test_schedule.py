"""`--to schedule`: an interpreter that knows the manual only gives the circuit's own bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray

from export.circuits import (
    CONV,
    CONVERTERS,
    DENSE,
    LSTM,
    OPEN,
    PLAIN,
    SERIAL,
    SHAPED,
    SHAPES,
    SPREAD,
    STACK,
    WHOLE,
    awkward,
    calibrated,
    circuits,
    network,
    tabled,
)
from export.replay import Replay
from nvmc import (
    Compiled,
    LayerTarget,
    Target,
    compile_model,
    export_network,
    load_device,
    open_compiled,
)
from nvmc.cli import main
from nvmc.cost.schedule import write_schedule
from nvmc.errors import ModelError, OptionError
from nvmc.export.schedule.format import FORMAT, program_schema
from nvmc.hardware.devices import Periphery
from nvmc.models import resolve_model
from nvmc.place.place import place_network
from onnx_text import proto_of
from source_tree import ROOT


def replayed(
    compiled: Compiled, chip: int | None, x: NDArray[np.float32], folder: Path
) -> tuple[NDArray[np.float32], Replay]:
    export_network(compiled, "schedule", folder / "out", chip=chip)
    machine = Replay(folder / "out")
    (name,) = machine.program["inputs"]
    (found,) = machine({name: x}).values()
    return found, machine


def hold(compiled: Compiled, chip: int | None, x: NDArray[np.float32], folder: Path) -> Replay:
    found, machine = replayed(compiled, chip, x, folder)
    (wanted,) = circuits(compiled, chip, x)
    assert wanted.any()
    np.testing.assert_array_equal(found, wanted)
    return machine


@pytest.mark.parametrize(
    ("name", "chip"),
    [
        ("mlp3-digits", None),
        # Its convolutions and pools are held by `SHAPED`, its chips by the networks below.
        pytest.param("lenet5-digits", 3, marks=pytest.mark.slow),
    ],
)
def test_networks_of_the_zoo_give_the_circuits_bits(
    name: str, chip: int | None, tmp_path: Path
) -> None:
    target = Target.of("rram4", periphery=Periphery(**SERIAL, subtract="digital"))
    output = tmp_path / "net.nvmc"
    compiled = compile_model(resolve_model(f"zoo:{name}"), target, output=output)
    x = np.random.default_rng(5).random((1, 1, 28, 28), dtype=np.float32)
    machine = hold(compiled, chip, x, tmp_path)
    slices = {tile["slice"] for tile in machine.program["tiles"]}
    assert slices == {0, 1}
    assert machine.counts["write"] == sum(entry.tiles for entry in compiled.manifest.arrays)


@pytest.mark.parametrize(
    ("cells", "surround"),
    [
        ({}, SERIAL),
        ({"encoding": "differential"}, {**SERIAL, "subtract": "digital"}),
        ({"encoding": "differential"}, {**WHOLE, "rows_on": 5}),
        ({"encoding": "balanced"}, {**WHOLE, "signed_inputs": "offset"}),
        ({"encoding": "offset"}, SERIAL),
        ({"encoding": "offset", "per_channel": True}, {**WHOLE, "signed_inputs": "offset"}),
        ({"encoding": "offset"}, {**SERIAL, "signed_inputs": "offset", "row_split": "even"}),
        ({}, {**WHOLE, "column_limit": 30.0}),
        ({}, {**WHOLE, "adc_range": 40.0, "dac_bits": 1}),
    ],
)
# Not both chips on both networks: what a chip changes is in the tiles, a network in the program.
@pytest.mark.parametrize(("text", "chip"), [(CONV, 2), (DENSE, None)], ids=["conv", "dense"])
def test_every_way_to_read_gives_the_circuits_bits(
    text: str, chip: int | None, cells: dict[str, Any], surround: dict[str, Any], tmp_path: Path
) -> None:
    target = Target.of("rram4", rows=7, cols=4, periphery=Periphery(**surround), **cells)
    stored = SHAPES if text == DENSE else {}
    compiled = network(tmp_path, text, target, **stored)
    shape = (1, 4, 7, 6) if text == CONV else (1, 5, 9)
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    hold(compiled, chip, x, tmp_path)


@pytest.mark.parametrize("chip", [None, 2])
@pytest.mark.parametrize("rows_on", [None, 5])
def test_groups_that_share_a_tile_give_the_circuits_bits(
    rows_on: int | None, chip: int | None, tmp_path: Path
) -> None:
    periphery = Periphery(**SERIAL, rows_on=rows_on)
    target = Target.of("rram4", encoding="offset", rows=40, cols=16, periphery=periphery)
    compiled = network(tmp_path, CONV, target)
    x = np.random.default_rng(6).standard_normal((1, 4, 7, 6)).astype(np.float32)
    machine = hold(compiled, chip, x, tmp_path)
    assert machine.program["tiles"][0]["groups"] == [0, 2]
    assert machine.program["tiles"][0]["shape"] == [24, 6]


def test_levels_that_are_conductances_reach_the_converters(tmp_path: Path) -> None:
    target = Target.of(
        "rram-wan2022", encoding="differential", weight_bits=4, cell_bits=2, rows=8, cols=8,
        periphery=Periphery(**SERIAL, subtract="digital"),
    )  # fmt: skip
    compiled = network(tmp_path, CONV, target)
    x = np.random.default_rng(2).random((1, 4, 7, 6), dtype=np.float32)
    hold(compiled, None, x, tmp_path)


@pytest.mark.parametrize("chip", [None, 1])
@pytest.mark.parametrize("more", CONVERTERS)
def test_every_converter_gives_the_circuits_bits(
    more: dict[str, Any], chip: int | None, tmp_path: Path
) -> None:
    compiled, x = calibrated(more, tmp_path)
    machine = hold(compiled, chip, x[:1], tmp_path)
    found = any(row.get("thresholds") for row in machine.program["converters"])
    assert found == tabled(more, chip)


@pytest.mark.parametrize("chip", [None, 4])
def test_transposed_convolutions_give_the_circuits_bits(chip: int | None, tmp_path: Path) -> None:
    target = Target.of("rram4", rows=3, cols=8, periphery=Periphery(**SERIAL))
    compiled = network(tmp_path, SPREAD, target)
    x = np.random.default_rng(4).standard_normal((1, 4, 3, 3)).astype(np.float32)
    hold(compiled, chip, x, tmp_path)


@pytest.mark.parametrize("name", SHAPED)
def test_every_shape_gives_the_circuits_bits(name: str, tmp_path: Path) -> None:
    proto = proto_of(SHAPED[name])
    shape = [dim.dim_value or 1 for dim in proto.graph.input[0].type.tensor_type.shape.dim]
    target = Target.of("rram4", rows=5, cols=3, periphery=Periphery(**SERIAL))
    compiled = network(tmp_path, SHAPED[name], target)
    x = np.random.default_rng(8).standard_normal(shape).astype(np.float32)
    x[0].flat[0] = 0
    hold(compiled, 1, x, tmp_path)


def test_inputs_of_zero_give_the_circuits_bits(tmp_path: Path) -> None:
    compiled = network(tmp_path, CONV, Target.of("rram4", periphery=Periphery(**SERIAL)))
    hold(compiled, None, np.zeros((1, 4, 7, 6), np.float32), tmp_path)


@pytest.mark.parametrize("chip", [None, 3])
@pytest.mark.parametrize(
    ("device", "cells"),
    [
        ("additive", {}),
        ("reram-lognormal", {"encoding": "differential"}),
        ("rram-milo2021", {"weight_bits": 4, "cell_bits": 2}),
        ("bitflip", {"weight_bits": 4, "cell_bits": 1}),
    ],
)
def test_other_cells_give_the_circuits_bits(
    device: str, cells: dict[str, Any], chip: int | None, tmp_path: Path
) -> None:
    target = Target.of(device, rows=9, cols=4, periphery=Periphery(**WHOLE), **cells)
    compiled = network(tmp_path, CONV, target)
    x = np.random.default_rng(9).standard_normal((1, 4, 7, 6)).astype(np.float32)
    hold(compiled, chip, x, tmp_path)


@pytest.mark.parametrize("chip", [None, 3])
def test_layers_with_cells_of_their_own_give_the_circuits_bits(
    chip: int | None, tmp_path: Path
) -> None:
    own = LayerTarget(glob="w2", device=load_device("fefet2"), encoding="offset", rows=8)
    target = Target.of("rram4", rows=9, cols=4, periphery=Periphery(**SERIAL), layers=[own])
    compiled = network(tmp_path, CONV, target)
    x = np.random.default_rng(9).standard_normal((1, 4, 7, 6)).astype(np.float32)
    machine = hold(compiled, chip, x, tmp_path)
    signs = {tile["array"]: tile.get("polarity") for tile in machine.program["tiles"]}
    assert signs["w1"] is not None and signs["w2"] is None


def test_tiles_are_those_of_the_compiled_network(tmp_path: Path) -> None:
    target = Target.of(
        "rram4", encoding="differential", rows=7, cols=4, periphery=Periphery(**SERIAL)
    )
    compiled = network(tmp_path, CONV, target)
    export_network(compiled, "schedule", tmp_path / "out")
    program = json.loads((tmp_path / "out" / "schedule.json").read_text())
    told = json.loads(compiled.read_tiles())["nodes"]
    known = {node["id"]: node for node in told if node["kind"] == "tile"}
    assert len(program["tiles"]) == len(known)
    with np.load(tmp_path / "out" / "tiles.npz") as loaded:
        cells = dict(loaded)
    for tile in program["tiles"]:
        node = known[f"tile:{tile['array']}:{tile['number']}"]
        assert [tile["groups"], tile["rows"], tile["columns"]] == [
            node["groups"], node["rows"], node["cols"]
        ]  # fmt: skip
        assert node["plane"] == 2 * tile["slice"] + (tile["polarity"] == "-")
        assert np.count_nonzero(cells[tile["codes"]] >= 0) == node["cells"]


def test_a_placement_says_the_cores_of_tiles(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = Target.of("rram4", rows=9, cols=4, periphery=Periphery(**SERIAL))
    compiled = network(tmp_path, CONV, target)
    placed = place_network(compiled, "isaac-32nm", tiles=200, pipeline=True)
    write_schedule(placed, tmp_path / "placed.json")
    words = ["export", str(compiled.folder), "--to", "schedule", "-o", str(tmp_path / "out")]
    words += ["--placement", str(tmp_path / "placed.json")]
    assert main(words) == 0
    tiles = json.loads((tmp_path / "out" / "schedule.json").read_text())["tiles"]
    copies = {each.array: each.cores for each in placed.arrays}
    assert len(copies["w1"]) > 1
    for tile in tiles:
        assert tile["cores"] == [cores[tile["number"]] for cores in copies[tile["array"]]]
    assert len(tiles) == sum(len(cores[0]) for cores in copies.values())
    other = network(tmp_path, DENSE, target, **SHAPES)
    words[1] = str(other.folder)
    capfd.readouterr()
    assert main(words) == 1
    line = capfd.readouterr().err
    assert "is of another network" in line and line.count("\n") == 1


def test_names_may_hold_anything(tmp_path: Path) -> None:
    compiled = awkward(tmp_path, Target.of("rram4", periphery=Periphery(**SERIAL)))
    x = np.random.default_rng(7).standard_normal((1, 4, 7, 6)).astype(np.float32)
    hold(compiled, None, x, tmp_path)


def test_the_file_keeps_the_published_schema(tmp_path: Path) -> None:
    published = ROOT / "nvmc" / "export" / "schema" / "schedule.schema.json"
    assert json.loads(published.read_text()) == program_schema()  # `make schema` writes it
    target = Target.of("rram4", rows=7, cols=4, periphery=Periphery(**SERIAL))
    compiled = network(tmp_path, CONV, target)
    export_network(compiled, "schedule", tmp_path / "out", chip=1)
    program = json.loads((tmp_path / "out" / "schedule.json").read_text())
    assert program["format"] == FORMAT
    schema = json.loads((tmp_path / "out" / "schedule.schema.json").read_text())
    assert schema == program_schema()
    jsonschema.validate(program, schema)
    program["program"][0]["op"] = "guess"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(program, schema)


@pytest.mark.parametrize(
    ("text", "cells", "surround", "said"),
    [
        (LSTM, {}, SERIAL, "CrossbarLSTM .* has no instructions in this version"),
        (STACK, {}, SERIAL, "has a stack of matrices; .* keep the layer digital with skip="),
        (OPEN, {}, SERIAL, "input 'x' leaves the size of axis 1 open"),
        (PLAIN, {}, {"dac_bits": 8}, "array 'w' has no ADC, .*; compile with adc_bits="),
        (PLAIN, {}, {"adc_bits": 8}, "array 'w' has no DAC, .*; compile with dac_bits="),
        (
            PLAIN,
            {"encoding": "offset"},
            {**SERIAL, "reference": "column"},
            "has reference columns, .*; compile with reference none",
        ),
        (
            PLAIN,
            {},
            {**SERIAL, "polarity": "interleaved"},
            "array 'w' lie interleaved on one tile, .*; compile with polarity separate",
        ),
        (
            PLAIN,
            {"encoding": "differential"},
            {**SERIAL, "dac_slice_bits": 2},
            "array 'w' has inputs in slices of several bits, .*; compile with dac_slice_bits=1",
        ),
    ],
)
def test_what_the_format_cannot_say_is_refused_in_one_line(
    text: str, cells: dict[str, Any], surround: dict[str, Any], said: str, tmp_path: Path
) -> None:
    compiled = network(tmp_path, text, Target.of("rram4", periphery=Periphery(**surround), **cells))
    with pytest.raises((ModelError, OptionError), match=said) as found:
        export_network(compiled, "schedule", tmp_path / "out")
    assert "\n" not in str(found.value)
    assert not (tmp_path / "out").exists()


def test_what_a_replay_leaves_out_is_said(tmp_path: Path) -> None:
    periphery = Periphery(**SERIAL, wire_ohm={"row": 1.0, "col": 1.0}, adc="sar:noise=0.3")
    target = Target.of("pcm-joshi2020", weight_bits=4, cell_bits=2, periphery=periphery)
    compiled = network(tmp_path, PLAIN, target)
    said = " ".join(export_network(compiled, "schedule", tmp_path / "out", chip=0).assumptions)
    for what in ("wires", "reads of this chip", "conversions of this chip"):
        assert what in said


def test_the_manuals_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    section = (ROOT / "docs" / "export.md").read_text().partition("\n## schedule\n")[2]
    code = section.partition("```python\n")[2].partition("```")[0]
    target = Target.of("rram4", periphery=Periphery(**SERIAL))
    compile_model(resolve_model("zoo:lenet5-digits"), target, output=tmp_path / "lenet5.nvmc")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/export.md", "exec"), {})
    said = capfd.readouterr().out
    # 784 and 100 vectors, 2 phases of 8 bits, 2 slices; 6 columns on a tile, 16 on two.
    assert f"'conv1.weight': {784 * 16 * 2 * 6}, 'conv2.weight': {100 * 16 * 2 * 2 * 16}" in said
    assert "conv1.weight 0 +" in said


def test_the_command_writes_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    target = Target.of("rram4", periphery=Periphery(**SERIAL))
    compiled = network(tmp_path, PLAIN, target)
    words = ["export", str(compiled.folder), "--to", "schedule", "-o", str(tmp_path / "out")]
    assert main(words) == 0
    assert "Wrote a schedule of the ideal chip" in capfd.readouterr().out
    assert open_compiled(compiled.folder).network_sha256 == compiled.network_sha256
