"""Several chips in one model: what one chip a model computes, and only where it pays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from compiled_networks import load_network
from nvmc import Chip, Target, compile_model, load_device
from nvmc.metrics.accuracy import Accuracy
from nvmc.models import resolve_model
from nvmc.rng import stream
from nvmc.runtime.montecarlo import Feed, Network, evaluate_chips, outputs_of
from onnx_text import proto_of

TARGET = Target.of(load_device("fefet1"))

TAIL = "f = Flatten (p) y = Gemm <transB = 1> (f, v)"
PAYS = {
    "relu, pool": f"""g (float[N,1,8,8] x) => (float[N,M] y) <float[6,1,3,3] w, float[6] b,
    float[5,54] v> {{ c = Conv (x, w, b) r = Relu (c)
    p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (r) {TAIL} }}""",
    "no bias, scalars, average": f"""g (float[N,3,8,8] x) => (float[N,M] y)
    <float[10,3,3,3] w, float[5,90] v, float s = {{0.5}}, float[1] t = {{2.0}}> {{ c = Conv (x, w)
    d = Div (c, s) e = Round (d) h = Mul (e, t) a = Sigmoid (h)
    p = AveragePool <kernel_shape = [2,2], strides = [2,2]> (a) {TAIL} }}""",
    "images prepared first": f"""g (float[N,1,8,8] x) => (float[N,M] y) <float[4,1,3,3] w,
    float[5,144] v, float m = {{0.3}}> {{ z = Sub (x, m) p = Conv (z, w) {TAIL} }}""",
    "a channel constant in between": f"""g (float[N,1,8,8] x) => (float[N,M] y)
    <float[4,1,3,3] w, float[5,144] v, float[4,1,1] k> {{ c = Conv (x, w) p = Mul (c, k)
    {TAIL} }}""",
    "read twice": f"""g (float[N,1,8,8] x) => (float[N,M] y) <float[4,1,3,3] w, float[5,144] v> {{
    c = Conv (x, w) r = Relu (c) p = Add (r, c) {TAIL} }}""",
    "the output itself": """g (float[N,1,6,6] x) => (float[N,C,H,W] y) <float[4,1,3,3] w> {
    c = Conv (x, w) y = Tanh (c) }""",
    "two first layers": f"""g (float[N,1,8,8] x) => (float[N,M] y) <float[4,1,3,3] w,
    float[4,1,3,3] u, float[5,144] v> {{ c = Conv (x, w) d = Conv (x, u) p = Add (c, d)
    {TAIL} }}""",
}
DOES_NOT = {
    "lanes are full": "<float[16,1,3,3] w> { y = Conv (x, w) }",
    "grouped": "<float[4,1,3,3] w> { z = Concat <axis = 1> (x, x) y = Conv <group = 2> (z, w) }",
    "weights shared": "<float[1,1,3,3] w> { c = Conv (x, w) y = Conv (c, w) }",
    "no convolution": "<float[8,5] w> { y = MatMul (x, w) }",
}


def network_of(text: str, folder: Path) -> Network:
    onnx.save(proto_of(text), folder / "m.onnx")
    compiled = compile_model(folder / "m.onnx", TARGET, output=folder / "m.nvmc")
    return load_network(compiled, TARGET)


def chips(count: int) -> list[Chip]:
    return [Chip.of(TARGET, 0, index, 0.3) for index in range(count)]


class Projection:
    """The outputs' scalar product with fixed random numbers, in float64."""

    metric = "projection"
    shape = ()
    whole = False

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._numbers = stream(0, 0, "projection").standard_normal(shape)

    def add(self, outputs: np.ndarray, first: int) -> float:
        return float(np.sum(outputs * self._numbers[first : first + len(outputs)]))

    def finish(self, total: float, images: int) -> float:
        return total


@pytest.mark.parametrize("text", PAYS.values(), ids=PAYS)
def test_a_stack_computes_what_its_chips_do(text: str, tmp_path: Path) -> None:
    """A projection on random numbers shows a change of any bit; 11 chips fill no stack evenly."""
    network = network_of(text, tmp_path)
    assert network.stack is not None
    onnx.checker.check_model(onnx.ModelProto.FromString(_filled(network.stack.model)))
    dims = proto_of(text).graph.input[0].type.tensor_type.shape.dim
    sizes = (5, *(dim.dim_value for dim in dims[1:]))
    feed = Feed({"x": stream(0, 0, "x").standard_normal(sizes, dtype=np.float32)})
    ideal = outputs_of(network, feed, Chip.ideal())
    score = Projection(ideal.shape)
    alone = evaluate_chips(replace(network, stack=None), feed, score, chips(11), jobs=1)
    assert len(np.unique(alone)) == 11
    together = evaluate_chips(network, feed, score, chips(11), jobs=2)
    # onnxruntime may take another kernel for a wide layer, which sums in another order: at most
    # 144 products a sum, in two layers, of random sign, 2 * sqrt(144) * 2^-24 of an output's
    # size; outputs count for at most 4 in the projection
    size = 4 * float(np.abs(ideal).sum())
    np.testing.assert_allclose(together, alone, rtol=0, atol=2 * 12 * 2.0**-24 * size)
    # the same bits at any place of a stack, with any neighbours
    assert np.array_equal(
        evaluate_chips(network, feed, score, chips(11)[::-1], jobs=1), together[::-1]
    )


def _filled(model: bytes) -> bytes:
    """The model with zeros for the weights that are not there."""
    proto = onnx.ModelProto.FromString(model)
    for tensor in proto.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            zeros = np.zeros(tuple(tensor.dims), np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(zeros, tensor.name))
    return proto.SerializeToString()


@pytest.mark.parametrize("body", DOES_NOT.values(), ids=DOES_NOT)
def test_where_it_does_not_pay_there_is_none(body: str, tmp_path: Path) -> None:
    network = network_of(f"g (float[N,1,8,8] x) => (float[N,C,H,W] y) {body}", tmp_path)
    assert network.stack is None


def test_large_networks_are_not_repeated(tmp_path: Path) -> None:
    text = """g (float[N,1,34,34] x) => (float[N,M] y) <float[4,1,3,3] w, float[300,4096] v> {
    c = Conv (x, w) f = Flatten (c) y = Gemm <transB = 1> (f, v) }"""
    assert network_of(text, tmp_path).stack is None


def test_lenet_is_stacked_by_eight(tmp_path: Path) -> None:
    """6 channels fill a third of 16 lanes; 8 chips fill three registers."""
    source = resolve_model("zoo:lenet5-digits")
    network = load_network(compile_model(source, TARGET, output=tmp_path / "l.nvmc"), TARGET)
    assert network.stack is not None and network.stack.count == 8
    assert network.stack.joined == {"conv1.weight"}
    feed = Feed({"image": stream(0, 0, "x").random((20, 1, 28, 28), dtype=np.float32)})
    score = Accuracy(np.arange(20) % 10)
    values = evaluate_chips(network, feed, score, chips(10), jobs=2)
    alone = evaluate_chips(replace(network, stack=None), feed, score, chips(10), jobs=2)
    assert np.array_equal(values, alone)
