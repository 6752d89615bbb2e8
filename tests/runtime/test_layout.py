"""A network that is laid out once gives the bits of one that is optimised for each chip."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Target, load_device
from nvmc.passes.follow_weights import Form
from nvmc.runtime import networks
from nvmc.runtime.layout import Layouts, lay_out
from nvmc.runtime.memory import LARGE
from nvmc.runtime.montecarlo import Network, open_session
from nvmc.runtime.networks import laid_out
from nvmc.runtime.sessions import open_model

FLOAT = onnx.TensorProto.FLOAT
SHAPES = {
    "stem": (24, 3, 3, 3),  # fewer inputs than lanes: only output channels in blocks
    "wide": (32, 24, 3, 3),
    "odd": (20, 32, 1, 1),  # no whole blocks
    "each": (20, 1, 3, 3),  # one group a channel
    "dense": (30, 80),
    "turned": (30, 9),
}


def model_of(nodes: list[onnx.NodeProto], shapes: dict[str, tuple[int, ...]], image: list[Any]):
    """A serialised network whose weights are absent."""
    absent = [onnx.TensorProto(name=n, data_type=FLOAT, dims=s) for n, s in shapes.items()]
    for tensor in absent:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        length = 4 * int(np.prod(tensor.dims))
        for key, value in (("location", "detached"), ("offset", 0), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
    biases = [
        onnx.numpy_helper.from_array(np.linspace(-1, 1, n, dtype=np.float32), f"b{n}")
        for n in (9, 20)
    ]
    x = helper.make_tensor_value_info("x", FLOAT, image)
    y = helper.make_tensor_value_info("y", FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], absent + biases)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def several() -> bytes:
    """Convolutions in all forms, sums that are fused into them, and both dense operators."""
    node = helper.make_node
    return model_of(
        [
            node("Conv", ["x", "stem"], ["a"], pads=[1] * 4),
            node("Relu", ["a"], ["ar"]),
            node("Conv", ["ar", "wide"], ["b"], pads=[1] * 4),
            node("Conv", ["b", "odd", "b20"], ["c"]),
            node("Conv", ["c", "each"], ["d"], group=20, pads=[1] * 4),
            node("Add", ["c", "d"], ["e"]),
            node("Relu", ["e"], ["er"]),
            node("MaxPool", ["er"], ["f"], kernel_shape=[4, 4], strides=[4, 4]),
            node("Flatten", ["f"], ["flat"]),
            node("Gemm", ["flat", "dense"], ["h"], transB=1),
            node("Sigmoid", ["h"], ["hs"]),
            node("MatMul", ["hs", "turned"], ["i"]),
            node("Add", ["i", "b9"], ["y"]),
        ],
        SHAPES,
        [None, 3, 8, 8],
    )


def weights_of(shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(0)
    return {name: random.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def test_bits_are_those_of_a_session_with_optimisation() -> None:
    model, weights = several(), weights_of(SHAPES)
    found = lay_out(model, tuple(SHAPES))
    assert found is not None
    assert {form.source for form in found.network.forms.values()} == set(SHAPES)
    session = found.session(weights.__getitem__)
    expected = open_model(model, weights)
    for images in (1, 2, 7):
        x = np.random.default_rng(images).standard_normal((images, 3, 8, 8), np.float32)
        got, want = (s.run(None, {"x": x})[0] for s in (session, expected))
        assert got.tobytes() == want.tobytes()


def test_a_session_keeps_weights_for_itself_and_lets_packed_ones_go() -> None:
    """They are neither freed too early nor held twice."""
    found = lay_out(several(), tuple(SHAPES))
    assert found is not None
    weights = weights_of(SHAPES)
    before = {name: sys.getrefcount(weight) for name, weight in weights.items()}
    session = found.session(weights.__getitem__)
    held = {n for n, weight in weights.items() if sys.getrefcount(weight) > before[n]}
    assert not held & {"dense", "turned"}
    assert found.network.packed == 4 * (30 * 80 + 30 * 9)
    x = np.ones((1, 3, 8, 8), np.float32)
    first = session.run(None, {"x": x})[0]
    weights.clear()
    _ = [np.full(4000, np.nan, np.float32) for _ in range(100)]
    assert session.run(None, {"x": x})[0].tobytes() == first.tobytes()


@pytest.mark.parametrize("inputs", [32, 20])
@pytest.mark.parametrize("block", [8, 16])
@pytest.mark.parametrize("both", [True, False])
def test_forms_are_blocks_of_channels(block: int, both: bool, inputs: int) -> None:
    """[O/b, I/b, H, W, b, b] or [O/b, I, H, W, b], element by element, padded with zeros."""
    weight = np.arange(20 * inputs * 2 * 3, dtype=np.float32).reshape(20, inputs, 2, 3) + 1
    padded = -(-20 // block) * block
    inner = block if both else 1
    width = -(-inputs // inner) * inner
    found = Form("w", (padded, width, 2, 3), block, both).of(weight)
    assert found.shape == (padded, width, 2, 3)
    blocks = found.reshape(padded // block, width // inner, 2, 3, inner, block)
    for o, i, h, w in np.ndindex(padded, width, 2, 3):
        value = blocks[o // block, i // inner, h, w, i % inner, o % block]
        assert value == (weight[o, i, h, w] if o < 20 and i < inputs else 0)


def scaled() -> tuple[bytes, dict[str, tuple[int, ...]]]:
    """A factor that onnxruntime multiplies into the weight."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"]),
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Mul", ["h", "two"], ["y"]),
    ]
    shapes: dict[str, tuple[int, ...]] = {"w": (16, 16, 3, 3)}
    return model_of(nodes, shapes, [1, 16, 8, 8]), shapes


def computed() -> tuple[bytes, dict[str, tuple[int, ...]]]:
    """A weight that is used as it is and, elsewhere, computed with."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Exp", ["w"], ["e"]),
        helper.make_node("MatMul", ["h", "e"], ["y"]),
    ]
    shapes: dict[str, tuple[int, ...]] = {"w": (32, 32)}
    return model_of(nodes, shapes, [1, 32]), shapes


@pytest.mark.parametrize("make", [scaled, computed])
def test_weights_that_are_computed_with_are_left_to_onnxruntime(make: Any) -> None:
    model, shapes = make()
    assert lay_out(model, tuple(shapes)) is None
    assert lay_out(model, ("another",)) is None


def network(shape: tuple[int, int]) -> Network:
    target = Target.of(load_device("fefet2"))
    codes = np.ones(shape, np.int8)
    array = Array("w", codes, np.asarray(0.5, np.float32), target)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = model_of([node], {"w": shape}, [None, shape[0]])
    return Network(model, "y", 1, arrays=(array,), dtypes={"w": np.dtype(np.float32)})


def test_large_networks_are_laid_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = network((8, 8)), network((LARGE // 4 // 1024, 1024))
    assert laid_out(small) is None
    found = laid_out(large)
    assert found is not None and laid_out(large) is found
    copy: Network = pickle.loads(pickle.dumps(large))
    assert isinstance(copy.layouts, Layouts) and laid_out(copy) is not found
    chip, x = Chip.of(large.arrays[0].target, 0, 0), np.ones((1, LARGE // 4096), np.float32)
    y = open_session(large, chip).run(None, {"x": x})[0]
    monkeypatch.setattr(networks, "LARGE", LARGE + 1)
    assert laid_out(large) is None
    assert open_session(large, chip).run(None, {"x": x})[0].tobytes() == y.tobytes()
