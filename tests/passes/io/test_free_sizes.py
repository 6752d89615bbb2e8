"""Whatever an exporter writes for a size that it leaves open, the network is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nvmc import compile_model, simulate
from nvmc.hardware.devices import Periphery, Target
from nvmc.passes.io.load import load_model

SPELLINGS = [-1, -2, 0, "?", "", "-1", None]


def _saved(path: Path, size: Any) -> Path:
    """A convolution and a matrix product, behind inputs of (size, 1, 8, 8)."""
    draws = np.random.default_rng(0)
    kernel = draws.standard_normal((4, 1, 3, 3)).astype(np.float32)
    matrix = draws.standard_normal((144, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["a"]),
        helper.make_node("Flatten", ["a"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["y"]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", TensorProto.FLOAT, [size, 1, 8, 8])],
        [info("y", TensorProto.FLOAT, [size, 3])],
        [numpy_helper.from_array(kernel, "w"), numpy_helper.from_array(matrix, "v")],
        value_info=[info("a", TensorProto.FLOAT, [size, 4, 6, 6])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


@pytest.mark.parametrize("periphery", [Periphery(), Periphery(dac_bits=8, adc_bits=8)])
def test_every_spelling_gives_the_named_networks_chips(
    tmp_path: Path, periphery: Periphery
) -> None:
    draws = np.random.default_rng(1)
    images = draws.random((40, 1, 8, 8)).astype(np.float32), draws.integers(0, 3, 40)
    target = Target.of("fefet2", weight_bits=4, periphery=periphery)
    found: dict[Any, Any] = {}
    for size in ["N", *SPELLINGS]:
        model = _saved(tmp_path / "net.onnx", size)
        compiled = compile_model(model, target, output=tmp_path / "net.nvmc")
        values = simulate(compiled, data=images, runs=3, jobs=1, sigma=0.5).values
        found[size] = [*values, *(layer.products for layer in compiled.manifest.layers)]
        assert compiled.manifest.inputs[0].shape == ["N" if size == "N" else None, 1, 8, 8]
    assert all(facts == found["N"] for facts in found.values())
    assert len({*found["N"][:3]}) > 1  # chips differ, so equal values say something


def test_two_unknown_sizes_need_not_be_one(tmp_path: Path) -> None:
    path = _saved(tmp_path / "net.onnx", "?")
    proto = onnx.load(path)
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "?"
    onnx.save(proto, path)
    shape = load_model(path).graph.inputs[0].shape
    assert shape is not None
    assert [getattr(size, "value", size) for size in shape] == [None, 1, None, 8]


def test_a_value_of_no_size_is_left_to_inference(tmp_path: Path) -> None:
    path = _saved(tmp_path / "net.onnx", 0)
    values = {v.name: v for node in load_model(path).graph for v in node.outputs}
    assert values["a"].shape is None
