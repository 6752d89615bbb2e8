from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nvmc.cli import main
from nvmc.compiled.artifact import open_compiled
from nvmc.compiler import compile_model
from nvmc.errors import OptionError
from nvmc.evaluation.chip_file import program_chip
from nvmc.hardware.devices import LayerTarget, Periphery, Target
from nvmc.passes.graph.assumptions import assumptions_of
from nvmc.passes.map_bias import MapBias
from onnx_models import feeds_of, run_proto
from onnx_text import proto_of

MOVED = {
    "gemm": """g (float[2,3] x) => (float[2,4] y) <float[3,4] w, float[4] b> {
      y = Gemm (x, w, b)
    }""",
    "gemm transposed": """g (float[2,3] x) => (float[2,4] y) <float[4,3] w, float[1,4] b> {
      h = Gemm <transB = 1, alpha = 0.5, beta = 3.0> (x, w, b)
      y = Relu (h)
    }""",
    "gemm of a scalar": """g (float[2,3] x) => (float[2,4] y) <float[3,4] w, float b = {0.7}> {
      y = Gemm (x, w, b)
    }""",
    "matmul": """g (float[2,5,3] x) => (float[2,5,4] y) <float[3,4] w, float[4] b> {
      h = MatMul (x, w)
      y = Add (b, h)
    }""",
    "conv": """g (float[2,3,5,6] x) => (float[2,4,3,4] y) <float[4,3,3,3] w, float[4] b> {
      y = Conv <pads = [1, 2, 1, 1], strides = [2, 2]> (x, w, b)
    }""",
    "groups": """g (float[N,6,9] x) => (float[N,4,7] y) <float[4,3,2] w, float[4] b> {
      y = Conv <group = 2, pads = [1, 1], dilations = [4]> (x, w, b)
    }""",
    "depthwise": """g (float[1,4,5,5] x) => (float[1,4,5,5] y) <float[4,1,3,3] w, float[4] b> {
      h = Conv <group = 4, pads = [1, 1, 1, 1]> (x, w, b)
      y = Relu (h)
    }""",
}

KEPT = {
    "bias at run time": (
        """g (float[2,3] x, float[4] b) => (float[2,4] y) <float[3,4] w> { y = Gemm (x, w, b) }""",
        "computed at run time",
    ),
    "shared weight": (
        """g (float[2,3] x) => (float[2,3] y) <float[3,3] w, float[3] b> {
          h = Gemm (x, w, b)
          y = MatMul (h, w)
        }""",
        "used by several nodes",
    ),
    "rows that differ": (
        """g (float[2,3] x) => (float[2,4] y) <float[3,4] w, float[2,4] b> {
          y = Gemm (x, w, b)
        }""",
        "differs from row to row",
    ),
    "transposed": (
        """g (float[1,4,5,5] x) => (y) <float[4,2,3,3] w, float[2] b> {
          y = ConvTranspose (x, w, b)
        }""",
        "that of ConvTranspose is not laid on rows",
    ),
    "inputs in columns": (
        """g (float[3,2] x) => (float[2,4] y) <float[3,4] w, float[4] b> {
          y = Gemm <transA = 1> (x, w, b)
        }""",
        "lie in columns",
    ),
}


@pytest.mark.parametrize("drive", [1.0, 0.3])
@pytest.mark.parametrize("name", MOVED)
def test_the_bias_goes_and_the_network_stays(name: str, drive: float) -> None:
    proto = proto_of(MOVED[name])
    model = ir.from_proto(proto)
    assert MapBias(drive)(model).modified
    found = ir.to_proto(model)
    onnx.checker.check_model(found, full_check=True)
    assert all(node.op_type != "Add" and len(node.input) < 4 for node in found.graph.node)
    layer = next(node for node in found.graph.node if node.op_type in ("Conv", "Gemm", "MatMul"))
    assert len(layer.input) == 2
    before, after = (
        {t.name: onnx.numpy_helper.to_array(t) for t in each.graph.initializer}["w"]
        for each in (proto, found)
    )
    assert np.abs(after).max() <= np.abs(before).max() * (1 + 1e-5)  # no larger step of codes
    feeds = feeds_of(proto)
    # At most 54 + 9 products of order 1 are rounded at other places
    for one, other in zip(run_proto(found, feeds), run_proto(proto, feeds), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=63 * 2**-24 * 4)
    assert not MapBias(drive)(model).modified


def test_the_fewest_rows_are_taken() -> None:
    """Whole kernels of a convolution: weights of 1 or less, a bias of 2.5, driven with 0.5."""
    text = """g (float[2,3] x) => (float[2,2] y) <float[3,2] w, float[2] b = {2.5, -0.5}> {
      y = Gemm (x, w, b)
    }"""
    model = ir.from_proto(proto_of(text))
    model.graph.initializers["w"].const_value = ir.tensor(np.eye(3, 2, dtype=np.float32))
    MapBias(0.5)(model)
    weight = model.graph.initializers["w"].const_value
    assert weight is not None and weight.shape == (3 + 5, 2)
    np.testing.assert_allclose(weight.numpy()[3:], [[1.0, -0.2]] * 5)
    (note,) = assumptions_of(model)
    assert "is 5 rows of cells, driven with 0.5" in note
    conv = ir.from_proto(proto_of(MOVED["conv"]))
    MapBias(1000.0)(conv)
    weight = conv.graph.initializers["w"].const_value
    assert weight is not None and weight.shape == (4, 3 + 1, 3, 3)  # 9 rows


@pytest.mark.parametrize("name", KEPT)
def test_what_stays_digital_is_said(name: str) -> None:
    text, reason = KEPT[name]
    model = ir.from_proto(proto_of(text))
    assert not MapBias()(model).modified
    (note,) = assumptions_of(model)
    assert "stays digital" in note and reason in note


def test_a_bias_of_zeros_needs_no_rows() -> None:
    text = """g (float[2,3] x) => (float[2,2] y) <float[3,2] w, float[2] b = {0.0, 0.0}> {
      y = Gemm (x, w, b)
    }"""
    model = ir.from_proto(proto_of(text))
    assert not MapBias()(model).modified and not assumptions_of(model)


def test_what_cannot_be_is_refused() -> None:
    text = """g (float[2,3] x) => (float[2,2] y) <float[3,2] w, float[2] b = {9000.0, 0.0}> {
      y = Gemm (x, w, b)
    }"""
    with pytest.raises(OptionError, match=r"needs .* rows: it is up to 9000, and a row of the"):
        MapBias()(ir.from_proto(proto_of(text)))
    with pytest.raises(OptionError, match=r"drive is 0\.0; expected a finite number above 0"):
        MapBias(0.0)
    binary = Target.of("fefet2", weight_bits=1, periphery=Periphery(bias="rows"))
    with pytest.raises(OptionError, match="cannot be rows of 1-bit weights"):
        MapBias(target=binary)(ir.from_proto(proto_of(MOVED["gemm"])))


TWO = """g (float[N,3] x) => (float[N,2] y)
    <float[3,4] w1, float[4] b1, float[4,2] w2, float[2] b2> {
  h = Gemm (x, w1, b1)
  a = Relu (h)
  y = Gemm (a, w2, b2)
}"""


def network(folder: Path) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(proto_of(TWO).SerializeToString())
    return path


def test_layers_choose_and_data_say_what_rows_are_driven_with(tmp_path: Path) -> None:
    x = np.random.default_rng(1).random((40, 3), dtype=np.float32) * 5
    layers = (LayerTarget(glob="w2", bias="rows"),)
    target = Target.of("ideal", weight_bits=8, cell_bits=8, layers=layers)
    found = compile_model(
        network(tmp_path), target, output=tmp_path / "net.nvmc", data=(x, np.zeros(40, np.int64))
    )
    rows = {array.name: array.rows for array in found.manifest.arrays}
    assert rows["w1"] == 3 and rows["w2"] > 4
    (note,) = found.manifest.assumptions
    w1, b1 = (
        onnx.numpy_helper.to_array(t) for t in proto_of(TWO).graph.initializer if t.name in "w1b1"
    )
    largest = np.maximum(x @ w1 + b1, 0).max()
    assert f"driven with {largest:g} (the largest input on" in note


def test_a_chips_bias_is_as_noisy_as_its_cells(tmp_path: Path) -> None:
    """At an input of 0 a digital bias is exact, one on rows is what its cells hold."""
    outputs: dict[str, Any] = {}
    for bias in ("digital", "rows"):
        target = Target.of(
            "rram4", weight_bits=8, periphery=Periphery.model_validate({"bias": bias})
        )
        folder = tmp_path / f"{bias}.nvmc"
        found = compile_model(network(tmp_path), target, output=folder)
        assert (found.manifest.target.periphery.bias == "rows") is (bias == "rows")
        chips = []
        for chip in (0, 1):
            path = tmp_path / f"{bias}{chip}.onnx"
            program_chip(found, chip, output=path, sigma=0.3)
            zeros = {"x": np.zeros((1, 3), np.float32)}
            chips.append(run_proto(onnx.load(path), zeros)[0])
        outputs[bias] = chips
    ideal = run_proto(proto_of(TWO), {"x": np.zeros((1, 3), np.float32)})[0]
    assert not np.allclose(outputs["rows"][0], outputs["rows"][1])
    assert not np.allclose(outputs["rows"][0], ideal, rtol=1e-3)


def test_the_command_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, folder = network(tmp_path), str(tmp_path / "n.nvmc")
    assert main(["compile", str(path), "-o", folder, "--bias", "rows"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "row of cells, driven with 1" in said or "rows of cells, driven with 1" in said
    found = {array.name: array.rows for array in open_compiled(folder).manifest.arrays}
    assert found["w1"] > 3 and found["w2"] > 4
    assert main(["simulate", folder, "--runs", "1", "--sigma", "0.1"]) == 0
    assert "biases on rows of cells" in " ".join(capsys.readouterr().out.split())
    assert main(["compile", str(path), "-o", folder]) == 0
    assert "bias" not in open_compiled(folder).manifest.target.periphery.model_dump()
    out = str(tmp_path / "rows.onnx")
    assert main(["transform", str(path), "--pass", "map-bias:drive=2", "-o", out]) == 0
    assert "Pad" in {node.op_type for node in onnx.load(out).graph.node}


def test_training_refuses_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    path = network(tmp_path)
    data = str(tmp_path / "d.npz")
    np.savez(data, x=np.zeros((8, 3), np.float32), y=np.arange(8) % 2)
    assert main(["train", str(path), "--data", data, "--bias", "rows", "--sigma", "0.1"]) == 1
    assert "write it with nvmc transform --pass map-bias" in capsys.readouterr().err
