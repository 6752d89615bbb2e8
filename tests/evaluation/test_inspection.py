"""What is seen of an array, and errors by source: against slow loops and closed forms."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import nvmc
from nvmc import Compiled, CompileOptions, Inspection, Target, compile_model, make_session
from nvmc.errors import OptionError, OutOfMemoryError
from nvmc.evaluation import inspection
from nvmc.evaluation.distribution import Gathered, Histogram
from nvmc.evaluation.inspection import rows_of
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Periphery, load_device, parse_noise
from nvmc.hardware.tiling import Place
from nvmc.models import resolve_model
from onnx_models import MAPPED
from onnx_text import proto_of

SEED, INDEX, IMAGES = 5, 3, 40
READ = parse_noise("read:basis=level,sigma=0.2")

ONE = """g (float[N,40] x) => (float[N,6] y) <float[40,6] w> { y = MatMul (x, w) }"""
TWO = """g (float[N,40] x) => (float[N,5] y) <float[40,12] w1, float[12] b1, float[12,5] w2> {
  h = MatMul (x, w1)
  p = Add (h, b1)
  a = Relu (p)
  y = MatMul (a, w2)
}"""

LSTM = """g (float[N,5,4] x) => (float[N,3] y) <float[1,12,4] w, float[1,12,3] r> {
  t = Transpose <perm = [1, 0, 2]> (x)
  s, h, c = LSTM <hidden_size = 3> (t, w, r)
  axes = Constant <value_ints = [0]> ()
  y = Squeeze (h, axes)
}"""


def target(rows: int = 16, encoding: Any = "sign-magnitude", **periphery: Any) -> Target:
    return Target.of(
        load_device("rram4"),
        weight_bits=4,
        encoding=encoding,
        rows=rows,
        periphery=Periphery.model_validate(periphery),
    )


def images(signed: bool = False, count: int = IMAGES) -> NDArray[np.float32]:
    x = np.random.default_rng(1).standard_normal((count, 40)).astype(np.float32)
    return x if signed else np.maximum(x, 0)


def compiled_network(text: str, cells: Target, folder: Path) -> Compiled:
    onnx.save(proto_of(text), folder / "m.onnx")
    return compile_model(folder / "m.onnx", cells, output=folder / "m.nvmc")


def looked_at(compiled: Compiled, x: NDArray[np.float32], **options: Any) -> Inspection:
    labels = np.zeros(len(x), np.int64)
    return nvmc.inspect(compiled, data=(x, labels), seed=SEED, chip=INDEX, **options)


def array_of(compiled: Compiled, name: str = "w") -> Array:
    proto = onnx.load(compiled.model_path)
    values = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    entry = next(entry for entry in compiled.manifest.arrays if entry.name == name)
    place = Place("CrossbarMatMul")
    return Array(name, values[entry.codes], values[entry.scale], compiled.manifest.target, place)


def rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(values, np.float64)))))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50), st.randoms())
def test_bins_do_not_depend_on_how_values_come(values: list[float], random: Any) -> None:
    whole = Gathered()
    whole.add(np.array(values))
    random.shuffle(values)
    pieces = Gathered()
    for value in values:
        pieces.add(np.array([value, np.nan]))
    found = whole.histogram
    assert found is not None and found == pieces.histogram
    edges = found.first + found.width * np.arange(len(found.counts) + 1)
    assert list(found.counts) == np.histogram(values, edges)[0].tolist()
    assert (found.low, found.high) == (min(values), max(values))
    assert (found.values, found.zeros) == (len(values), values.count(0.0))
    few = found.merged(5)
    assert sum(few.counts) == found.values and len(few.counts) <= 5
    assert few.first <= found.first and few.first % few.width == 0


def currents_by_loops(
    array: Array, x: NDArray[np.float32], rows: int, top: int, halves: bool
) -> tuple[list[list[float]], NDArray[np.float64]]:
    """Currents of every conversion, lane by lane, and the input that a code of 1 stands for."""
    found: list[list[float]] = []
    steps: list[float] = []
    for image in x:
        step = max(abs(float(value)) for value in image) / top
        steps.append(step)
        for first in range(0, array.codes.shape[0], rows):
            for col in range(array.codes.shape[1]):
                for digit in (0, 1):
                    sums = [0.0, 0.0]
                    for row in range(first, min(first + rows, array.codes.shape[0])):
                        code = int(array.codes[row, col])
                        level = (abs(code) >> (2 * digit)) & 3
                        sums[code < 0] += level * round(float(image[row]) / step)
                    found.append(sums if halves else [sums[0] - sums[1]])
    return found, np.array(steps)


@pytest.mark.parametrize("subtract", ["analog", "digital"])
def test_currents_and_codes_are_those_of_a_slow_loop(subtract: str, tmp_path: Path) -> None:
    """Four-bit weights in two-bit cells: tiles of 16, 16 and 8 rows, two slices."""
    cells = target(dac_bits=4, adc_bits=5, adc_range=120.0, subtract=subtract)
    compiled, x = compiled_network(ONE, cells, tmp_path), images()
    (seen,) = looked_at(compiled, x, sigma=0.0).arrays
    loops, _ = currents_by_loops(array_of(compiled), x, 16, 15, subtract == "digital")
    expected = np.array(loops).ravel()
    low, high = (-15, 15) if subtract == "analog" else (0, 31)
    exact = np.rint(expected * (high / 120.0))
    codes = np.clip(exact, low, high)
    assert seen.full_scale == pytest.approx(120.0)
    assert seen.currents.values == expected.size
    assert seen.currents.zeros == np.count_nonzero(expected == 0)
    ends = [seen.currents.low, seen.currents.high]
    np.testing.assert_allclose(ends, [expected.min() / 120, expected.max() / 120], rtol=1e-6)
    found = seen.codes
    assert found is not None
    assert (found.low, found.high, found.available) == (low, high, high - low + 1)
    assert (found.lowest, found.highest) == (codes.min(), codes.max())
    assert found.used == len(set(codes))
    assert found.below == np.mean(exact < low) and found.above == np.mean(exact > high)
    assert found.below + found.above > 0
    counts = {
        int(code): int(n) for code, n in zip(*np.unique(codes, return_counts=True), strict=True)
    }
    held = {found.spread.first + i: n for i, n in enumerate(found.spread.counts) if n}
    assert held == counts
    assert (seen.inputs.low, seen.inputs.high) == (x.min(), x.max())
    assert (seen.limit, seen.beyond) == (None, 0)


def test_each_error_is_that_of_a_slow_loop(tmp_path: Path) -> None:
    cells = target(dac_bits=4, adc_bits=5, adc_range=120.0)
    compiled, x = compiled_network(ONE, cells, tmp_path), images()
    found = looked_at(compiled, x, sigma=0.3)
    (layer,) = found.layers
    array = array_of(compiled)
    ideal = x.astype(np.float64) @ array.ideal.astype(np.float64)
    loops, steps = currents_by_loops(array, x, 16, 15, False)
    shape, scale = (IMAGES, 3, 6, 2), float(array.scale)
    currents = np.array(loops).reshape(shape)
    unit = scale * steps[:, None]

    def outputs(read: Any) -> Any:
        return unit * (read.sum(axis=1) @ np.array([1.0, 4.0]))

    behind_dac = outputs(currents)
    behind_both = outputs(np.clip(np.rint(currents / 8), -15, 15) * 8)
    chip = Chip.of(cells, SEED, INDEX, 0.3)
    moved = x.astype(np.float64) @ (chip.program(array).weights - array.ideal).astype(np.float64)
    expected = {
        "programming": rms(moved) / rms(ideal),
        "DAC": rms(behind_dac - ideal) / rms(ideal),
        "ADC": rms(behind_both - behind_dac) / rms(ideal),
    }
    assert list(layer.errors) == list(expected) == list(found.sources)
    for name, error in expected.items():
        assert layer.errors[name] == pytest.approx(error, rel=1e-4), name
    assert layer.output == pytest.approx(rms(ideal), rel=1e-6)
    squares = sum(error**2 for error in layer.errors.values())
    assert layer.remainder == pytest.approx(layer.together - math.sqrt(squares), abs=1e-12)


def test_no_range_has_less_error_than_that_of_least_error(tmp_path: Path) -> None:
    """Of squared errors of conversions by what they count for, over ranges 4 % apart; and of the
    layer's outputs, beside what was seen and half and twice the range."""
    onnx.save(proto_of(ONE), tmp_path / "m.onnx")
    x = images()

    def compiled(adc_range: Any) -> Compiled:
        cells = target(dac_bits=4, adc_bits=4, adc_range=adc_range)
        data = (x, np.zeros(IMAGES, np.int64))
        return compile_model(tmp_path / "m.onnx", cells, output=tmp_path / "m.nvmc", data=data)

    network = compiled("error")
    (found,) = network.manifest.target.periphery.ranges
    loops, steps = currents_by_loops(array_of(network), x, 16, 15, False)
    currents = np.array(loops).reshape(IMAGES, -1, 2)
    counts = steps[:, None, None] * np.array([1.0, 4.0])

    def error(reach: float) -> float:
        rounded = np.clip(np.rint(currents * (7 / reach)), -7, 7) * (reach / 7)
        return float(np.sum(np.square(counts * (rounded - currents))))

    assert found.current is not None
    # Bins and steps of the search are 1.1 % wide; near its minimum the error is flat.
    best = min(error(float(np.abs(currents).max()) * 0.96**i) for i in range(80))
    assert error(found.current) <= 1.02 * best

    def of_outputs(adc_range: Any) -> float:
        return looked_at(compiled(adc_range), x, sigma=0.0).layers[0].errors["ADC"]

    others = [of_outputs(text) for text in ("calibrated", "error:0.5", "error:2")]
    assert of_outputs("error") < min(others)


@pytest.mark.parametrize("encoding", ["sign-magnitude", "differential", "offset", "balanced"])
def test_together_and_arriving_are_what_the_chip_gives(encoding: str, tmp_path: Path) -> None:
    """The last layer's arriving error is that of the network's outputs."""
    cells = target(encoding=encoding, dac_bits=6, adc_bits=6, adc_range=90.0)
    compiled, x = compiled_network(TWO, cells, tmp_path), images(signed=True)
    first, last = looked_at(compiled, x, sigma=0.2).layers
    chip = make_session(compiled.model_path, chip=INDEX, seed=SEED, sigma=0.2)
    exact = cells.model_copy(update={"periphery": Periphery()})
    ideal = make_session(compiled_network(TWO, exact, tmp_path).model_path, chip="ideal")
    outputs = [session.run(None, {"x": x})[0] for session in (chip, ideal)]
    assert last.arriving == pytest.approx(rms(outputs[0] - outputs[1]) / rms(outputs[1]), rel=1e-4)
    assert first.arriving == first.together
    assert last.together < last.arriving


def test_read_noise_has_the_spread_of_its_law(tmp_path: Path) -> None:
    """Var = unit^2 sum over slices and cells of (4^i sigma x)^2: each weight has one formed cell
    a slice, and x are inputs without converters."""
    cells = target(rows=128)
    compiled, x = compiled_network(ONE, cells, tmp_path), images(signed=True, count=400)
    result = looked_at(compiled, x, sigma=0.0, noise=[READ], limit=400)
    (layer,) = result.layers
    array = array_of(compiled)
    variance = float(array.scale) ** 2 * (1 + 16) * 0.2**2 * np.sum(np.square(x), axis=1).mean()
    # 2,400 outputs: the variance's own standard error is sqrt(2/2400) = 2.9 %, half on the root.
    assert layer.errors == {"read": layer.errors["read"]}
    assert layer.errors["read"] * layer.output == pytest.approx(math.sqrt(variance), rel=0.06)
    assert layer.together == pytest.approx(layer.errors["read"], rel=1e-5)


def test_a_wire_and_uneven_levels_are_sources_of_their_own(tmp_path: Path) -> None:
    device = tmp_path / "uneven.toml"
    device.write_text(
        'name = "uneven"\ntitle = "t"\nsource = "s"\nlevels = 4\n'
        "conductance = { min_us = 1.0, max_us = 100.0, levels_us = [1.0, 30.0, 50.0, 100.0] }\n"
        '[[noise]]\ntype = "programming"\nbasis = "level"\nsigma = 0.1\n'
    )
    wires = {"row": 20.0, "col": 20.0}
    cells = Target.of(
        device, weight_bits=4, periphery=Periphery.model_validate({"wire_ohm": wires})
    )
    compiled, x = compiled_network(ONE, cells, tmp_path), images()
    (layer,) = looked_at(compiled, x).layers
    assert list(layer.errors) == ["uneven levels", "programming", "wires"]
    array = array_of(compiled)
    silent = Chip(SEED, INDEX).program(array).weights
    moved = x @ (silent - array.ideal)
    assert layer.errors["uneven levels"] == pytest.approx(
        rms(moved) / rms(x @ array.ideal), rel=1e-4
    )
    assert layer.errors["wires"] > 1e-3


def test_the_current_of_cells_is_a_source_of_its_own(tmp_path: Path) -> None:
    """Beside the error in closed form: codes of 15 steps up to 0.4 V, sinh(V/0.2)."""
    device = tmp_path / "bent.toml"
    device.write_text(
        'name = "bent"\ntitle = "t"\nsource = "s"\nlevels = 16\niv = { law = "sinh", v0 = 0.2 }\n'
    )
    around = Periphery(dac_bits=4, adc_bits=12, read_v=0.4)
    cells = Target.of(device, weight_bits=4, cell_bits=4, periphery=around)
    compiled, x = compiled_network(ONE, cells, tmp_path), images()
    (layer,) = looked_at(compiled, x).layers
    assert list(layer.errors) == ["DAC", "I-V", "ADC"]
    array = array_of(compiled)
    reach = np.abs(x).max(axis=1, keepdims=True)
    codes = np.rint(x / reach * 15)
    bent = 0.2 / 0.4 * 15 * np.sinh(codes * 0.4 / 15 / 0.2)
    moved = (bent - codes) * reach / 15 @ array.ideal
    assert layer.errors["I-V"] == pytest.approx(rms(moved) / rms(x @ array.ideal), rel=1e-3)


def device_with_off_current(folder: Path, sigma: float) -> Path:
    path = folder / f"off-{sigma:g}.toml"
    path.write_text(
        'name = "off"\ntitle = "t"\nsource = "s"\nlevels = 4\n'
        "conductance = { min_us = 10.0, max_us = 40.0 }\n"
        f'[[noise]]\ntype = "programming"\nbasis = "level"\nsigma = {sigma}\n'
    )
    return path


def test_the_cells_of_reference_columns_are_a_source_of_their_own(tmp_path: Path) -> None:
    noisy = device_with_off_current(tmp_path, 0.2)
    periphery = Periphery(reference="column")
    cells = Target.of(noisy, weight_bits=4, encoding="offset", periphery=periphery)
    compiled, x = compiled_network(ONE, cells, tmp_path), images()
    (layer,) = looked_at(compiled, x).layers
    assert list(layer.errors) == ["programming", "reference column"]
    # A row of the column errs by sigma sqrt(1 + 16 + 256) in all slices, as every weight does, and
    # one column is shared by six outputs: the same law, of a single draw of 40 cells.
    assert 0.3 < layer.errors["reference column"] / layer.errors["programming"] < 3
    silent = looked_at(compiled, x, device=device_with_off_current(tmp_path, 0.0)).layers[0]
    assert list(silent.errors) == ["reference column"]
    assert silent.errors["reference column"] < 1e-5


def test_an_ideal_chip_has_no_errors_and_no_codes(tmp_path: Path) -> None:
    compiled = compiled_network(TWO, target(), tmp_path)
    found = looked_at(compiled, images(), sigma=0.0)
    assert found.sources == ()
    for layer in found.layers:
        assert (layer.errors, layer.together, layer.remainder) == ({}, 0.0, 0.0)
        assert layer.arriving < 1e-6
    assert all(array.codes is None for array in found.arrays)
    first = found.arrays[0]
    # Inputs are scaled to 1, and the worst case of 16 rows of level 3 is 48.
    assert first.full_scale == 48.0 and -1 < first.currents.low < first.currents.high < 1


def test_inputs_beyond_the_range_are_counted(tmp_path: Path) -> None:
    onnx.save(proto_of(ONE), tmp_path / "m.onnx")
    x = images(signed=True)
    cells = target(dac_bits=4, dac_range="calibrated")
    compiled = compile_model(
        tmp_path / "m.onnx", cells, output=tmp_path / "m.nvmc", data=(x, np.zeros(IMAGES, int))
    )
    (seen,) = looked_at(compiled, 2 * x).arrays
    assert seen.limit == np.abs(x).max()
    assert seen.beyond == np.mean(np.abs(2 * x) > seen.limit) > 0


def plain(result: Inspection) -> dict[str, Any]:
    printed = result.to_json()
    return {key: value for key, value in printed.items() if key != "seconds"}


def test_neither_batches_nor_other_layers_change_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = target(dac_bits=4, adc_bits=5, adc_range=120.0)
    compiled, x = compiled_network(TWO, cells, tmp_path), images()
    told: list[int] = []
    whole = looked_at(compiled, x, noise=[READ], on_images=told.append)
    assert told == [16, 32, 40]
    monkeypatch.setattr(inspection, "BATCH", 7)
    parts = looked_at(compiled, x, noise=[READ])
    assert parts.arrays == whole.arrays
    for one, two in zip(parts.layers, whole.layers, strict=True):
        assert one.errors == pytest.approx(two.errors, rel=1e-12)
    alone = looked_at(compiled, x, noise=[READ], layer="w2")
    assert alone.arrays == parts.arrays[1:] and alone.layers == parts.layers[1:]
    named = looked_at(compiled, x, noise=[READ], layer=[parts.layers[1].name])
    assert plain(named) == plain(alone)


@pytest.mark.parametrize("text", [LSTM, *(MAPPED[name][1] for name in ("tied", "transposed"))])
def test_every_kind_of_layer_is_seen(text: str, tmp_path: Path) -> None:
    cells = target(rows=128, dac_bits=6, adc_bits=6)
    compiled = compiled_network(text, cells, tmp_path)
    found = nvmc.inspect(compiled, limit=3, noise=[READ], metric="agreement-r2")
    arrays = {entry.name for entry in compiled.manifest.arrays}
    assert {array.name for array in found.arrays} == arrays
    assert {name for layer in found.layers for name in layer.arrays} == arrays
    for layer in found.layers:
        assert list(layer.errors) == ["programming", "read", "DAC", "ADC"]
        assert all(0 < error < math.inf for error in layer.errors.values())
    json.dumps(found.to_json(), allow_nan=False)
    assert {row["array"] for row in rows_of(found)} == arrays


def test_masks_are_the_same_on_both_chips(tmp_path: Path) -> None:
    """Without noise or converters nothing differs, though neurons are dropped."""
    options = CompileOptions(passes=("insert-dropout:rate=0.3,active=true",), store=("bias",))
    compiled = compile_model(
        resolve_model("zoo:mlp3-digits"), target(), options, output=tmp_path / "m.nvmc"
    )
    found = nvmc.inspect(compiled, data="digits", limit=8, sigma=0.0)
    assert len(found.layers) == 6 and len(found.arrays) == 3
    assert max(layer.arriving for layer in found.layers) < 1e-5


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    compiled = compiled_network(TWO, target(adc_bits=4), tmp_path)
    with pytest.raises(OptionError, match=r"layer 'mat-mul_0' is unknown; .*mean 'MatMul_0'\?"):
        nvmc.inspect(compiled, layer="mat-mul_0")
    with pytest.raises(OptionError, match="looks at circuits"):
        nvmc.inspect(compiled, fidelity="cells")
    with pytest.raises(OptionError, match="chip is -1"):
        nvmc.inspect(compiled, chip=-1)
    with pytest.raises(OptionError, match="has no option 'layers'; did you mean 'layer'"):
        nvmc.inspect(compiled, layers="w1")  # pyright: ignore[reportCallIssue]
    with (
        nvmc.memory_limit("1K"),
        pytest.raises(OutOfMemoryError, match=r"circuits of 2 arrays at once \(fewer with layer="),
    ):
        nvmc.inspect(compiled)


def test_a_histogram_can_be_merged_to_one_bin_a_side() -> None:
    found = Histogram(-1.0, 3.0, 4, 0, -1.0, 1.0, (1, 0, 1, 1, 1))
    assert found.merged(2) == Histogram(-1.0, 3.0, 4, 0, -4.0, 4.0, (1, 3))
