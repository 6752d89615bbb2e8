"""A chip is the same chip on every path: program, simulate, provider; and stock is ideal."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from compiled_networks import load_network
from nvmc import Chip, Compiled, Target, compile_model, load_device, make_session, program_chip
from nvmc.compiled.options import CompileOptions
from nvmc.hardware.devices import parse_noise
from nvmc.passes.io.load import load_model
from nvmc.passes.program_chip import arrays_of
from nvmc.runtime.montecarlo import open_session
from onnx_models import MAPPED, feeds_of
from onnx_text import proto_of

SEED, INDEX = 5, 3
TARGETS = {
    "fefet2": Target.of(load_device("fefet2")),
    "differential": Target.of(
        load_device("rram4"), weight_bits=5, encoding="differential", per_channel=True
    ),
    "offset": Target.of(load_device("fefet1"), weight_bits=6, encoding="offset"),
    "bitflip": Target.of(load_device("bitflip")),
    "one bit": Target.of(load_device("bitflip"), weight_bits=1, encoding="offset"),
    "analog": Target.of(load_device("reram-lognormal")),
}


def run(session: ort.InferenceSession, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    return session.run(None, feeds)


def stock(path: Path) -> ort.InferenceSession:
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"])


def assert_close(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """Equal but for the order of float32 sums.

    A sum of K products is off by at most K eps sum|w x|, and for terms of either sign sum|w x| is
    about sqrt(K) times the sum's size; K is at most 144 here and at most two layers follow each
    other, so 2 * 144^1.5 * 2^-24 = 2.1e-4 of the output's size bounds it.
    """
    for one, two in zip(found, expected, strict=True):
        size = float(np.max(np.abs(two), initial=1e-6))
        np.testing.assert_allclose(one, two, rtol=0, atol=2.1e-4 * size)


def compiled_network(name: str, target: Target, folder: Path) -> tuple[onnx.ModelProto, Compiled]:
    proto = proto_of(MAPPED[name][1])
    onnx.save(proto, folder / "m.onnx")
    return proto, compile_model(folder / "m.onnx", target, output=folder / "m.nvmc")


Networks = Callable[[str, str], tuple[onnx.ModelProto, Compiled]]


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    """A network of `MAPPED` for one of `TARGETS`; each is compiled once."""

    @cache
    def made(name: str, target: str) -> tuple[onnx.ModelProto, Compiled]:
        return compiled_network(name, TARGETS[target], tmp_path_factory.mktemp("network"))

    return made


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", MAPPED)
def test_every_path_is_the_same_chip(
    name: str, target: str, networks: Networks, tmp_path: Path
) -> None:
    proto, compiled = networks(name, target)
    feeds = feeds_of(proto)
    program_chip(compiled, INDEX, tmp_path / "chip.onnx", seed=SEED)
    programmed = run(stock(tmp_path / "chip.onnx"), feeds)
    provider = make_session(compiled.model_path, chip=INDEX, seed=SEED)
    assert "NvmcExecutionProvider" in provider.get_providers()
    assert_close(run(provider, feeds), programmed)
    network = load_network(compiled, TARGETS[target])
    simulated = run(open_session(network, Chip.of(TARGETS[target], SEED, INDEX)), feeds)
    for one, two in zip(simulated, programmed, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", MAPPED)
def test_stock_onnxruntime_runs_the_ideal_chip(name: str, target: str, networks: Networks) -> None:
    proto, compiled = networks(name, target)
    onnx.checker.check_model(str(compiled.model_path), full_check=True)
    feeds = feeds_of(proto)
    ideal = run(stock(compiled.model_path), feeds)
    network = load_network(compiled, TARGETS[target])
    assert_close(run(open_session(network, Chip.ideal()), feeds), ideal)
    assert_close(run(make_session(compiled.model_path, chip="ideal"), feeds), ideal)
    if TARGETS[target].weight_bits is None:
        assert_close(ideal, run(ort.InferenceSession(proto.SerializeToString()), feeds))


def test_parameters_in_cells_are_the_same_chip_on_every_path(tmp_path: Path) -> None:
    """Biases and normalisation parameters drift, and drift alike everywhere."""
    text = """g (float[2,3,6,6] x) => (float[N,C,H,W] y)
    <float[4,3,3,3] w, float[4] b, float[4] s, float[4] t, float[4] m,
     float[4] v = {1.0, 2.0, 0.5, 0.7}> {
      c = Conv (x, w, b)
      y = BatchNormalization (c, s, t, m, v)
    }"""
    target = TARGETS["differential"]
    onnx.save(proto_of(text), tmp_path / "m.onnx")
    compiled = compile_model(
        tmp_path / "m.onnx",
        target,
        CompileOptions(store=("bias", "norm")),
        output=tmp_path / "m.nvmc",
    )
    assert {array.name for array in compiled.manifest.arrays} == set("wbst")
    chip = Chip.of(target, SEED, INDEX, 0.05)
    program_chip(compiled, INDEX, tmp_path / "chip.onnx", seed=SEED, sigma=0.05)
    stored = {t.name: t for t in onnx.load(tmp_path / "chip.onnx").graph.initializer}
    for array in arrays_of(load_model(compiled.model_path)):
        weights = onnx.numpy_helper.to_array(stored[array.name])
        assert np.array_equal(weights, chip.program(array).weights)
        assert np.all(weights != array.ideal)
    feeds = feeds_of(proto_of(text))
    programmed = run(stock(tmp_path / "chip.onnx"), feeds)
    assert_close(
        run(make_session(compiled.model_path, chip=INDEX, seed=SEED, sigma=0.05), feeds), programmed
    )
    simulated = run(open_session(load_network(compiled, target), chip), feeds)
    np.testing.assert_array_equal(simulated[0], programmed[0])


def test_noise_is_there(tmp_path: Path) -> None:
    """The comparisons above would also pass if no path applied any noise."""
    proto, compiled = compiled_network("conv2d", TARGETS["fefet2"], tmp_path)
    feeds = feeds_of(proto)
    ideal = run(make_session(compiled.model_path, chip="ideal"), feeds)[0]
    chips = [run(make_session(compiled.model_path, chip=k), feeds)[0] for k in range(3)]
    for one, other in [(chips[0], ideal), (chips[0], chips[1]), (chips[1], chips[2])]:
        assert np.max(np.abs(one - other)) > 1e-2 * np.max(np.abs(ideal))


def test_cells_file_is_the_chip(tmp_path: Path) -> None:
    """From the cells alone, Eq. 14 gives back the weights of the programmed model."""
    target = TARGETS["differential"]
    _, compiled = compiled_network("conv2d", target, tmp_path)
    program_chip(
        compiled, INDEX, tmp_path / "c.onnx", seed=SEED, sigma=0.2, cells=tmp_path / "c.npz"
    )
    cells = np.load(tmp_path / "c.npz")
    programmed = {t.name: t for t in onnx.load(tmp_path / "c.onnx").graph.initializer}
    for array in arrays_of(load_model(compiled.model_path)):
        levels = cells[f"{array.name}/programmed"].astype(np.float64)
        slices = [4**i * (levels[2 * i] - levels[2 * i + 1]) for i in range(len(levels) // 2)]
        weights = onnx.numpy_helper.to_array(programmed[array.name])
        expected = array.scale * sum(slices)
        # float32 sums of at most 6 terms below 4^3, times the scale
        bound = 6 * 2.0**-23 * 64 * float(array.scale.max())
        np.testing.assert_allclose(weights, expected, rtol=0, atol=bound)
        assert np.array_equal(cells[f"{array.name}/target"], array.cells.targets)
        python = Chip.of(target, SEED, INDEX, 0.2).program(array)
        assert np.array_equal(python.levels, cells[f"{array.name}/programmed"])


def test_a_tile_offset_is_the_same_on_every_path(tmp_path: Path) -> None:
    """What tile a cell sits on is worked out by each path from the graph alone."""
    device = load_device("rram4").with_noise([parse_noise("global:sigma=0.5,scope=tile")])
    target = Target.of(device, rows=8, cols=4)
    for name in MAPPED:
        folder = tmp_path / name
        folder.mkdir()
        proto, compiled = compiled_network(name, target, folder)
        feeds = feeds_of(proto)
        program_chip(compiled, INDEX, folder / "chip.onnx", seed=SEED)
        provider = make_session(compiled.model_path, chip=INDEX, seed=SEED)
        assert_close(run(provider, feeds), run(stock(folder / "chip.onnx"), feeds))
