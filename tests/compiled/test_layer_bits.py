"""Bits per layer: one table of globs for compile, program, the provider and training alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest

from nvmc import Chip, Compiled, Target, compile_model, load_device, make_session, program_chip
from nvmc.cli import main
from nvmc.compiled.options import CompileOptions
from nvmc.errors import OptionError
from nvmc.hardware.encoding import quantize, scale_of
from nvmc.hardware.tiling import Channels
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.io.load import load_model
from nvmc.passes.program_chip import arrays_of
from nvmc.torchgraph.graph import Graph
from nvmc.training.crossbars import Crossbars
from onnx_models import feeds_of
from onnx_text import proto_of

NETWORK = """g (float[N,2,6,6] x) => (float[M,K] y)
<float[4,2,3,3] w1, float[4,4,3,3] w2, float[16,5] w3, float[5] b> {
  a = Conv (x, w1)
  r = Relu (a)
  c = Conv (r, w2)
  f = Flatten (c)
  y = Gemm (f, w3, b)
}"""
SHARED = """g (float[N,4] x) => (float[M,K] y) <float[4,4] w> {
  a = MatMul (x, w)
  r = Relu (a)
  y = MatMul (r, w)
}"""
BITS = {"w1": 1, "w*": 5}
HELD = {"w1": 1, "w2": 5, "w3": 5}


def compiled_network(folder: Path, target: Target, text: str = NETWORK, **options: Any) -> Compiled:
    onnx.save(proto_of(text), folder / "m.onnx")
    chosen = CompileOptions(**options)
    return compile_model(folder / "m.onnx", target, chosen, output=folder / "m.nvmc")


def target_of(device: str = "rram4", **use: Any) -> Target:
    return Target.of(load_device(device), **{"weight_bits": 4, "bits": BITS, **use})


@pytest.mark.parametrize("encoding", ["sign-magnitude", "differential", "offset", "balanced"])
def test_each_layer_has_its_codes_and_cells(encoding: Any, tmp_path: Path) -> None:
    """B is 2, the device's, or H where that is less; planes are ceil(bits / B) per polarity."""
    target = target_of(encoding=encoding)
    compiled = compiled_network(tmp_path, target)
    weights = load_model(tmp_path / "m.onnx").graph.initializers
    rows = {entry.name: entry for entry in compiled.manifest.arrays}
    for array in arrays_of(load_model(compiled.model_path)):
        bits, row = HELD[array.name], rows[array.name]
        weight = weights[array.name].const_value.numpy()
        assert array.place is not None
        channels = Channels(array.place, weight.shape) if bits == 1 else None
        scale = scale_of(weight, bits, channels).astype(np.float32)
        assert np.array_equal(array.scale, scale)
        assert np.array_equal(array.codes, quantize(weight, scale, bits))
        stored = bits + (encoding == "offset" and bits > 1)
        planes = -(-stored // min(2, bits)) * (1 if encoding == "offset" else 2)
        assert (row.weight_bits, row.cell_bits, row.planes) == (bits, min(2, bits), planes)
        assert row.cells == weight.size * planes


def test_every_path_has_the_same_chip(tmp_path: Path) -> None:
    compiled = compiled_network(tmp_path, target_of("fefet2"))
    program_chip(compiled, 3, tmp_path / "chip.onnx", seed=5, sigma=0.2)
    stored = {
        t.name: onnx.numpy_helper.to_array(t)
        for t in onnx.load(tmp_path / "chip.onnx").graph.initializer
    }
    chip = Chip.of(compiled.manifest.target, 5, 3, 0.2)
    for array in arrays_of(load_model(compiled.model_path)):
        assert np.array_equal(stored[array.name], chip.program(array).weights)
    feeds = feeds_of(proto_of(NETWORK))
    found = make_session(compiled.model_path, chip=3, seed=5, sigma=0.2).run(None, feeds)
    stock = onnx.reference.ReferenceEvaluator(str(tmp_path / "chip.onnx")).run(None, feeds)
    # sums of at most 36 products in float32, through three layers
    size = float(np.abs(stock[0]).max())
    np.testing.assert_allclose(found[0], stock[0], rtol=0, atol=3 * 36 * 2**-24 * size * 10)


def test_training_holds_what_compile_does(tmp_path: Path) -> None:
    target = target_of()
    compiled = compiled_network(tmp_path, target)
    model = load_model(tmp_path / "m.onnx")
    Canonicalize()(model)
    crossbars = Crossbars(model, Graph.of(model).weights, target)
    arrays = {array.name: array for array in arrays_of(load_model(compiled.model_path))}
    assert set(arrays) == set(HELD)
    for name, array in arrays.items():
        held = crossbars.held(name)
        assert np.array_equal(held.codes.numpy(), array.codes)
        assert np.array_equal(held.ideal.numpy(), array.ideal)
        assert held.target == array.target
    # sigma per cell, two slices of a 5-bit weight in 2-bit cells and a third: sqrt(1 + 16 + 256)
    spread = crossbars.spread(0.1)
    for name, factor in (("w1", 1.0), ("w2", 273**0.5)):
        expected = np.broadcast_to(0.1 * factor * arrays[name].scale, arrays[name].codes.shape)
        np.testing.assert_allclose(spread[name].numpy(), expected, rtol=1e-6)


def test_names_of_nodes_count_too_and_the_first_match_wins(tmp_path: Path) -> None:
    compiled = compiled_network(tmp_path, target_of())
    node = compiled.manifest.layers[0].name
    other = compiled_network(tmp_path, target_of(bits={node: 3, "w*": 1}))
    assert [entry.weight_bits for entry in other.manifest.arrays] == [3, 1, 1]
    assert [part.arrays for part in other.manifest.target.layers] == [("w1",), ("w2", "w3")]


def test_another_device_keeps_the_codes(tmp_path: Path) -> None:
    target = compiled_network(tmp_path, target_of()).manifest.target
    moved = target.on(load_device("fefet2"))
    assert moved.layers == target.layers and moved.of_array("w2").cell_bits == 2
    with pytest.raises(OptionError, match="cells of layers 'w\\*' hold 2 bits.*2 levels"):
        target_of(weight_bits=1).on(load_device("bitflip"))


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ({"bits": {"w1": 0}}, "bits of 'w1' are 0; expected 1 to 16"),
        ({"bits": {"w1": 17}}, "bits of 'w1' are 17"),
        ({"weight_bits": "none"}, "some layers have bits, but the weights are analog"),
        ({"weight_bits": 1, "bits": {"w1": 1}, "cell_bits": 2}, "cell bits are 2; expected 1 to"),
    ],
)
def test_bits_that_cannot_be(use: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        target_of(**use)


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        ({"v*": 1}, r"glob 'v\*' of the target's layers .* matches no layer or weight; .*\(w1\)"),
        ({"w*": 1, "w1": 2}, "glob 'w1' of .* matches no layer or weight that the globs before it"),
    ],
)
def test_globs_that_decide_nothing_are_refused(
    bits: dict[str, int], message: str, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=message):
        compiled_network(tmp_path, target_of(bits=bits))
    assert not (tmp_path / "m.nvmc").exists()


def first_layer(folder: Path) -> str:
    """Name of the first layer of the network in a folder."""
    model = load_model(folder / "m.onnx")
    Canonicalize()(model)
    return next(str(n.name) for n in model.graph if n.op_type == "MatMul")


def test_a_shared_weight_has_one_number_of_bits(tmp_path: Path) -> None:
    onnx.save(proto_of(SHARED), tmp_path / "m.onnx")
    first = first_layer(tmp_path)
    with pytest.raises(OptionError, match="weight 'w' is shared by layers .* in 1 and .* in 4"):
        compiled_network(tmp_path, target_of(bits={first: 1}), SHARED)


def test_parameters_in_cells_need_more_than_their_sign(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="parameter 'b' .* 1 bit holds its sign only"):
        compiled_network(tmp_path, target_of(weight_bits=1, bits={}), store=("bias",))
    held = compiled_network(tmp_path, target_of(bits={"w*": 1}), store=("bias",)).manifest.arrays
    assert {entry.name: entry.weight_bits for entry in held} == {"w1": 1, "w2": 1, "w3": 1, "b": 4}


@pytest.mark.parametrize("text", ["w1", "=3", "w1=x", "w1=", "w1=2,,"])
def test_what_is_no_bits_says_what_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "zoo:lenet5-digits", "--bits", text]) == 1
    assert "expected GLOB=H, such as 'conv*=1,fc*=6'" in capsys.readouterr().err
