"""Networks whose state is fed back: what chips say of sequences, against NumPy step by step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from nvmc import Compiled, CompileOptions, Target, compile_model, load_device, simulate
from nvmc.errors import OptionError
from nvmc.evaluation.workload import set_up
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Periphery, parse_noise
from nvmc.passes.io.load import load_model
from nvmc.passes.program_chip import arrays_of
from nvmc.runtime.montecarlo import Span, evaluate_chips, outputs_of
from onnx_text import proto_of
from streaming import CHUNK, STEP, over_steps

OPTIONS = CompileOptions(inputs=("sr=8000",), state=("state=stateN",))
READ = parse_noise("read:basis=level,sigma=0.2")
CELLS = Target.of(load_device("fefet2"))
X = np.random.default_rng(7).standard_normal((12, 9, CHUNK), np.float32)


def compiled(folder: Path, target: Target = CELLS, options: CompileOptions = OPTIONS, **more: Any):
    onnx.save(proto_of(STEP), folder / "vad.onnx")
    return compile_model(folder / "vad.onnx", target, options, output=folder / "vad.nvmc", **more)


@pytest.fixture(scope="module")
def vad(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compiled(tmp_path_factory.mktemp("vad"))


def weights_of(network: Compiled, chip: Chip) -> dict[str, NDArray[Any]]:
    """What a chip computes with: programmed weights, and the parameters that stay digital."""
    model = load_model(network.model_path)
    stored = onnx.load(network.folder.parent / "vad.onnx").graph.initializer
    digital = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in stored}
    return digital | {array.name: chip.program(array).weights for array in arrays_of(model)}


@pytest.mark.parametrize("fidelity", ["cells", "circuit"])
@pytest.mark.parametrize("chip", [None, 0, 4])
def test_chips_over_sequences(vad: Compiled, chip: int | None, fidelity: Any) -> None:
    """float32 against float64, nine steps of an LSTM whose gates are below 1."""
    who = Chip.ideal() if chip is None else Chip.of(CELLS, 3, chip)
    work = set_up(vad, CELLS, data=(X, np.zeros((12, 9), int)), fidelity=fidelity)
    order = work.feed.inputs["x"]
    scores = outputs_of(work.network, work.feed, who)
    expected = over_steps(weights_of(vad, who), order, rate=8000)
    assert scores.shape == (12, 2, 9)  # two classes, of one score
    np.testing.assert_allclose(scores[:, 1:], expected, rtol=0, atol=2e-6)


def test_decisions_of_every_step_are_judged(vad: Compiled) -> None:
    """The ideal chip is right by its own decisions, and a chip as often as NumPy says."""
    ideal = over_steps(weights_of(vad, Chip.ideal()), X, rate=8000)[:, 0]
    chip = over_steps(weights_of(vad, Chip.of(CELLS, 0, 0)), X, rate=8000)[:, 0]
    labels = (ideal > 0.5).astype(int)
    assert 0 < labels.mean() < 1
    result = simulate(vad, runs=1, data=(X, labels))
    assert result.ideal == 1.0
    assert result.values[0] == np.mean((chip > 0.5) == labels)


def test_what_a_state_begins_with(tmp_path: Path) -> None:
    options = replace(OPTIONS, inputs=("sr=16000", "state=0.5"))
    network = compiled(tmp_path, options=options)
    work = set_up(network, CELLS, data=(X, np.zeros((12, 9), int)))
    expected = over_steps(weights_of(network, Chip.ideal()), work.feed.inputs["x"], begin=0.5)
    found = outputs_of(work.network, work.feed, Chip.ideal())[:, 1:]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def test_reads_belong_to_images_and_steps(vad: Compiled) -> None:
    """No value depends on batches or blocks, and every step has reads of its own."""
    noisy = CELLS.on(None, [READ])
    work = set_up(vad, noisy, data=(X, np.zeros((12, 9), int)))
    chips = [Chip.of(noisy, 0, 0)]
    whole = outputs_of(work.network, work.feed, chips[0])
    for batch in (1, 5):
        one = replace(work.network, batch=batch)
        np.testing.assert_array_equal(outputs_of(one, work.feed, chips[0]), whole)
    sums = [
        evaluate_chips(work.network, work.feed, work.metric, chips, Span(a, b - a), jobs=1)[0]
        for a, b in ((0, 12), (0, 5), (5, 12))
    ]
    assert sums[0] == sums[1] + sums[2]
    same = X[:1].repeat(9, 0)[:, :1].repeat(9, 1)  # equal steps, of equal images
    again = set_up(vad, noisy, data=(same, np.zeros((9, 9), int)))
    found = outputs_of(again.network, again.feed, chips[0])
    ideal = outputs_of(again.network, again.feed, Chip.ideal())
    assert np.ptp(ideal, axis=0).max() == 0
    assert len(np.unique(found[:, 1])) == found[:, 1].size


def test_ranges_are_calibrated_over_steps(tmp_path: Path) -> None:
    """What enters the last layer is the LSTM's state: its extremes over all steps."""
    options = replace(OPTIONS, activation_bits=8)
    target = CELLS.model_copy(update={"periphery": Periphery(adc_bits=8, adc_range="calibrated")})
    network = compiled(tmp_path, target, options, data=(X, np.zeros((12, 9), int)))
    assert network.manifest.calibration is not None
    assert network.manifest.calibration.activation_images == 12
    work = set_up(network, network.manifest.target, data=(X, np.zeros((12, 9), int)))
    found = outputs_of(work.network, work.feed, Chip.ideal())[:, 1:]
    exact = compiled(tmp_path / "exact" if (tmp_path / "exact").mkdir() is None else tmp_path)
    expected = over_steps(weights_of(exact, Chip.ideal()), work.feed.inputs["x"], rate=8000)
    assert 0 < np.abs(found - expected).max() < 0.02


def test_the_manifest_says_it(vad: Compiled) -> None:
    manifest = vad.manifest
    assert [(e.name, e.shape) for e in manifest.inputs] == [("x", ["N", "steps", CHUNK])]
    assert [(e.name, e.shape) for e in manifest.outputs] == [("prob", ["N", 1, "steps"])]
    assert manifest.options == OPTIONS
    products = {layer.op: layer.products for layer in manifest.layers}  # of one step
    assert products == {"CrossbarConv": 3, "CrossbarLSTM": 1, "CrossbarGemm": 1}


def test_the_ideal_chip_is_held_against_the_source(vad: Compiled) -> None:
    """Over sequences and with the rate that was given, not step by step."""
    found = vad.manifest.against_source
    assert found is not None and found.reason == "" and found.images == 64
    assert found.r2 is not None and 0.5 < found.r2 < 1


def test_without_data_the_number_of_steps_is_said(vad: Compiled) -> None:
    found = simulate(vad, runs=1, limit=4)
    assert found.description.data.endswith("steps=16 assumed, --data says otherwise")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("state=stateM", "output 'stateM' is unknown.*did you mean 'stateN'"),
        ("stat=stateN", "input 'stat' is unknown.*did you mean 'state'"),
        ("state=prob", "expected the same of both"),
    ],
)
def test_what_is_wrong_is_one_line(state: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        compiled(tmp_path, options=CompileOptions(state=(state,), inputs=("sr=1",)))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "vad.nvmc").exists()


def test_a_number_that_nobody_gives_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="'sr' is one number, .* with inputs sr=NUMBER"):
        compiled(tmp_path, options=CompileOptions(state=("state=stateN",)))
