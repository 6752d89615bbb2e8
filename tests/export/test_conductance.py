"""`--to conductance`: what the simulator computes follows from the exported matrices alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from export.manual import examples
from export.tile_files import TileFiles, matrix_of, table_of
from nodal import Resistances, currents
from nvmc import Compiled, CompileOptions, Target, compile_model, export_network, load_device
from nvmc.cli import main
from nvmc.errors import OptionError
from nvmc.evaluation.parameters import Setup
from nvmc.hardware.devices import LayerTarget
from nvmc.hardware.devices.periphery import Periphery
from nvmc.hardware.tiling import matrices
from nvmc.models import resolve_model
from nvmc.passes.graph.describe import set_target
from nvmc.passes.graph.tile_graph import read_tile_graph
from nvmc.passes.io.load_compiled import load_compiled
from nvmc.passes.program_chip import arrays_of
from nvmc.runtime.crossbar.operand import CircuitOperand
from onnx_text import proto_of

DEVICE = """
name = "tested"
title = "A device of the tests"
source = "none"
levels = {levels}
clip = "zero"
time_s = 3600.0
conductance = {conductance}

[[noise]]
type = "programming"
sigma = 0.15
basis = "level"

[[noise]]
type = "retention"
t0_s = 20.0
nu_mean = 0.05
nu_std = 0.02

[[noise]]
type = "stuck-at"
p_low = 0.1
p_high = 0.1
"""
EVEN = "{ min_us = 2.0, max_us = 40.0 }"
MATRIX = "g (float[N,13] x) => (float[N,5] y) <float[13,5] w> { y = MatMul (x, w) }"
GROUPED = """g (float[N,6,5,5] x) => (float[N,4,3,3] y) <float[4,3,3,3] w>
    { y = Conv <group = 2> (x, w) }"""
PACKED = """g (float[N,4,4,4] x) => (float[N,4,3,3] y) <float[4,1,2,2] w>
    { y = Conv <group = 4> (x, w) }"""
ENCODINGS: list[dict[str, Any]] = [
    {"encoding": "sign-magnitude", "weight_bits": 4, "cell_bits": 2},
    {"encoding": "differential", "weight_bits": 5, "cell_bits": 2},
    {"encoding": "balanced", "weight_bits": 5, "cell_bits": 2},
    {"encoding": "offset", "weight_bits": 4, "cell_bits": 2},
    {"encoding": "offset", "weight_bits": 3, "cell_bits": 4},  # one cell a weight
    {"encoding": "sign-magnitude", "weight_bits": 1, "cell_bits": 1},
    {"encoding": "differential", "weight_bits": 4, "cell_bits": 4, "per_channel": True},
]
ANALOG: list[dict[str, Any]] = [
    {"encoding": encoding, "weight_bits": "none"}
    for encoding in ("sign-magnitude", "differential", "balanced", "offset")
]


def device_file(folder: Path, levels: int = 16, conductance: str = EVEN) -> Path:
    path = folder / "tested.toml"
    path.write_text(DEVICE.format(levels=levels, conductance=conductance))
    return path


def compiled_of(
    folder: Path, text: str = MATRIX, device: Any = None, options: Any = None, **settings: Any
) -> Compiled:
    onnx.save(proto_of(text), folder / "net.onnx")
    chosen = load_device(device or device_file(folder))
    target = Target.of(chosen, **{"rows": 6, "cols": 4, **settings})
    return compile_model(folder / "net.onnx", target, options, output=folder / "net.nvmc")


def arrays_in(compiled: Compiled, setup: Setup) -> dict[str, Any]:
    model = load_compiled(compiled)
    set_target(model, setup.target)
    return {array.name: array for array in arrays_of(model)}


def operand_of(compiled: Compiled, chip: int | None, name: str = "w") -> Any:
    """The simulator's own circuit of an array, on float64; and how its layer uses it."""
    setup = Setup.of(compiled.manifest.target)
    made, array = setup.chip(0, chip or 0), arrays_in(compiled, setup)[name]
    return CircuitOperand(array, made.program(array), made), array.place


def simulated(compiled: Compiled, chip: int | None, x: Any) -> Any:
    operand, place = operand_of(compiled, chip)
    return operand.mvm(place, entries=1, dtype=np.float64)(x[None])[0]


def exported(compiled: Compiled, folder: Path, chip: int | None, name: str = "w") -> TileFiles:
    export_network(compiled, "conductance", folder / "out", chip=chip)
    return TileFiles(folder / "out", f"{name}.npz")


def inputs(files: TileFiles, vectors: int = 2) -> Any:
    groups, rows, _ = files["shape"]
    return np.random.default_rng(3).normal(size=(groups, vectors, rows))


# How rows are split depends on their number alone, not on the cells: "packed" has one tile of rows.
@pytest.mark.parametrize(
    ("network", "split"),
    [(MATRIX, "filled"), (GROUPED, "even"), (PACKED, "filled")],
    ids=["matrix", "grouped", "packed"],
)
@pytest.mark.parametrize(
    "settings", [*ENCODINGS, *ANALOG], ids=lambda each: "-".join(map(str, each.values()))
)
def test_outputs_follow_from_the_exported_matrices(
    settings: dict[str, Any], network: str, split: Any, tmp_path: Path
) -> None:
    periphery = Periphery(row_split=split, wire_ohm=None, subtract="digital", dac_bits=None)
    compiled = compiled_of(tmp_path, network, periphery=periphery, **settings)
    files = exported(compiled, tmp_path, 17)
    x = inputs(files)
    # Levels are float32 on both sides, and the same: only float64 sums are ordered differently.
    np.testing.assert_allclose(files.product(x), simulated(compiled, 17, x), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "settings", [*ENCODINGS, *ANALOG], ids=lambda each: "-".join(map(str, each.values()))
)
@pytest.mark.parametrize("network", [MATRIX, PACKED], ids=["matrix", "packed"])
def test_levels_come_back_to_the_bit(
    settings: dict[str, Any], network: str, tmp_path: Path
) -> None:
    compiled = compiled_of(tmp_path, network, **settings)
    setup = Setup.of(compiled.manifest.target)
    array = arrays_in(compiled, setup)["w"]
    wanted = setup.chip(0, 5).program(array)
    files, layout = exported(compiled, tmp_path, 5), array.layout
    found = np.zeros((layout.planes, *files["shape"]), np.float32)
    for tile in range(files.count):
        for g, r, c, word, bit in files.places(tile):
            if files[f"formed/{tile}"][word, bit]:
                plane = files["slice"][tile]
                if layout.paired:
                    plane = 2 * plane + (files["polarity"][tile] < 0)
                found[plane, g, r, c] = files.level(tile, word, bit)

    for plane, levels in zip(found, wanted.levels, strict=True):
        np.testing.assert_array_equal(plane, matrices(array.place, levels))


def test_a_chip_behind_wires_is_its_exported_matrices_in_the_nodal_equations(
    tmp_path: Path,
) -> None:
    ohm = {"row": 3.0, "col": 5.0, "driver": 200.0, "sense": 70.0}
    periphery = Periphery(wire_ohm=ohm)  # pyright: ignore
    settings = {"encoding": "differential", "weight_bits": 4, "cell_bits": 2}
    compiled = compiled_of(tmp_path, PACKED, periphery=periphery, **settings)
    files = exported(compiled, tmp_path, 2)
    x = inputs(files, vectors=1)
    y = np.zeros((4, 1, 1))
    for tile in range(files.count):
        g_us = files[f"conductance_us/{tile}"]
        volts = np.zeros(len(g_us))
        for g, r, _, word, _ in files.places(tile):
            volts[word] = x[g, 0, r]
        found = currents(g_us, volts, Resistances(**ohm))
        for g, _, c, bit in {(g, 0, c, bit) for g, _, c, _, bit in files.places(tile)}:
            counts = files["coefficient"][tile] * files.unit(g, 0, c) / files["step_us"]
            y[g, 0, c] += counts * found[bit]
    # Cells are float32 before the wires, off by 2^-24 of at most 40 µS; 16 cells of 4 code steps.
    np.testing.assert_allclose(y, simulated(compiled, 2, x), rtol=0, atol=1e-4)


@pytest.mark.parametrize("encoding", ["offset", "differential"])
def test_reference_columns_are_those_that_are_converted(encoding: Any, tmp_path: Path) -> None:
    periphery = Periphery(reference="column", subtract="digital")
    settings = {"encoding": encoding, "weight_bits": 4, "cell_bits": 2}
    compiled = compiled_of(tmp_path, PACKED, periphery=periphery, **settings)
    files = exported(compiled, tmp_path, 4)
    x = inputs(files)
    y = files.product(x)
    for tile in range(files.count):
        beside = files[f"reference_us/{tile}"]
        (first, last), (top, bottom), (left, right) = (
            files[key][tile] for key in ("groups", "rows", "cols")
        )
        height = bottom - top
        assert beside.shape == (height * (last - first), last - first)
        for group in range(first, last):
            own = slice((group - first) * height, (group - first + 1) * height)
            assert not np.delete(beside[:, group - first], np.r_[own]).any()
            levels = (beside[own, group - first] - files["min_us"]) / files["step_us"]
            for c in range(left, right):
                counts = files["coefficient"][tile] * files.unit(group, 0, c)
                y[group, :, c] -= counts * (x[group][:, top:bottom] @ levels)
    # The circuit adds the off-current to reference cells in float32: 2^-24 of at most 17 level
    # steps, for 4 rows with inputs below 3 in slices that count for up to 16.
    np.testing.assert_allclose(y, simulated(compiled, 4, x), rtol=0, atol=2e-5)
    assert matrix_of(tmp_path / "out" / "w-0.reference.csv").shape == beside.shape


@pytest.mark.parametrize("settings", ENCODINGS, ids=lambda each: "-".join(map(str, each.values())))
def test_targets_are_on_the_devices_levels(settings: dict[str, Any], tmp_path: Path) -> None:
    """Without a chip: sums of levels are the compiled codes, conductances evenly spaced."""
    compiled = compiled_of(tmp_path, **settings)
    files = exported(compiled, tmp_path, None)
    array = arrays_in(compiled, Setup.of(compiled.manifest.target))["w"]
    codes = array.codes * array.scale.astype(np.float64)
    np.testing.assert_allclose(files.weights()[0], codes, rtol=0, atol=1e-6)
    steps = {
        round((g - 2.0) / (38.0 / 15), 9)
        for tile in range(files.count)
        for g in files[f"conductance_us/{tile}"][files[f"formed/{tile}"]]
    }
    assert all(step == int(step) for step in steps)
    assert max(steps) <= 2 ** settings["cell_bits"] - 1


def test_targets_of_uneven_levels_are_those_that_the_device_lists(tmp_path: Path) -> None:
    listed = [1.0, 5.0, 7.0, 21.0]
    path = device_file(tmp_path, 4, f"{{ min_us = 1.0, max_us = 21.0, levels_us = {listed} }}")
    compiled = compiled_of(tmp_path, device=path, weight_bits=4, cell_bits=2)
    found = export_network(compiled, "conductance", tmp_path / "out")
    assert any("targets are the conductances that the device lists" in a for a in found.assumptions)
    files = TileFiles(tmp_path / "out", "w.npz")
    for tile in range(files.count):
        g_us = files[f"conductance_us/{tile}"][files[f"formed/{tile}"]]
        np.testing.assert_allclose(np.abs(g_us[:, None] - listed).min(axis=1), 0, atol=1e-5)


def test_tiles_are_those_of_tiles_json(tmp_path: Path) -> None:
    periphery = Periphery(row_split="even")
    compiled = compiled_of(tmp_path, GROUPED, weight_bits=4, cell_bits=2, periphery=periphery)
    files = exported(compiled, tmp_path, 1)
    graph = read_tile_graph(compiled.read_tiles())
    nodes = [graph.nodes[f"tile:w:{tile}"] for tile in range(files.count)]
    assert f"tile:w:{files.count}" not in graph.nodes
    for tile, node in enumerate(nodes):
        assert node["plane"] == files["plane"][tile]
        for key in ("groups", "rows", "cols"):
            assert node[key] == files[key][tile].tolist()
    table = table_of(tmp_path / "out")
    assert [row["file"] for row in table] == [f"w-{tile}.csv" for tile in range(files.count)]
    for tile, row in enumerate(table):
        assert (row["array"], int(row["tile"])) == ("w", tile)
        sign = {"positive": 1, "negative": -1}[row["polarity"]]
        assert sign == files["polarity"][tile] == np.sign(float(row["coefficient"]))
        assert int(row["plane"]) == 2 * int(row["slice"]) + (sign < 0)
        for key in ("group", "row", "col"):
            span = [int(row[f"{key}_begin"]), int(row[f"{key}_end"])]
            assert span == files[f"{key}s"][tile].tolist()
        g_us = matrix_of(tmp_path / "out" / row["file"])
        np.testing.assert_array_equal(g_us, files[f"conductance_us/{tile}"])
        assert g_us.shape == (int(row["word_lines"]), int(row["bit_lines"]))


@pytest.mark.parametrize("encoding", ["sign-magnitude", "differential", "offset"])
def test_stored_parameters_are_tiles_too(encoding: Any, tmp_path: Path) -> None:
    text = """g (float[N,4] x) => (float[N,3] y) <float[3,4] w, float[3] b>
        { y = Gemm <transB = 1> (x, w, b) }"""
    options = CompileOptions(store=("bias",))
    compiled = compiled_of(
        tmp_path, text, options=options, weight_bits=4, cell_bits=2, encoding=encoding
    )
    files = exported(compiled, tmp_path, 6, "b")
    setup = Setup.of(compiled.manifest.target)
    array = arrays_in(compiled, setup)["b"]
    assert files.count == next(e.tiles for e in compiled.manifest.arrays if e.name == "b")
    wanted = setup.chip(0, 6).program(array).weights
    np.testing.assert_allclose(files.weights().ravel(), wanted, rtol=1e-6, atol=1e-6)


def test_python_has_the_tiles_of_the_files(tmp_path: Path) -> None:
    compiled = compiled_of(tmp_path, weight_bits=4, cell_bits=2)
    files = exported(compiled, tmp_path, 17)
    chip = compiled.chip(17)
    assert chip.arrays == ("w",)
    assert [tile.number for tile in chip.tiles("w")] == list(range(files.count))
    for number, tile in enumerate(chip.tiles("w")):
        g_us = compiled.chip(17).tile("w", number).conductance_us
        np.testing.assert_array_equal(g_us, files[f"conductance_us/{number}"])
        assert (g_us.dtype, tile.array, tile.reference_us) == (np.float64, "w", None)
        with pytest.raises(ValueError, match="read-only"):
            g_us[0, 0] = 0
    layer = compiled.manifest.layers[0].name
    assert chip.named(layer) == "w"
    np.testing.assert_allclose(chip.array("w").weights(), files.weights(), rtol=0, atol=1e-12)
    # A chip with more noise, and at another time, is that of the simulator with these.
    aged = compiled.chip(17, time_s=1e6, noise=["multiplicative:sigma=0.1"])
    setup = Setup.of(compiled.manifest.target, None, ["multiplicative:sigma=0.1"], None, 1e6)
    wanted = setup.chip(0, 17).program(arrays_in(compiled, setup)["w"]).weights
    np.testing.assert_allclose(aged.array("w").weights()[0], wanted, rtol=0, atol=1e-6)


def test_names_stand_for_one_array(tmp_path: Path) -> None:
    text = """g (float[N,4] x) => (float[N,4] y) <float[4,4] "fc1.weight", float[4,4] "fc2.weight">
        { a = MatMul (x, "fc1.weight") y = MatMul (a, "fc2.weight") }""".replace('"', "")
    proto = proto_of(text.replace("fc1.weight", "one").replace("fc2.weight", "two"))
    for tensor in proto.graph.initializer:
        tensor.name = {"one": "fc1.weight", "two": "fc2.weight"}[tensor.name]
    for node, name in zip(proto.graph.node, ("fc1.weight", "fc2.weight"), strict=True):
        node.input[1] = name
    onnx.save(proto, tmp_path / "net.onnx")
    target = Target.of(load_device(device_file(tmp_path)), weight_bits=4)
    compiled = compile_model(tmp_path / "net.onnx", target, output=tmp_path / "net.nvmc")
    chip = compiled.chip(17)
    assert chip.named("fc1") == "fc1.weight"
    assert chip.tile("fc1", 0).conductance_us.shape == (4, 4)
    with pytest.raises(OptionError, match="array or layer 'fc3' is unknown; expected one of fc1.w"):
        chip.tile("fc3", 0)
    with pytest.raises(OptionError, match=re.escape("has no tile 9; expected 0 to 1")):
        chip.tile("fc1", 9)
    with pytest.raises(OptionError, match="chip has no option 'sede'"):
        compiled.chip(1, sede=2)  # pyright: ignore
    export_network(compiled, "conductance", tmp_path / "out", array=["fc2"])
    assert {row["array"] for row in table_of(tmp_path / "out")} == {"fc2.weight"}


def test_a_device_without_conductances_needs_a_range(tmp_path: Path) -> None:
    compiled = compiled_of(tmp_path, device="rram4", weight_bits=4, cell_bits=2)
    with pytest.raises(OptionError, match="'rram4' does not state the conductances of its levels"):
        compiled.chip(1).tile("w", 0)
    low, high = compiled.chip(1), compiled.chip(1, range_us=(5.0, 35.0))
    files = exported_with_range(compiled, tmp_path)
    np.testing.assert_array_equal(high.tile("w", 0).conductance_us, files["conductance_us/0"])
    assert (files["min_us"], files["step_us"]) == (5.0, 10.0)
    wanted = Setup.of(compiled.manifest.target).chip(0, 1)
    array = arrays_in(compiled, Setup.of(compiled.manifest.target))["w"]
    np.testing.assert_allclose(files.weights()[0], wanted.weights(array), rtol=0, atol=1e-6)
    assert low.arrays == high.arrays


def test_a_range_is_for_devices_that_state_none(tmp_path: Path) -> None:
    """Of a network on two devices, one of which has conductances of its own."""
    onnx.save(
        proto_of(
            "g (float[N,4] x) => (float[N,3] y) <float[4,4] a, float[4,3] b>"
            " { h = MatMul (x, a) y = MatMul (h, b) }"
        ),
        tmp_path / "net.onnx",
    )
    layers = (LayerTarget(glob="b", device=load_device("fefet1")),)
    target = Target.of(load_device("rram4"), weight_bits=4, layers=layers)
    compiled = compile_model(tmp_path / "net.onnx", target, output=tmp_path / "net.nvmc")
    chip = compiled.chip(1, range_us=(5.0, 35.0))
    assert (chip.array("a").min_us, chip.array("a").step_us) == (5.0, 10.0)
    assert chip.array("b").min_us == 5e-5


def exported_with_range(compiled: Compiled, folder: Path) -> TileFiles:
    found = export_network(compiled, "conductance", folder / "out", chip=1, range_us=(5.0, 35.0))
    assert found.assumptions[0].startswith("level 0 is taken for 5 µS and the highest for 35 µS")
    assert "cells conduct less than nothing" not in " ".join(found.assumptions)
    return TileFiles(folder / "out", "w.npz")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "--range-us 1,20",
            "device 'tested' states the conductances of its levels; leave --range-us out",
        ),
        ("--range-us 1", "--range-us is '1'; expected LOW,HIGH in µS, such as 0.1,20"),
        ("--array v", "array or layer 'v' is unknown; expected one of w"),
        ("--opset 13", "--opset is not for --to conductance; only onnx takes it"),
        ("--noise stuck-at:p_low=0.1", "--noise is given without --chip"),
        ("--temperature 85C", "--temperature is given without --chip"),
    ],
)
def test_bad_input_is_one_line(
    words: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    compiled = compiled_of(tmp_path, weight_bits=4, cell_bits=2)
    out = tmp_path / "out"
    command = ["export", str(compiled.folder), "--to", "conductance", "-o", str(out)]
    assert main([*command, *words.split()]) == 1
    line = capfd.readouterr().err
    assert said in line
    assert line.count("\n") == 1
    assert not out.exists()


def test_the_command_takes_noise_and_says_what_it_wrote(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    compiled = compiled_of(tmp_path, weight_bits=4, cell_bits=2)
    out = tmp_path / "out"
    command = ["export", str(compiled.folder), "--to", "conductance", "-o", str(out)]
    assert main([*command, "--chip", "17", "--noise", "read:sigma=0.1"]) == 0
    said = capfd.readouterr()
    assert "the conductances of 24 tiles, chip 17 of seed 0," in " ".join(said.out.split())
    assert "Every read of this chip is noisy" in said.err
    told = json.loads((out / "export.json").read_text())["arrays"]["w"]
    assert (told["tiles"], told["tile"], told["file"]) == (24, [6, 4], "w.npz")


def test_the_examples_of_the_manual_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    device = load_device("rram-wan2022")
    target = Target.of(device, weight_bits=4, cell_bits=2, encoding="differential")
    source = resolve_model("zoo:lenet5-digits")
    compiled = compile_model(source, target, output=tmp_path / "lenet5.nvmc")
    export_network(compiled, "conductance", tmp_path / "tiles", chip=17)
    monkeypatch.chdir(tmp_path)
    from_python, from_files = examples("conductance")
    exec(from_python, {})
    assert capsys.readouterr().out.startswith("(128, 120) positive 0 (0, 128) (0, 120)\n0 0 ")
    space: dict[str, Any] = {}
    exec(from_files, space)
    array = arrays_in(compiled, Setup.of(target))["fc1.weight"]
    weights = Setup.of(target).chip(0, 17).program(array).weights
    # 400 products of float32 weights below 2.
    np.testing.assert_allclose(space["y"], weights @ space["x"], rtol=0, atol=400 * 2 * 2**-24)
