"""Layers with anything of their own: each is what a target of that alone makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import reference
from nvmc import Chip, Compiled, Target, compile_model, load_device, make_session, program_chip
from nvmc.compiled.options import CompileOptions
from nvmc.errors import OptionError
from nvmc.evaluation.parameters import PARAMETERS, Setup
from nvmc.evaluation.simulation import simulate
from nvmc.evaluation.workload import fidelity_of
from nvmc.hardware.chip import Array
from nvmc.hardware.compensation import CompensatedChip
from nvmc.hardware.devices import Device, LayerTarget, Periphery, parse_noise
from nvmc.hardware.restriction import AblatedChip, Selection
from nvmc.hardware.tiling import matrices
from nvmc.passes.graph.tile_graph import read_tile_graph, utilization
from nvmc.passes.io.load import load_model
from nvmc.passes.program_chip import arrays_of
from onnx_text import proto_of

SEED, INDEX = 5, 3
NETWORK = """g (float[N,9] x) => (float[M,K] y) <float[9,7] w1, float[7,5] w2> {
  a = MatMul (x, w1)
  r = Relu (a)
  y = MatMul (r, w2)
}"""
SHARED = """g (float[N,4] x) => (float[M,K] y) <float[4,4] w> {
  a = MatMul (x, w)
  r = Relu (a)
  y = MatMul (r, w)
}"""
PCM = load_device("pcm-joshi2020")

BASE: dict[str, Any] = {"weight_bits": 5, "rows": 4, "cols": 4}
AROUND: dict[str, Any] = {"dac_bits": 6, "adc_bits": 9}
OWN: dict[str, dict[str, Any]] = {
    "bits": {"weight_bits": 3, "cell_bits": 1},
    "encoding": {"encoding": "offset"},
    "tiles": {"rows": 3, "cols": 2},
    "channels": {"per_channel": True},
    "converters": {"adc_bits": 5, "adc_range": 40.0, "dac_bits": 3, "dac_mode": "bit-serial"},
    "no converters": {"adc_bits": "none", "dac_bits": "none", "subtract": "digital"},
    "inputs": {"signed_inputs": "offset", "encoding": "differential"},
    "device": {"device": load_device("fefet2"), "weight_bits": 4},
    "analog": {"weight_bits": "none", "device": load_device("rram-milo2021")},
    "read noise": {"device": PCM.with_noise([]), "weight_bits": 6, "adc_bits": "none"},
}


def compiled_network(folder: Path, target: Target, text: str = NETWORK, **rest: Any) -> Compiled:
    folder.mkdir(exist_ok=True)
    onnx.save(proto_of(text), folder / "m.onnx")
    return compile_model(folder / "m.onnx", target, output=folder / "m.nvmc", **rest)


def target_of(layers: list[LayerTarget]) -> Target:
    return Target.of("rram4", **BASE, periphery=Periphery(**AROUND), layers=layers)


def single(own: dict[str, Any]) -> Target:
    """The target that has for all layers what a layer has of its own."""
    stated = {name: None if value == "none" else value for name, value in own.items()}
    around = {k: v for k, v in stated.items() if k in Periphery.model_fields}
    cells = {k: v for k, v in own.items() if k not in around}
    device = cells.pop("device", "rram4")
    if cells.get("weight_bits") == "none":
        cells["encoding"] = cells.get("encoding", device.defaults.encoding)
    return Target.of(device, **{**BASE, **cells}, periphery=Periphery(**{**AROUND, **around}))


def array_of(compiled: Compiled, name: str) -> Array:
    arrays = arrays_of(load_model(compiled.model_path))
    return next(array for array in arrays if array.name == name)


def slow(x: np.ndarray, array: Array) -> np.ndarray:
    """One layer on the chip, current by current."""
    target, programmed = array.target, Chip.of(array.target, SEED, INDEX).program(array)
    assert array.place is not None
    levels = np.stack([matrices(array.place, plane) for plane in programmed.levels])
    sign = matrices(array.place, programmed.sign)
    unit = np.broadcast_to(array.unit, array.codes.shape)
    columns = matrices(array.place, unit)[:, 0]
    y = reference.circuit(x[:, None, None, :], levels, sign, columns, target)
    return y[:, 0, 0]


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("other", ["w1", "w2"])
def test_a_layer_is_that_of_its_own_target(name: str, other: str, tmp_path: Path) -> None:
    """Against a slow loop, layer by layer, over compiles for one target each."""
    own = {k: v for k, v in OWN[name].items() if k != "device"}
    device = OWN[name].get("device")
    both = target_of([LayerTarget(glob=other, device=device, **own)])
    compiled = compiled_network(tmp_path / "both", both)
    plain = compiled_network(tmp_path / "plain", single({}))
    apart = compiled_network(tmp_path / "apart", single(OWN[name]))
    arrays = [array_of(apart if w == other else plain, w) for w in ("w1", "w2")]
    for array in arrays:
        found = array_of(compiled, array.name)
        assert found.target == array.target
        assert np.array_equal(found.codes, array.codes) and np.array_equal(found.scale, array.scale)
    x = np.random.default_rng(4).integers(-31, 32, (4, 9)).astype(np.float32)
    expected = slow(np.maximum(slow(x, arrays[0]), 0), arrays[1])
    if name == "read noise":  # the loop has none: without it, the state of the cells is the same
        both = Target.model_validate({**dict(both), "layers": [quiet(both.layers[0])]})
        compiled = compiled_network(tmp_path / "quiet", both)
    session = make_session(compiled.model_path, chip=INDEX, seed=SEED)
    found = session.run(None, {"x": x})[0]
    # float32 sums of at most 9 products of codes below 2^6 and levels, over two layers; where an
    # ADC's code fell on the other side the difference would be its step, far above this
    size = float(np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * size)


def quiet(part: LayerTarget) -> LayerTarget:
    """The layer without the noise of reads; what programs its cells stays."""
    assert part.device is not None
    noise = tuple(source for source in part.device.noise if source.stage != "read")
    return part.model_copy(update={"device": part.device.model_copy(update={"noise": noise})})


def mixed(folder: Path, **rest: Any) -> Compiled:
    """w1 on the target's device, w2 on phase-change cells, which age and read noisily."""
    own = LayerTarget(glob="w2", device=PCM, rows=3, cols=2)
    target = Target.of("rram4", **BASE, layers=[own])
    return compiled_network(folder, target, **rest)


def test_the_manifest_and_the_tiles_say_what_each_layer_has(tmp_path: Path) -> None:
    compiled = mixed(tmp_path)
    rows = {entry.name: entry for entry in compiled.manifest.arrays}
    assert (rows["w1"].weight_bits, rows["w2"].weight_bits) == (5, 5)
    assert rows["w1"].tiles == 3 * 2 * 3 * 2  # ceil(9/4) x ceil(7/4), 3 slices of 2 polarities
    assert rows["w2"].tiles == 3 * 3 * 2  # ceil(7/3) x ceil(5/2), 1 slice of 2 polarities
    (part,) = compiled.manifest.target.layers
    assert part.arrays == ("w2",)
    shares = utilization(read_tile_graph(compiled.read_tiles()))
    for name, row in rows.items():
        assert shares[name] == pytest.approx(row.utilization, rel=1e-12)
    cells = sum(row.cells for row in rows.values())
    assert shares[""] == pytest.approx(cells / (36 * 16 + 18 * 6), rel=1e-12)
    again = Target.model_validate_json(compiled.manifest.target.model_dump_json())
    assert again == compiled.manifest.target


def test_options_of_the_device_leave_layers_with_their_own_alone(tmp_path: Path) -> None:
    target = mixed(tmp_path).manifest.target
    moved = target.on(load_device("fefet2"), [parse_noise("stuck-at:p_low=0.5,p_high=0.1")])
    assert moved.of_array("w1").device.name == "fefet2"
    assert moved.of_array("w2") == target.of_array("w2")
    chip = Setup.of(target, noise=["additive:sigma=0.3"], sigma=0.4).chip(SEED, INDEX)
    (own,) = chip.others
    assert own.device == PCM and own.sources == PCM.sources() and own.time_s == 20.0
    assert [source.strength for source in chip.sources] == [0.4, 0.3]
    same = target.on(PCM)  # a layer on the target's device has none of its own
    assert same.layers[0].device is None and same.devices == (PCM,)


def test_every_path_has_the_same_chip(tmp_path: Path) -> None:
    compiled = mixed(tmp_path)
    program_chip(compiled, 3, tmp_path / "chip.onnx", seed=SEED, sigma=0.2, time_s=3600.0)
    stored = {
        t.name: onnx.numpy_helper.to_array(t)
        for t in onnx.load(tmp_path / "chip.onnx").graph.initializer
    }
    chip = Chip.of(compiled.manifest.target, SEED, 3, 0.2, 3600.0)
    assert chip.needs_circuit and fidelity_of(compiled.manifest.target) == "circuit"
    for name, alone in (("w1", ("rram4", 0.2, None)), ("w2", (PCM, None, 3600.0))):
        array = array_of(compiled, name)
        device, sigma, time_s = alone
        expected = Chip.of(Target.of(device, weight_bits=5), SEED, 3, sigma, time_s).program(array)
        assert np.array_equal(chip.program(array).levels, expected.levels)
        assert np.array_equal(stored[name], expected.weights)
        assert np.array_equal(chip.weights(array), expected.weights)


def test_chips_in_part_and_compensated_ones_know_each_device(tmp_path: Path) -> None:
    compiled = mixed(tmp_path)
    chip = Chip.of(compiled.manifest.target, SEED, 3, 0.2, 3600.0)
    ablated = AblatedChip.within(chip, Selection(sources=frozenset({"retention"})))
    assert ablated.active == ("retention",)
    w1, w2 = (array_of(compiled, name) for name in ("w1", "w2"))
    assert np.array_equal(ablated.weights(w1), w1.ideal)
    assert not np.array_equal(ablated.weights(w2), w2.ideal)
    setup = Setup.of(compiled.manifest.target, compensate=["drift"], time_s=3600.0)
    corrected = setup.chip(SEED, 3)
    assert isinstance(corrected, CompensatedChip)
    assert corrected.gain(w1) == 1 and corrected.gain(w2) > 1  # rram4 does not age
    both = LayerTarget(glob="w1", device=load_device("rram-wan2022"), weight_bits=4)
    target = Target.of(PCM, weight_bits=4, layers=[both, LayerTarget(glob="w2", rows=8)])
    with pytest.raises(OptionError, match="drift: layers have devices of their own"):
        Setup.of(target, compensate=["drift"])


def test_results_say_what_layers_have_and_do_not_mix(tmp_path: Path) -> None:
    compiled = mixed(tmp_path)
    first = simulate(compiled, runs=3, sigma=0.3, seed=SEED)
    facts = first.to_json()["description"]
    assert facts["layers"] == [
        "w2: pcm-joshi2020 (sigma 1), weight_bits 5, cell_bits 5, encoding differential, rows 3, "
        "cols 2"
    ]
    assert (facts["device"], facts["sigma"], facts["time_s"]) == ("rram4", 0.3, 20.0)
    key = Setup.of(compiled.manifest.target, sigma=0.3).identity(SEED)
    assert [other["device"] for other in key["others"]] == ["pcm-joshi2020"]


def test_a_sweep_moves_what_layers_do_not_state(tmp_path: Path) -> None:
    own = [LayerTarget(glob="w1", adc_bits=4), LayerTarget(glob="w2", dac_mode="bit-serial")]
    setup = Setup.of(compiled_network(tmp_path, target_of(own)).manifest.target)
    swept = PARAMETERS["adc-bits"].change(setup, 7).target
    found = [swept.of_array(name).periphery.adc_bits for name in ("w1", "w2", "else")]
    assert found == [4, 7, 7]
    with pytest.raises(OptionError, match="layers 'w2': bit-serial inputs need dac_bits"):
        PARAMETERS["dac-bits"].change(setup, None)


def test_ranges_are_those_of_each_arrays_converters(tmp_path: Path) -> None:
    around = Periphery(dac_bits=6, dac_range="calibrated", adc_bits=8)
    own = LayerTarget(glob="w2", adc_range="calibrated")
    target = Target.of("rram4", **BASE, periphery=around, layers=[own])
    images = np.random.default_rng(7).normal(size=(20, 9)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=images)
    data = str(tmp_path / "x.npz")
    compiled = compiled_network(tmp_path / "both", target, data=data)
    known = {entry.array: entry for entry in compiled.manifest.target.periphery.ranges}
    everywhere = Target.of(
        "rram4", **BASE, periphery=around.model_copy(update={"adc_range": "calibrated"})
    )
    same = compiled_network(tmp_path / "one", everywhere, data=data).manifest.target
    ranges = {entry.array: entry for entry in same.periphery.ranges}
    assert known["w2"] == ranges["w2"] and known["w2"].current is not None
    assert known["w1"].input == ranges["w1"].input and known["w1"].current is None
    assert compiled.manifest.target.of_array("w2").periphery.range_of("w2") == known["w2"]
    make_session(compiled.model_path, chip=0).run(None, {"x": images})


def test_the_networks_own_codes_are_those_of_each_dac(tmp_path: Path) -> None:
    text = """g (float[N,4] x) => (float[M,K] y) <float[4,4] w1, float[4,3] w2,
        float low = {0}, float high = {3}, float step = {0.5}> {
      a = MatMul (x, w1)
      c = Clip (a, low, high)
      r = Round (c)
      m = Mul (r, step)
      y = MatMul (m, w2)
    }"""
    around = Periphery(dac_bits=6)
    own = LayerTarget(glob="w2", dac_bits=2, dac_range="calibrated")
    target = Target.of("rram4", **BASE, periphery=around, layers=[own])
    np.savez(tmp_path / "x.npz", x=np.ones((3, 4), np.float32))
    compiled = compiled_network(tmp_path / "n", target, text, data=str(tmp_path / "x.npz"))
    told = {entry.name: entry.inputs for entry in compiled.manifest.arrays}
    assert told["w2"] == "codes of 2 bits are the DAC's" and not told["w1"]
    known = compiled.manifest.target.periphery.range_of("w2")
    assert known is not None and known.input == 1.5  # 3 codes of 0.5


def test_biases_in_cells_are_as_the_target_says_for_all(tmp_path: Path) -> None:
    text = """g (float[N,4] x) => (float[M,K] y) <float[4,3] w1, float[3] b> {
      y = Gemm (x, w1, b)
    }"""
    target = Target.of("rram4", **BASE, layers=[LayerTarget(glob="*", device=PCM, weight_bits=3)])
    options = CompileOptions(store=("bias",))
    compiled = compiled_network(tmp_path, target, text, options=options)
    found = {
        a.name: (a.target.device.name, a.target.weight_bits)
        for a in arrays_of(load_model(compiled.model_path))
    }
    assert found == {"w1": ("pcm-joshi2020", 3), "b": ("rram4", 5)}


def test_a_shared_weight_is_held_in_one_way(tmp_path: Path) -> None:
    onnx.save(proto_of(SHARED), tmp_path / "m.onnx")
    plain = compiled_network(tmp_path / "plain", Target.of("rram4"), SHARED)
    node = plain.manifest.layers[0].name
    for own in ({"rows": 64}, {"device": PCM, "weight_bits": 4}, {"adc_bits": 4}):
        target = Target.of("rram4", layers=[LayerTarget(glob=node, **own)])
        with pytest.raises(OptionError, match="weight 'w' is shared by layers .* different ways"):
            compiled_network(tmp_path / "no", target, SHARED)
        held = Target.of("rram4", layers=[LayerTarget(glob="w", **own)])
        compiled_network(tmp_path / "yes", held, SHARED)


def test_a_glob_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"glob 'fc\*' .* no layer or weight; .*\(w1\), .*\(w2\)"):
        compiled_network(tmp_path, target_of([LayerTarget(glob="fc*", adc_bits=4)]))


def test_networks_of_one_target_keep_their_manifest_and_keys(tmp_path: Path) -> None:
    """What a target with nothing, or with bits, of layers' own says is what it always said."""
    plain = Target.of("rram4").model_dump(mode="json")
    assert plain["layers"] == [] and list(plain) == [
        "device", "weight_bits", "cell_bits", "encoding", "per_channel", "rows", "cols",
        "periphery", "layers",
    ]  # fmt: skip
    bits = Target.of("rram4", bits={"w1": 3}).placed({"w1": "m"}).model_dump(mode="json")
    assert json.dumps(bits["layers"]) == (
        '[{"glob": "w1", "weight_bits": 3, "cell_bits": 2, "arrays": ["w1"]}]'
    )
    assert "others" not in Setup.of(Target.of("rram4")).identity(0)


def test_a_device_of_the_same_name_is_another_one() -> None:
    loud = load_device("rram4").model_copy(update={"sigma": 0.3, "sigma_range": None})
    assert isinstance(loud, Device)
    target = Target.of("rram4", layers=[LayerTarget(glob="a", device=loud)])
    assert [device.sigma for device in target.devices] == [0.1, 0.3]
