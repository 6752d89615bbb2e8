"""`--to neurosim`: what an independent reader makes of the files is what the circuit computes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from export.manual import examples
from export.neurosim_files import NeuroSimFiles
from export.test_conductance import arrays_in
from nvmc import Compiled, Target, compile_model, export_network, load_device
from nvmc.cli import main
from nvmc.errors import ModelError, OptionError
from nvmc.evaluation.parameters import Setup
from nvmc.export.layer_shapes import novel_mapping
from nvmc.hardware.devices import LayerTarget
from nvmc.hardware.devices.periphery import Periphery
from nvmc.hardware.tiling import matrices
from nvmc.models import resolve_model
from onnx_text import proto_of

TOP = 15
"""Of the DAC's codes; the largest input of every test, so that inputs are their own codes."""


def compiled_of(folder: Path, text: str, options: Any = None, **settings: Any) -> Compiled:
    onnx.save(proto_of(text), folder / "net.onnx")
    periphery = Periphery(dac_bits=4, **settings.pop("periphery", {}))
    given: dict[str, Any] = {"rows": 8, "cols": 8, "weight_bits": 4, "cell_bits": 2, **settings}
    target = Target.of(load_device("fefet1"), periphery=periphery, **given)
    return compile_model(folder / "net.onnx", target, options, output=folder / "net.nvmc")


def image_of(shape: tuple[int, ...], low: int, seed: int = 4) -> Any:
    x = np.random.default_rng(seed).integers(low, TOP + 1, shape).astype(np.float32)
    x[..., 0] = TOP  # rows of a matrix each have a range of their own
    return x


def exported(compiled: Compiled, folder: Path, image: Any, **options: Any) -> NeuroSimFiles:
    data = (image, np.zeros(len(image), np.int64))
    export_network(compiled, "neurosim", folder / "out", data=data, **options)
    return NeuroSimFiles(folder / "out")


def ideal(compiled: Compiled, image: Any) -> Any:
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(compiled.model_path), providers=providers)
    return session.run(None, {session.get_inputs()[0].name: image})[0]


CASES = [
    # text, image, what NetWork.csv says, from products (vectors, cols) of all groups to outputs
    (
        "g (float[N,3,7,6] x) => (float[N,4,4,3] y) <float[4,3,3,3] w> "
        "{ y = Conv <strides = [2,2], pads = [1,1,1,1]> (x, w) }",
        (1, 3, 7, 6),
        [[10, 8, 3, 3, 3, 4, 0, 2]],
    ),
    (
        "g (float[N,2,6,6] x) => (float[N,4,6,3] y) <float[4,2,3,3] w> "
        "{ y = Conv <strides = [1,2], pads = [1,1,1,1]> (x, w) }",
        (1, 2, 6, 6),
        [[8, 5, 2, 3, 3, 4, 0, 1]],
    ),
    (
        "g (float[N,4,5,5] x) => (float[N,6,4,4] y) <float[6,2,2,2] w> "
        "{ y = Conv <group = 2> (x, w) }",
        (1, 4, 5, 5),
        [[5, 5, 2, 2, 2, 3, 0, 1]] * 2,
    ),
    (
        "g (float[N,2,9] x) => (float[N,3,4] y) <float[3,2,3] w> "
        "{ y = Conv <strides = [2]> (x, w) }",
        (1, 2, 9),
        [[2, 10, 2, 1, 3, 3, 0, 2]],
    ),
    (
        "g (float[N,9] x) => (float[N,5] y) <float[9,5] w> { y = MatMul (x, w) }",
        (1, 9),
        [[1, 1, 9, 1, 1, 5, 0, 1]],
    ),
    (
        "g (float[N,3,9] x) => (float[N,3,5] y) <float[9,5] w> { y = MatMul (x, w) }",
        (1, 3, 9),
        [[3, 1, 9, 1, 1, 5, 0, 1]],
    ),
]


@pytest.mark.parametrize("low", [0, -TOP], ids=["unsigned", "signed"])
@pytest.mark.parametrize(("text", "shape", "network"), CASES)
def test_products_of_the_files_are_the_networks_outputs(
    text: str, shape: tuple[int, ...], network: list[list[int]], low: int, tmp_path: Path
) -> None:
    compiled = compiled_of(tmp_path, text)
    image = image_of(shape, low)
    files = exported(compiled, tmp_path, image)
    assert files.network == network
    assert (files.synapse, files.inputs) == (5, 5)
    array = arrays_in(compiled, Setup.of(compiled.manifest.target))["w"]
    scale = float(array.scale)
    y = [files.codes(layer) @ files.weights(layer) * scale for layer in range(len(network))]
    wanted = ideal(compiled, image)[0]
    found = np.concatenate(y, axis=1)  # (vectors, columns of all groups)
    if array.place.op == "CrossbarConv":
        found = found.T
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("encoding", ["sign-magnitude", "differential", "offset", "balanced"])
def test_weights_are_the_codes_of_any_encoding(encoding: Any, tmp_path: Path) -> None:
    text, shape, _ = CASES[0]
    compiled = compiled_of(tmp_path, text, encoding=encoding)
    files = exported(compiled, tmp_path, image_of(shape, 0))
    array = arrays_in(compiled, Setup.of(compiled.manifest.target))["w"]
    np.testing.assert_array_equal(files.weights(0), matrices(array.place, array.codes)[0])
    assert np.abs(array.codes).max() == 15


def test_a_chips_weights_are_rounded_to_codes(tmp_path: Path) -> None:
    text, shape, _ = CASES[0]
    compiled = compiled_of(tmp_path, text)
    found = export_network(compiled, "neurosim", tmp_path / "out", chip=3)
    assert any("of a chip's errors only what reaches another code" in a for a in found.assumptions)
    files = NeuroSimFiles(tmp_path / "out")
    setup = Setup.of(compiled.manifest.target)
    array = arrays_in(compiled, setup)["w"]
    steps = setup.chip(0, 3).weights(array) / array.scale
    wanted = np.clip(np.rint(matrices(array.place, steps)[0]), -16, 15)
    np.testing.assert_array_equal(files.weights(0), wanted)
    assert not np.array_equal(wanted, matrices(array.place, array.codes)[0])


POOLED = """g (float[N,1,8,8] x) => (float[N,3] y)
    <float[2,1,3,3] a, float[4,2,2,2] b, float[16,3] c>
    {
        p = Conv (x, a)
        q = Relu (p)
        r = MaxPool <kernel_shape = [2,2], strides = [2,2]> (q)
        s = Conv <pads = [1,1,0,0]> (r, b)
        t = AveragePool <kernel_shape = [2,2], strides = [2,2], ceil_mode = 1> (s)
        u = Flatten (t)
        y = MatMul (u, c)
    }"""


def test_layers_follow_each_other_with_their_pooling_and_bits(tmp_path: Path) -> None:
    layers = (LayerTarget(glob="c", weight_bits=2),)
    compiled = compiled_of(tmp_path, POOLED, layers=layers, periphery={"adc_bits": 6})
    files = exported(compiled, tmp_path, image_of((1, 1, 8, 8), 0))
    assert files.network == [
        [8, 8, 1, 3, 3, 2, 1, 1],
        [4, 4, 2, 2, 2, 4, 1, 1],
        [1, 1, 16, 1, 1, 3, 0, 1],
    ]
    told = json.loads((tmp_path / "out" / "export.json").read_text())
    assert (
        "all weights have 5 bits, as NeuroSim knows one number for all layers"
        in told["assumptions"]
    )
    arrays = arrays_in(compiled, Setup.of(compiled.manifest.target))
    for layer, name in enumerate("abc"):
        array = arrays[name]
        np.testing.assert_array_equal(files.weights(layer), matrices(array.place, array.codes)[0])
    assert files.param["levelOutput"] == "64"
    assert files.param["cellBit"] == "2"
    assert float(files.param["resistanceOn"]) == pytest.approx(1e6 / 14.2857)
    assert [entry["layer"] for entry in told["layers"]] == [
        layer.name for layer in compiled.manifest.layers
    ]


@pytest.mark.parametrize(
    "periphery",
    [
        {"dac_mode": "bit-serial"},
        {"dac_mode": "bit-serial", "dac_slice_bits": 2, "accumulate": "analog"},
        {"signed_inputs": "offset"},
        {"signed_inputs": "bipolar"},
        {"rows_on": 3, "row_split": "even"},
        {"dac_inl": 0.3},
    ],
    ids=lambda each: "-".join(map(str, each.values())),
)
def test_codes_do_not_depend_on_how_they_are_driven(periphery: Any, tmp_path: Path) -> None:
    text, shape, _ = CASES[0]
    image = image_of(shape, -7)  # an offset's codes end at 7
    image[image > 7] = 7
    plain = exported(compiled_of(tmp_path, text), tmp_path, image)
    wanted = plain.codes(0)
    other = exported(compiled_of(tmp_path, text, periphery=periphery), tmp_path, image)
    np.testing.assert_array_equal(other.codes(0), wanted)
    assert other.together == periphery.get("rows_on", 8)


def test_seeded_inputs_stand_in_for_data(tmp_path: Path) -> None:
    text, _, network = CASES[4]
    compiled = compiled_of(tmp_path, text)
    found = export_network(compiled, "neurosim", tmp_path / "out")
    assert found.assumptions[0].startswith("inputs are those of seeded")
    assert NeuroSimFiles(tmp_path / "out").network == network


LSTM = """g (float[4,N,3] x) => (float[4,1,N,2] y) <float[1,8,3] w, float[1,8,2] r>
    { y = LSTM <hidden_size = 2> (x, w, r) }"""
SHARED = """g (float[N,4] x) => (float[N,4] y) <float[4,4] w>
    { a = MatMul (x, w) y = MatMul (a, w) }"""
FIXED = "g (float[2,9] x) => (float[2,5] y) <float[9,5] w> { y = MatMul (x, w) }"
ONE = CASES[4][0]


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        (LSTM, {}, "is recurrent, which NeuroSim V1.4 has not; compile with skip="),
        (SHARED, {}, "array 'w' serves several layers, which NeuroSim V1.4 has not"),
        (FIXED, {}, "the network takes 2 images at a time, and a trace is of one"),
    ],
)
def test_what_neurosim_has_not_is_refused(
    text: str, settings: Any, said: str, tmp_path: Path
) -> None:
    compiled = compiled_of(tmp_path, text, **settings)
    with pytest.raises((OptionError, ModelError)) as caught:
        export_network(compiled, "neurosim", tmp_path / "out")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_analog_weights_and_no_dac_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    onnx.save(proto_of(ONE), tmp_path / "net.onnx")
    for words, said in (
        ("--device pcm-joshi2020 --dac-bits 4", "has analog weights, and NeuroSim maps digits"),
        ("--device fefet1", "has no DAC, and NeuroSim reads bits of inputs; compile again with"),
    ):
        folder = str(tmp_path / "net.nvmc")
        assert main(["compile", str(tmp_path / "net.onnx"), *words.split(), "-o", folder]) == 0
        capfd.readouterr()
        assert main(["export", folder, "--to", "neurosim", "-o", str(tmp_path / "out")]) == 1
        line = capfd.readouterr().err
        assert said in line
        assert line.count("\n") == 1


def test_which_mapping_neurosim_can_build() -> None:
    """Found by running NeuroSim V1.4 on LeNet-5 of 128 rows: True stops, False runs."""
    lenet = [
        [32, 32, 1, 5, 5, 6, 1, 1],
        [14, 14, 6, 5, 5, 16, 1, 1],
        [1, 1, 400, 1, 1, 120, 0, 1],
        [1, 1, 120, 1, 1, 84, 0, 1],
        [1, 1, 84, 1, 1, 10, 0, 1],
    ]
    assert novel_mapping(lenet, 3, 128) is False
    assert novel_mapping(lenet, 3, 256) is None
    assert novel_mapping(lenet, 3, 32) is True
    assert novel_mapping(lenet[2:], 3, 128) is False  # no kernel is larger than 1 x 1


def test_a_network_that_neurosim_cannot_build_says_so(tmp_path: Path) -> None:
    compiled = compiled_of(tmp_path, ONE, rows=128)
    found = export_network(compiled, "neurosim", tmp_path / "out")
    assert any("NeuroSim stops at this network" in text for text in found.assumptions)
    small = compiled_of(tmp_path, ONE, rows=4)
    found = export_network(small, "neurosim", tmp_path / "out")
    assert not any("NeuroSim stops" in text for text in found.assumptions)


def test_the_example_of_the_manual_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    periphery = Periphery(dac_bits=8, adc_bits=8)
    target = Target.of(load_device("fefet1"), periphery=periphery)
    source = resolve_model("zoo:lenet5-digits")
    compiled = compile_model(source, target, output=tmp_path / "lenet5.nvmc")
    codes = arrays_in(compiled, Setup.of(target))["conv1.weight"].codes
    monkeypatch.chdir(tmp_path)
    (example,) = examples("neurosim")
    exec(example, {})
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == (
        f"conv1.weight: 784 vectors of 25 codes up to 255, weights {codes.min()} to {codes.max()}"
    )
    assert NeuroSimFiles(tmp_path / "neurosim").vectors(0) == 784


@pytest.mark.slow
def test_neurosim_runs_on_lenet5(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    program = pytestconfig.getoption("--neurosim")
    if program is None:
        pytest.skip("DNN+NeuroSim V1.4 is not here; give --neurosim MAIN")
    periphery = Periphery(dac_bits=8, adc_bits=8)
    target = Target.of(load_device("fefet1"), periphery=periphery)
    source = resolve_model("zoo:lenet5-digits")
    compiled = compile_model(source, target, output=tmp_path / "net.nvmc")
    export_network(compiled, "neurosim", tmp_path / "out", data="digits")
    files = NeuroSimFiles(tmp_path / "out")
    assert (files.param["cellBit"], files.param["novelMapping"]) == ("2", "false")
    command = ["sh", "trace_command.sh", program]
    done = subprocess.run(command, cwd=tmp_path / "out", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ERROR" not in done.stdout
    # A line for each layer in three tables of the floor plan, and no more.
    assert done.stdout.count("\nlayer5: ") == 3
    assert "\nlayer6: " not in done.stdout
    assert "Energy Efficiency TOPS/W" in done.stdout
