"""Counts of a compiled network against slow loops over its tiles, rows, columns and pulses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from nvmc import Compiled, Hardware, Target, compile_model, estimate_cost, load_hardware
from nvmc.cost.network import cells_of_array, target_of, use_of
from nvmc.cost.result import Cost
from nvmc.errors import ModelError, OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Device, Periphery
from nvmc.hardware.tiling import Matrix, Place, matrices, tiles_of
from nvmc.passes.io.load_compiled import load_compiled
from nvmc.passes.program_chip import arrays_of

ENCODINGS = ["sign-magnitude", "differential", "offset", "balanced"]


def network(folder: Path) -> Path:
    """A convolution in two groups, a pooling, and a matrix product: 1x6x6 images in pairs."""
    rng = np.random.default_rng(7)
    weights = {
        "w": rng.normal(size=(4, 1, 3, 3)).astype(np.float32),
        "v": rng.normal(size=(4 * 2 * 2, 5)).astype(np.float32),
    }
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"], "conv", group=2),
        onnx.helper.make_node("Relu", ["c"], ["r"], "relu"),
        onnx.helper.make_node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        onnx.helper.make_node("Flatten", ["p"], ["f"], "flat"),
        onnx.helper.make_node("MatMul", ["f", "v"], ["y"], "fc"),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, ["N", 2, 6, 6])],
        [onnx.helper.make_tensor_value_info("y", 1, ["N", 5])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    path = folder / "net.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def made(folder: Path, encoding: str, device: str = "rram-wan2022", **periphery: Any) -> Compiled:
    settings = {"dac_bits": 4, "adc_bits": 6, **periphery}
    target = Target.of(
        device,
        weight_bits=4,
        cell_bits=2,
        encoding=encoding,  # type: ignore[arg-type]
        rows=8,
        cols=4,
        periphery=Periphery.model_validate(settings),
    )
    return compile_model(network(folder), target, output=folder / "net.nvmc")


def layer_of(cost: Cost, name: str) -> Any:
    return next(layer for layer in cost.layers if layer.name == name)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("subtract", ["analog", "digital"])
@pytest.mark.parametrize("mode", ["bit-serial", "multi-level"])
def test_events_by_a_loop_over_tiles(
    tmp_path: Path, encoding: str, subtract: str, mode: str
) -> None:
    compiled = made(tmp_path, encoding, subtract=subtract, dac_mode=mode)
    cost = estimate_cost(compiled, "isaac-32nm")
    pulses = 4 if mode == "bit-serial" else 1
    polarities = 1 if encoding == "offset" else 2
    slices = 3 if encoding == "offset" else 2  # 4 or 5 bits by 2
    read = polarities if subtract == "digital" else 1
    # Groups of 1 x 3 x 3 inputs and 2 outputs, 16 vectors each; 16 inputs and 5 outputs, one vector
    for name, matrix, vectors in (("conv", Matrix(2, 9, 2), 16), ("fc", Matrix(1, 16, 5), 1)):
        drives = conversions = tiles = widest = 0
        for tile in tiles_of(matrix, 1, 8, 4):
            groups = tile.groups[1] - tile.groups[0]
            rows, cols = tile.rows[1] - tile.rows[0], tile.cols[1] - tile.cols[0]
            tiles += 1
            drives += groups * rows * vectors * pulses
            conversions += groups * cols * vectors * pulses
            widest = max(widest, groups * cols)
        counts = layer_of(cost, name).counts
        assert counts.tiles == tiles * slices * polarities
        assert counts.readers == tiles * slices * read
        assert counts.drives == drives * slices * polarities
        assert counts.conversions == conversions * slices * read
        assert counts.columns == widest
        assert (counts.vectors, counts.pulses) == (vectors, pulses)
    manifest = compiled.manifest
    assert sum(layer_of(cost, n).tiles for n in ("conv", "fc")) == sum(
        entry.tiles for entry in manifest.arrays
    )


@pytest.mark.parametrize("accumulate", ["digital", "analog"])
@pytest.mark.parametrize("size", [2, 3])
def test_slices_of_inputs_and_charges_that_are_added_up(
    tmp_path: Path, size: int, accumulate: str
) -> None:
    """Four bits in slices of 2 and 2, or of 3 and 1; one conversion for each or for both."""
    stated = {"dac_mode": "bit-serial", "dac_slice_bits": size, "accumulate": accumulate}
    one = layer_of(estimate_cost(made(tmp_path, "differential"), "generic"), "conv").counts
    compiled = made(tmp_path, "differential", **stated)
    hardware = load_hardware("isaac-32nm")
    cost = estimate_cost(compiled, hardware)
    found = layer_of(cost, "conv").counts
    use = use_of(compiled.manifest.target)
    each, held = (2, 1) if accumulate == "digital" else (1, 2)
    assert (use.pulse_bits, use.held) == (size, held)
    assert found.pulses == 2 * one.pulses and found.drives == 2 * one.drives
    assert found.conversions == found.additions == each * one.conversions
    assert found.width == one.width + (size if accumulate == "digital" else 0)
    parts = [np.arange(16) % 2**size, np.arange(16) // 2**size]
    drives = [part / (2**size - 1) for part in parts]  # of all codes, each as often
    conductance = slow_conductances(compiled, "w", None).sum() * 16
    mean = sum(np.mean(drive) for drive in drives)
    squared = sum(np.mean(drive**2) for drive in drives)
    assert found.linear_s == pytest.approx(conductance * mean, rel=1e-5)
    assert found.squared_s == pytest.approx(conductance * squared, rel=1e-5)
    active = sum(np.mean(part > 0) for part in parts)
    assert found.active == pytest.approx(one.drives * active, rel=1e-6)
    parts_s = hardware.components.values()
    reading = sum(part.read_s(use) for part in parts_s)
    converting = sum(part.convert_s(found, use) for part in parts_s)
    vectors, factor = found.vectors, hardware.calibration.time
    stages = (2 * reading, each * converting)
    if any(part.overlaps() for part in parts_s):
        whole = vectors * max(stages) + min(stages) / each
        assert hardware.tiles_s(found, use) == pytest.approx(factor * whole)
    else:
        assert hardware.tiles_s(found, use) == pytest.approx(factor * vectors * sum(stages))
    assert ("adds up currents ahead of ADCs" in " ".join(cost.assumptions)) is (held > 1)


@pytest.mark.parametrize("rows_on", [None, 3, 8])
@pytest.mark.parametrize("split", ["filled", "even"])
def test_rows_that_are_read_in_turn(tmp_path: Path, split: str, rows_on: int | None) -> None:
    """Nine rows on tiles of eight: 8 and 1, or 5 and 4; each part of a tile has its conversion."""
    plain = estimate_cost(made(tmp_path, "differential"), "isaac-32nm")
    more = {"row_split": split, **({} if rows_on is None else {"rows_on": rows_on})}
    cost = estimate_cost(made(tmp_path, "differential", **more), "isaac-32nm")
    for name, heights, width, vectors in (
        ("conv", [8, 1] if split == "filled" else [5, 4], 2 * 2, 16),
        ("fc", [8, 8], 5, 1),
    ):
        counts, before = layer_of(cost, name).counts, layer_of(plain, name).counts
        parts = [-(-height // (rows_on or 8)) for height in heights]
        assert counts.conversions == sum(parts) * width * 2 * vectors  # two slices
        assert counts.pulses == max(parts)
        assert (counts.drives, counts.tiles) == (before.drives, before.tiles)
    if rows_on == 3:
        assert cost.latency.value > plain.latency.value
        assert cost.peak.tops.value < plain.peak.tops.value
    elif rows_on is None and split == "filled":
        assert cost.to_json() | {"network": ""} == plain.to_json() | {"network": ""}


def slow_conductances(compiled: Compiled, name: str, chip: Chip | None) -> NDArray[np.float64]:
    """Siemens of the cells that exist, shape (groups, rows), cell by cell."""
    array = next(one for one in arrays_of(load_compiled(compiled)) if one.name == name)
    levels = array.cells.targets if chip is None else chip.program(array).levels
    conductance = array.target.device.conductance
    low, high = (1.0, 40.0) if conductance is None else (conductance.min_us, conductance.max_us)
    assert array.place is not None
    shape = matrices(array.place, array.codes).shape
    total = np.zeros(shape[:2])
    top = array.target.highest_level
    for plane in levels:
        view = matrices(array.place, plane)
        for group, row, col in np.ndindex(shape):
            conducts = low + float(view[group, row, col]) * (high - low) / top
            total[group, row] += conducts * 1e-6
    return total


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("number", [None, 3])
def test_conductances_cell_by_cell(tmp_path: Path, encoding: str, number: int | None) -> None:
    compiled = made(tmp_path, encoding)
    target = compiled.manifest.target
    chip = None if number is None else Chip.of(target, 0, number)
    for array in arrays_of(load_compiled(compiled)):
        found = cells_of_array(array, (1.0, 40.0), chip)
        slow = slow_conductances(compiled, array.name, chip)
        np.testing.assert_allclose(found.rows, slow, rtol=1e-5)
        assert found.cells == array.codes.size * array.layout.planes


def test_a_finite_on_off_ratio_conducts_at_level_0(tmp_path: Path) -> None:
    compiled = made(tmp_path, "differential", "rram-milo2021")
    for array in arrays_of(load_compiled(compiled)):
        slow = slow_conductances(compiled, array.name, None)
        np.testing.assert_allclose(cells_of_array(array, (0.0, 1.0)).rows, slow, rtol=1e-5)
        conductance = array.target.device.conductance
        assert conductance is not None
        assert conductance.min_us > 0


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("mode", ["bit-serial", "multi-level", "slices", "bipolar"])
def test_energy_of_cells_on_images_by_ohms_law(tmp_path: Path, encoding: str, mode: str) -> None:
    """Vector by vector, pulse by pulse, row by row: V^2 d^2 t G of the matrix product."""
    stated: dict[str, Any] = {"dac_mode": mode}
    if mode == "slices":
        stated = {"dac_mode": "bit-serial", "dac_slice_bits": 3, "accumulate": "analog"}
    elif mode == "bipolar":
        stated = {"dac_mode": "multi-level", "signed_inputs": "bipolar"}
    compiled = made(tmp_path, encoding, **stated)
    rng = np.random.default_rng(3)
    images = rng.random((6, 2, 6, 6), dtype=np.float32)
    images[::2] -= 0.5  # three of six have negative inputs
    cost = estimate_cost(compiled, "isaac-32nm", data=(images, np.zeros(6, np.int64)))
    conductance = slow_conductances(compiled, "w", None)
    siemens = pulses = conversions = 0.0
    size = {"bit-serial": 1, "slices": 3}.get(mode, 4)
    for image in images:
        step = np.float32(np.abs(image).max()) / np.float32(15)
        codes = np.rint(image / step).astype(np.int64)
        phases = [np.maximum(codes, 0), np.maximum(-codes, 0)] if codes.min() < 0 else [codes]
        phases = [np.abs(codes)] if mode == "bipolar" else phases
        for phase in phases:
            conversions += 1 if mode == "slices" else 4 // size
            for bit in range(0, 4, size):
                drive = ((phase >> bit) % 2**size) / (2**size - 1)
                pulses += 1
                for group in range(2):
                    for y, x in np.ndindex(4, 4):
                        rows = drive[group, y : y + 3, x : x + 3].ravel()
                        siemens += float(np.sum(rows**2 * conductance[group]))
    hardware = load_hardware("isaac-32nm")
    volts, seconds = hardware.array.voltage.si, hardware.array.read.si
    found = layer_of(cost, "conv")
    assert found.components["array"] == pytest.approx(
        volts**2 * seconds * siemens / len(images), rel=1e-5
    )
    assert found.counts.pulses == pytest.approx(pulses / len(images))
    once = len(images) * found.counts.conversions / conversions
    lanes = {"offset": 3}.get(encoding, 2)  # 4 or 5 bits by 2; 2 groups of 9 rows on tiles of 8
    assert once == pytest.approx(16 * 2 * 2 * 2 * lanes)
    assert "rows driven by 6 samples of your data" in cost.drives


def test_assumed_drives_are_the_means_of_uniform_codes(tmp_path: Path) -> None:
    compiled = made(tmp_path, "differential", dac_mode="multi-level")
    cost = estimate_cost(compiled, "isaac-32nm")
    codes = np.arange(16) / 15
    conductance = slow_conductances(compiled, "w", None)
    counts = layer_of(cost, "conv").counts
    assert counts.squared_s == pytest.approx(16 * np.mean(codes**2) * conductance.sum(), rel=1e-5)
    assert counts.linear_s == pytest.approx(16 * np.mean(codes) * conductance.sum(), rel=1e-5)
    assert counts.active == pytest.approx(counts.drives * 15 / 16)


def test_bits_that_are_moved(tmp_path: Path) -> None:
    counts = layer_of(estimate_cost(made(tmp_path, "differential"), "generic"), "conv").counts
    # 2 groups x 16 vectors x 9 inputs of 4 bits are read; 4 x 4 x 4 outputs of 4 bits are written;
    # 2 x 6 x 6 inputs come once, and the sums of the second row of tiles (9 rows on tiles of 8)
    assert counts.read_bits == 2 * 16 * 9 * 4
    assert counts.written_bits == 64 * 4
    width = 6 + 2 + 1  # ADC, two slices of 2 bits, two rows of tiles
    assert counts.width == width
    assert counts.moved_bits == 72 * 4 + 64 * width
    assert counts.multiply_adds == 64


def test_digital_nodes_by_hand(tmp_path: Path) -> None:
    counts = estimate_cost(made(tmp_path, "differential"), "generic").layers[-1].counts
    # Relu: 4 x 4 x 4 values; MaxPool: 4 x 2 x 2 outputs of 2 x 2 inputs; Flatten: nothing
    assert counts.operations == 64 + 16 * 4
    assert counts.multiply_adds == 0


def test_a_reference_column_is_one_more_for_each_group_on_a_tile(tmp_path: Path) -> None:
    """5 columns on tiles of 4 are two tiles; rows of 16 on tiles of 8, too."""
    found = {
        reference: layer_of(
            estimate_cost(
                made(tmp_path, "offset", "rram-milo2021", reference=reference), "generic"
            ),
            "fc",
        ).counts
        for reference in ("none", "column")
    }
    slices, tiles = 3, 2 * 2
    added = found["column"].conversions - found["none"].conversions
    assert added == tiles * slices
    assert found["column"].columns == found["none"].columns + 1
    low, drive = 50e-6, 0.5  # siemens of level 0; mean of uniform codes
    more = found["column"].linear_s - found["none"].linear_s
    assert more == pytest.approx(16 * 2 * slices * low * drive)
    assert found["column"].drives == found["none"].drives


def test_a_recurrent_layer_reads_both_of_its_arrays(tmp_path: Path) -> None:
    """Two directions, 5 steps, 3 inputs, 4 numbers of state: 16 gates in each direction."""
    rng = np.random.default_rng(1)
    weights = {"W": rng.normal(size=(2, 16, 3)), "R": rng.normal(size=(2, 16, 4))}
    node = onnx.helper.make_node(
        "LSTM", ["x", "W", "R"], ["y"], "lstm", hidden_size=4, direction="bidirectional"
    )
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, [5, "N", 3])],
        [onnx.helper.make_tensor_value_info("y", 1, [5, 2, "N", 4])],
        [onnx.numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    path = tmp_path / "rnn.onnx"
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    periphery = Periphery(dac_bits=4, adc_bits=6)
    target = Target.of(
        "rram-wan2022", weight_bits=2, cell_bits=2, rows=8, cols=32, periphery=periphery
    )
    compiled = compile_model(path, target, output=tmp_path / "rnn.nvmc")
    counts = layer_of(estimate_cost(compiled, "generic"), "lstm").counts
    assert counts.vectors == 5
    assert counts.conversions == 2 * (2 * 5 * 16)  # arrays x directions x steps x gates
    assert counts.read_bits == 2 * 5 * (3 + 4) * 4
    assert counts.written_bits == 2 * 5 * 4 * 4
    assert counts.operations == counts.multiply_adds == 2 * 5 * 16


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dac_bits": None}, "no DAC, so .* dac_bits="),
        ({"adc_bits": None}, "no ADC, so .* adc_bits="),
        ({"dac_bits": None, "adc_bits": None}, "no DAC and no ADC, so .* dac_bits=.* adc_bits="),
    ],
)
def test_without_converters_there_is_nothing_to_count(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    compiled = made(tmp_path, "differential", **settings)
    with pytest.raises(OptionError, match=said):
        estimate_cost(compiled, "generic")


def test_layers_whose_vectors_nobody_knows_are_refused(tmp_path: Path) -> None:
    compiled = made(tmp_path, "differential")
    layers = [layer.model_copy(update={"products": None}) for layer in compiled.manifest.layers]
    manifest = compiled.manifest.model_copy(update={"layers": layers})
    with pytest.raises(ModelError, match="number of vectors per inference of layer"):
        estimate_cost(Compiled(compiled.folder, manifest), "generic")


def test_one_place_says_what_target_an_array_has(tmp_path: Path) -> None:
    compiled = made(tmp_path, "differential")
    assert target_of(compiled.manifest, "w") == compiled.manifest.target
    use = use_of(compiled.manifest.target)
    assert (use.rows, use.cols, use.pulse_bits, use.dac_bits, use.adc_bits) == (8, 4, 4, 4, 6)


def test_layers_are_called_by_their_arrays_and_by_nodes_where_these_are_shared(
    tmp_path: Path,
) -> None:
    compiled = made(tmp_path, "differential")
    cost = estimate_cost(compiled, "generic")
    assert cost.labels == (*(one.name for one in compiled.manifest.arrays), "digital nodes")
    first = cost.layers[0]
    twice = replace(cost, layers=(first, replace(first, name="again"), *cost.layers[1:]))
    array = first.arrays[0]
    assert twice.labels[:2] == (f"{array} ({first.name})", f"{array} (again)")
    assert [one["label"] for one in twice.to_json()["layers"]] == list(twice.labels)


def test_layers_that_share_an_array_take_turns_at_its_tiles(tmp_path: Path) -> None:
    """The same product three times: its tiles are busy with each in turn, as with one image."""
    w = onnx.numpy_helper.from_array(np.eye(8, dtype=np.float32), "w")
    wires = ["x", "a", "b", "y"]
    nodes = [
        onnx.helper.make_node("MatMul", [wires[i], "w"], [wires[i + 1]], f"fc{i}") for i in range(3)
    ]
    ends = [onnx.helper.make_tensor_value_info(name, 1, ["N", 8]) for name in ("x", "y")]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], [w])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset), tmp_path / "s.onnx")
    target = Target.of("rram4", periphery=Periphery(dac_bits=4, adc_bits=6))
    compiled = compile_model(tmp_path / "s.onnx", target, output=tmp_path / "s.nvmc")
    cost = estimate_cost(compiled, "isaac-32nm")
    layers = [layer.time.value for layer in cost.layers if layer.arrays]
    assert len(layers) == 3 and cost.interval.value == sum(layers) > max(layers)


def test_hardware_can_be_an_object(tmp_path: Path) -> None:
    compiled = made(tmp_path, "differential")
    hardware: Hardware = load_hardware("generic")
    assert estimate_cost(compiled, hardware) == estimate_cost(compiled, "generic")


def test_adcs_that_are_not_those_that_are_counted_are_said(tmp_path: Path) -> None:
    hardware = load_hardware("isaac-32nm")
    shared = hardware.adc.shared
    for i in range(3):
        (tmp_path / str(i)).mkdir()
    told = [
        " ".join(estimate_cost(made(tmp_path / str(i), "offset", **adcs), hardware).assumptions)
        for i, adcs in enumerate(
            (
                {},
                {"adc": "sar:noise=0.1", "adc_share": shared},
                {"adc": "flash:comparator=0.1", "adc_share": 3},
            )
        )
    ]
    assert "compiled for" not in told[0] + told[1]
    assert "compiled for flash ADCs; those of isaac-32nm are of kind sar" in told[2]
    assert f"ADCs that 3 columns share; in isaac-32nm {shared} do" in told[2]


def test_cells_on_target_conduct_what_the_device_lists() -> None:
    """Levels that are not evenly spaced: a cell for level 1 of these conducts 5 uS, not 7.67."""
    listed = (1.0, 5.0, 7.0, 21.0)
    stated = {"min_us": 1.0, "max_us": 21.0, "levels_us": listed}
    text = {"name": "d", "title": "t", "source": "s", "levels": 4, "conductance": stated}
    target = Target.of(Device.model_validate(text), weight_bits=2, cell_bits=2)
    codes = np.array([[1], [2], [-3]], np.int8)
    array = Array("w", codes, np.ones((), np.float32), target, Place("CrossbarMatMul"))
    found = cells_of_array(array, (0.0, 1.0)).rows
    np.testing.assert_allclose(found, [[5e-6, 7e-6, 21e-6]], rtol=1e-6)
