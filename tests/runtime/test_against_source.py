"""The ideal chip compared with the network that it was compiled from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from nvmc import Compiled, Target, compile_model, load_device, simulate
from nvmc.compiled.options import CompileOptions
from nvmc.compiled.rounding import AgainstSource
from nvmc.data import load_data
from nvmc.models.zoo import zoo_path
from nvmc.runtime import against_source
from nvmc.runtime.feeding import feed_of
from nvmc.runtime.sessions import open_model
from onnx_text import proto_of

BINARY = """g (float[N,2,6,6] x) => (float[M,K] y) <float[4,2,3,3] w, float[4,4,3,3] v> {
  a = Conv (x, w)
  r = Relu (a)
  c = Conv (r, v)
  y = Flatten (c)
}"""
SCALES = np.array([1, 0.25, 0.5, 0.125], np.float32).reshape(4, 1, 1, 1)


def binary_network(folder: Path, share: float = 0.0) -> Path:
    """Weights of one magnitude per channel, a share of them 0."""
    proto, generator = proto_of(BINARY), np.random.default_rng(4)
    for tensor in proto.graph.initializer:
        weight = np.sign(onnx.numpy_helper.to_array(tensor)) * SCALES
        weight[generator.random(weight.shape) < share] = 0
        tensor.CopyFrom(onnx.numpy_helper.from_array(weight.astype(np.float32), tensor.name))
    onnx.save(proto, folder / "binary.onnx")
    return folder / "binary.onnx"


def compiled(source: Path, bits: int, folder: Path, **use) -> Compiled:
    target = Target.of(load_device("bitflip"), weight_bits=bits, **use)
    return compile_model(source, target, output=folder / "m.nvmc")


def against(network: Compiled) -> AgainstSource:
    found = network.manifest.against_source
    assert found is not None
    return found


def test_a_binary_network_is_its_ideal_chip_at_one_bit(tmp_path: Path) -> None:
    source = binary_network(tmp_path)
    network = compiled(source, 1, tmp_path)
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(source).graph.initializer}
    stored = onnx.load(network.model_path).graph.initializer
    held = {t.name: onnx.numpy_helper.to_array(t) for t in stored}
    for entry in network.manifest.arrays:
        assert np.array_equal(held[entry.codes], np.sign(weights[entry.name]))
        assert np.array_equal(held[entry.scale], SCALES)
        assert entry.rounding is not None and entry.rounding.binary and entry.rounding.error == 0
    found = against(network)
    assert (found.agreement, found.images, found.low) == (1.0, 64, False)
    assert found.r2 == pytest.approx(1, abs=1e-10)  # sums of float32 in another order


def test_sparing_memory_leaves_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is optimised or packed then, so sums of float32 may have another order."""
    found: list[AgainstSource] = []
    made: list[bool] = []

    def opened(model: Path, weights: dict[str, object], sparing: bool) -> object:
        made.append(sparing)
        return open_model(model, weights, sparing)  # type: ignore[arg-type]

    monkeypatch.setattr(against_source, "open_model", opened)
    for large in (1 << 30, 4):
        monkeypatch.setattr(against_source, "LARGE", large)
        folder = tmp_path / str(large)
        folder.mkdir()
        network = compiled(zoo_path("lenet5-digits"), 4, folder)
        found.append(against(network))
    assert made == [False, False, True, True]
    assert (found[0].agreement, found[0].images) == (found[1].agreement, found[1].images)
    assert found[0].r2 == pytest.approx(found[1].r2, abs=1e-6)


def test_the_figures_are_those_of_both_networks(tmp_path: Path) -> None:
    network = compiled(zoo_path("lenet5-digits"), 2, tmp_path)
    images = feed_of(network.manifest.inputs, None, 0, None).inputs
    expected, found = (
        ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, images)[0]
        for path in (zoo_path("lenet5-digits"), network.model_path)
    )
    same = np.mean(expected.argmax(1) == found.argmax(1))
    r2 = 1 - np.sum((found - expected) ** 2) / np.sum((expected - expected.mean(0)) ** 2)
    stated = against(network)
    assert (stated.output, stated.data, stated.images) == ("logits", "seeded inputs", 64)
    assert stated.agreement == pytest.approx(same)
    assert stated.r2 == pytest.approx(r2, abs=1e-4)  # sums of float32 in other orders
    assert stated.low == (r2 < 0.9)


def test_calibration_data_are_what_it_is_compared_on(tmp_path: Path) -> None:
    target = Target.of(load_device("fefet2"))
    network = compile_model(
        zoo_path("lenet5-digits"),
        target,
        CompileOptions(activation_bits=8),
        output=tmp_path / "m.nvmc",
        data="digits",
    )
    found = against(network)
    assert found.data == load_data("digits", "train").name and found.images == 512
    assert found.agreement is not None and found.agreement > 0.95 and not found.low


@pytest.mark.parametrize(
    ("data", "agreement", "r2", "low"),
    [
        ("digits", 0.95, 0.95, False),
        ("digits", 0.85, 0.95, True),
        ("digits", 0.95, 0.85, True),
        ("digits", None, 0.95, False),
        ("digits", 0.85, None, True),
        ("seeded inputs", 0.5, 0.95, False),
        ("seeded inputs", 0.95, 0.85, True),
        ("seeded inputs", 0.5, None, True),
        ("seeded inputs", None, None, False),
    ],
)
def test_what_is_low(data: str, agreement: float | None, r2: float | None, low: bool) -> None:
    found = AgainstSource(output="y", data=data, images=64, agreement=agreement, r2=r2)
    assert found.low == low


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "g (float[N,T] x) => (float[N,M] y) <float[4,4] w> { y = MatMul (x, w) }",
            "does not run on seeded inputs",
        ),
        (
            """g (float[N,4] x) => (float[N,M] y) <float[4,4] w, float r = {0.5}, bool t = {1}> {
              h = MatMul (x, w)
              y = Dropout (h, r, t)
            }""",
            "draws random numbers",
        ),
    ],
)
def test_what_cannot_be_compared_says_why(text: str, reason: str, tmp_path: Path) -> None:
    onnx.save(proto_of(text), tmp_path / "m.onnx")
    found = against(compiled(tmp_path / "m.onnx", 4, tmp_path))
    assert reason in found.reason and str(found).startswith("not compared: ")
    assert found.images == 0 and found.agreement is found.r2 is None and not found.low


def test_results_say_what_their_ideal_chip_is_worth(tmp_path: Path) -> None:
    network = compiled(binary_network(tmp_path), 2, tmp_path)
    facts = simulate(network, runs=2).description.to_json()
    stated = against(network)
    assert (facts["source_agreement"], facts["source_r2"]) == (stated.agreement, stated.r2)


def test_outputs_of_whole_numbers_are_classes(tmp_path: Path) -> None:
    text = """g (float[N,4] x) => (int64[M] y) <float[4,3] w> {
      h = MatMul (x, w)
      y = ArgMax <axis = 1, keepdims = 0> (h)
    }"""
    onnx.save(proto_of(text), tmp_path / "m.onnx")
    found = against(compiled(tmp_path / "m.onnx", 12, tmp_path))
    assert found.r2 is None and found.agreement is not None and found.agreement > 0.95
