"""Stochastic networks: the same bits whatever the batch, the order and the threads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from compiled_networks import load_circuit, load_network
from nvmc import Chip, Compiled, Target, compile_model, load_device
from nvmc.compiled.masks import ChipMasks
from nvmc.compiled.options import CompileOptions
from nvmc.errors import OptionError
from nvmc.evaluation.simulation import simulate
from nvmc.hardware.devices import parse_noise
from nvmc.metrics import against_ideal
from nvmc.models import resolve_model
from nvmc.rng import stream
from nvmc.runtime.montecarlo import Feed, Network, evaluate_chips, outputs_of
from onnx_text import proto_of

TARGET = Target.of(load_device("fefet1"))

KINDS = {
    "neurons": "insert-dropout:rate=0.3,active=true",
    "maps": "insert-dropout:rate=0.3,active=true,spatial=true",
    "affine": "invert-normalization:active=true",
    "affine elements": "invert-normalization:active=true,granularity=element",
}


@pytest.fixture(scope="module", params=KINDS)
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("lenet") / "lenet.nvmc"
    source = resolve_model("zoo:lenet5-digits")
    return compile_model(
        source, TARGET, CompileOptions(passes=(KINDS[request.param],)), output=folder
    )


def images(count: int) -> Feed:
    shape = (count, 1, 28, 28)
    return Feed({"image": stream(0, 0, "images").random(shape, dtype=np.float32)})


def chips(count: int) -> list[Chip]:
    return [Chip.of(TARGET, 0, index, 0.2) for index in range(count)]


def test_outputs_do_not_depend_on_the_batch(compiled: Compiled) -> None:
    """Bit for bit, at both fidelities; and the batch's end is an image's own business."""
    for load in (load_network, load_circuit):
        network = replace(load(compiled, TARGET), passes=3)
        feed, chip = images(23), chips(1)[0]
        expected = outputs_of(replace(network, batch=5), feed, chip)
        for batch in (1, 8, 64):
            assert np.array_equal(outputs_of(replace(network, batch=batch), feed, chip), expected)
        fewer = Feed({"image": feed.inputs["image"][:7]})
        assert np.array_equal(outputs_of(network, fewer, chip), expected[:7])


def test_values_do_not_depend_on_order_or_jobs(compiled: Compiled) -> None:
    network = replace(load_network(compiled, TARGET), passes=2)
    assert network.masks and network.stack is None
    feed, population = images(20), chips(6)
    score = against_ideal(outputs_of(network, feed, Chip.ideal()))
    alone = evaluate_chips(network, feed, score, population, jobs=1)
    assert len(np.unique(alone)) > 1
    found = evaluate_chips(network, feed, score, population[::-1], jobs=3)
    assert np.array_equal(found[::-1], alone)


def test_both_fidelities_have_the_same_masks(compiled: Compiled) -> None:
    assert load_network(compiled, TARGET).masks == load_circuit(compiled, TARGET).masks


def test_circuits_without_noise_equal_cells(compiled: Compiled) -> None:
    feed = images(6)
    cells = outputs_of(load_network(compiled, TARGET), feed, Chip.ideal())
    circuit = outputs_of(load_circuit(compiled, TARGET), feed, Chip.ideal())
    # float32 sums in another order: a few hundred terms, outputs up to some tens
    np.testing.assert_allclose(circuit, cells, rtol=1e-4, atol=1e-4)


def test_read_noise_does_not_depend_on_the_batch(compiled: Compiled) -> None:
    """Every pass reads anew; the numbers of an image's reads come from its place in the data."""
    target = TARGET.on(None, [parse_noise("read:basis=level,sigma=0.3")])
    network = replace(load_circuit(compiled, target), passes=3)
    feed, chip = images(11), Chip.of(target, 0, 0, 0.1)
    expected = outputs_of(replace(network, batch=4), feed, chip)
    assert np.array_equal(outputs_of(replace(network, batch=11), feed, chip), expected)


MLP = """g (float[N,8] x) => (float[N,3] y) <float[8,12] w, float[12] b, float[12,3] v> {
  [a] h = Gemm (x, w, b)
  [r] s = Relu (h)
  [b] y = MatMul (s, v)
}"""


def mlp(folder: Path, text: str = MLP, rate: float = 0.4) -> tuple[Compiled, Network]:
    onnx.save(proto_of(text), folder / "m.onnx")
    steps = (f"insert-dropout:rate={rate},active=true",)
    compiled = compile_model(
        folder / "m.onnx", TARGET, CompileOptions(passes=steps), output=folder / "m.nvmc"
    )
    return compiled, load_network(compiled, TARGET)


def test_passes_equal_a_slow_oracle(tmp_path: Path) -> None:
    """Image by image and pass by pass in float64, every mask drawn by itself."""
    compiled, network = mlp(tmp_path)
    chip = chips(3)[2]
    bias = onnx.numpy_helper.to_array(
        next(t for t in proto_of(MLP).graph.initializer if t.name == "b")
    )
    weights = {a.name: chip.program(a).weights.astype(float) for a in network.arrays}
    (mask,) = network.masks
    draws = ChipMasks([mask], 0, 2)
    x = stream(0, 0, "x").standard_normal((9, 8), dtype=np.float32)
    expected = np.zeros((9, 3))
    for image in range(9):
        for number in range(4):
            kept = draws.feed(number, image, 1)[mask.input][0]
            hidden = np.maximum(x[image].astype(float) @ weights["w"] + bias, 0) * kept
            powers = np.exp(hidden @ weights["v"])
            expected[image] += powers / powers.sum() / 4
    found = outputs_of(replace(network, passes=4), Feed({"x": x}), chip)
    # scores of a few tens from 12 + 8 products in float32; a softmax has slope at most 1/2
    np.testing.assert_allclose(found, expected, rtol=0, atol=50 * 20 * 2.0**-24)


def test_fixed_batch_is_filled_up(tmp_path: Path) -> None:
    """A model for exactly 4 images draws for each image what the free one draws."""
    (tmp_path / "free").mkdir()
    _, free = mlp(tmp_path / "free")
    _, fixed = mlp(tmp_path, MLP.replace("float[N,", "float[4,"))
    assert fixed.fixed and fixed.batch == 4 and not free.fixed
    feed = Feed({"x": stream(0, 0, "x").standard_normal((10, 8), dtype=np.float32)})
    for passes in (1, 3):
        found, expected = (
            outputs_of(replace(network, passes=passes), feed, chips(1)[0])
            for network in (fixed, free)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_more_passes_come_closer(tmp_path: Path) -> None:
    """The mean over passes converges as 1/sqrt(T)."""
    _, network = mlp(tmp_path)
    feed = Feed({"x": stream(0, 0, "x").standard_normal((200, 8), dtype=np.float32)})
    limit = outputs_of(replace(network, passes=2000), feed, chips(1)[0])
    errors = [
        np.sqrt(np.mean((outputs_of(replace(network, passes=t), feed, chips(1)[0]) - limit) ** 2))
        for t in (2, 32)
    ]
    # 4 by the square root of 16; each error is a mean over 200 images, good to some 10 %
    assert 3 < errors[0] / errors[1] < 5.3


def test_simulate_is_reproducible_and_says_its_passes(compiled: Compiled) -> None:
    options = {"runs": 3, "data": "digits", "limit": 40, "sigma": 0.2}
    one = simulate(compiled, **options)  # pyright: ignore[reportArgumentType]
    assert one.description.mc_passes == 1
    again = simulate(compiled, **options, mc_passes=1, jobs=1, batch=7)  # pyright: ignore
    assert np.array_equal(one.values, again.values) and one.ideal == again.ideal
    many = simulate(compiled, **options, mc_passes=5)  # pyright: ignore[reportArgumentType]
    assert many.description.mc_passes == 5 and many.to_json()["description"]["mc_passes"] == 5
    assert not np.array_equal(many.values, one.values)


def test_passes_of_a_network_that_draws_nothing(tmp_path: Path) -> None:
    onnx.save(proto_of(MLP), tmp_path / "m.onnx")
    compiled = compile_model(tmp_path / "m.onnx", TARGET, output=tmp_path / "m.nvmc")
    assert simulate(compiled, runs=2).description.mc_passes is None
    assert simulate(compiled, runs=2, mc_passes=1).description.mc_passes is None
    with pytest.raises(OptionError, match="no random layers"):
        simulate(compiled, runs=2, mc_passes=2)
    with pytest.raises(OptionError, match="at least 1"):
        simulate(compiled, runs=2, mc_passes=0)
