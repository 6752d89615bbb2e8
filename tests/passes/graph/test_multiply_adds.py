"""Multiply-adds per image: with every number 1, a linear network's outputs add up to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from nvmc.compiled.options import CompileOptions
from nvmc.compiled.work import Work
from nvmc.compiler import map_network
from nvmc.errors import ModelError, OptionError
from nvmc.hardware.devices import Target, load_device
from nvmc.passes.graph.multiply_adds import ASSUMED
from onnx_models import run_proto
from onnx_text import proto_of

TARGET = Target.of(load_device("fefet2"))

LINEAR = {
    "conv": "g (float[N,4,7,6] x) => (y) <float[6,2,3,2] w> {"
    " y = Conv <group = 2, strides = [2,1], dilations = [1,2]> (x, w) }",
    "conv1d": "g (float[N,4,9] x) => (y) <float[6,4,3] w> { y = Conv (x, w) }",
    "transposed": "g (float[N,4,3,5] x) => (y) <float[4,3,2,3] w> {"
    " y = ConvTranspose <group = 2, strides = [2,2]> (x, w) }",
    "gemm": "g (float[N,5] x) => (y) <float[7,5] w> { y = Gemm <transB = 1> (x, w) }",
    "matmul": "g (float[N,3,5] x) => (y) <float[5,7] w> { y = MatMul (x, w) }",
    "left": "g (float[N,3,5] x) => (y) <float[7,3] w> { y = MatMul (w, x) }",
    "stacked": "g (float[N,2,3,5] x) => (y) <float[2,5,7] w> { y = MatMul (x, w) }",
    "einsum": "g (float[N,3,5] x) => (y) <float[5,7] w> {"
    ' y = Einsum <equation = "nti,io->nto"> (x, w) }',
    "ellipsis": "g (float[N,3,5] x) => (y) <float[7,5] w> {"
    ' y = Einsum <equation = "...i,oi->...o"> (x, w) }',
    "two": "g (float[N,5] x) => (y) <float[5,7] w, float[7,2] v> { h = MatMul (x, w)"
    " s = Constant <value_float = 0.2> () g = Mul (h, s) y = MatMul (g, v) }",
}


def ones(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The network with every stored number 1."""
    for tensor in proto.graph.initializer:
        array = np.ones(list(tensor.dims), numpy_helper.to_array(tensor).dtype)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return proto


def work_of(proto: onnx.ModelProto, **options: Any) -> Work:
    return map_network(ir.from_proto(proto), TARGET, CompileOptions(**options)).mapping.work


@pytest.mark.parametrize("name", LINEAR)
def test_they_are_the_sum_of_outputs_where_every_number_is_one(name: str) -> None:
    proto = ones(proto_of(LINEAR[name]))
    sizes = [d.dim_value or 1 for d in proto.graph.input[0].type.tensor_type.shape.dim]
    total = run_proto(proto, {"x": np.ones(sizes, np.float32)})[0].sum()
    if name == "two":  # 35 products into the hidden values, which are 5 · 0.2
        total += 35
    work = work_of(proto)
    assert work.mapped + work.digital == total
    assert (work.activations, work.assumed, work.uncounted) == (0, {}, [])
    assert work.share == work.share_of_all == 1


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_a_recurrent_layer_takes_both_its_weights_at_every_step(op: str, gates: int) -> None:
    text = f"""g (float[7,N,5] x) => (y) <float[2,{gates * 3},5] w, float[2,{gates * 3},3] r> {{
      y = {op} <hidden_size = 3, direction = "bidirectional"> (x, w, r)
    }}"""
    assert work_of(proto_of(text)).mapped == 7 * 2 * gates * 3 * (5 + 3)


def test_products_of_activations_stand_apart() -> None:
    text = """g (float[N,6,8] x) => (y) <float[8,8] wq, float[8,8] wk, float[8,4] wv> {
      q = MatMul (x, wq)
      k = MatMul (x, wk)
      v = MatMul (x, wv)
      t = Transpose <perm = [0,2,1]> (k)
      s = MatMul (q, t)
      a = Softmax (s)
      y = MatMul (a, v)
    }"""
    work = work_of(proto_of(text))
    assert work.mapped == 6 * 8 * (8 + 8 + 4)
    assert (work.digital, work.activations) == (0, 6 * 6 * 8 + 6 * 6 * 4)
    assert work.share == 1
    assert work.share_of_all == work.mapped / (work.mapped + work.activations)


def test_what_is_left_digital_counts_against_the_share() -> None:
    text = """g (float[N,5] x) => (y) <float[5,7] w, float[7,3] v> {
      h = MatMul (x, w)
      a = Relu (h)
      y = MatMul (a, v)
    }"""
    work = work_of(proto_of(text), skip=("MatMul_1",))
    assert (work.mapped, work.digital, work.share) == (35, 21, 35 / 56)


def test_open_axes_get_a_size_that_is_said() -> None:
    text = """g (float[N,T,5] x) => (y) <float[5,7] w, float[7,7] v> {
      h = MatMul (x, w)
      s = Transpose <perm = [0,2,1]> (h)
      a = MatMul (h, s)
      p = Softmax (a)
      b = MatMul (p, h)
      y = MatMul (b, v)
    }"""
    work = work_of(proto_of(text), skip=("MatMul_3",))
    assert work.assumed == {"T": ASSUMED}
    assert work.mapped == ASSUMED * 35 and work.digital == ASSUMED * 49
    assert work.activations == 2 * ASSUMED**2 * 7


def test_what_cannot_be_counted_is_named_and_the_share_open() -> None:
    text = """g (float[N,5] x, bool c) => (y) <float[5,5] w, float[5,5] v> {
      h = MatMul (x, v)
      y = If (c) <
        then_branch = t () => (float[N,5] p) { p = MatMul (h, w) },
        else_branch = e () => (float[N,5] q) { q = Identity (h) }
      >
    }"""
    proto = proto_of(text)
    mapped = work_of(proto)
    assert (mapped.mapped, mapped.uncounted, mapped.share) == (25, ["MatMul_1"], 1)
    left = work_of(proto, skip=("MatMul_1",))
    assert (left.mapped, left.uncounted, left.share) == (25, ["MatMul_1"], None)


def test_an_operator_nobody_knows_is_not_taken_for_free() -> None:
    text = """g (float[N,5] x) => (y) <float[5,5] w, float[5] b> {
      h = MatMul (x, w)
      a = MatMul (h, w)
      y = Add (a, b)
    }"""
    proto = proto_of(text)
    proto.opset_import.append(onnx.helper.make_opsetid("nobody.knows", 1))
    proto.graph.node[2].domain = "nobody.knows"
    assert work_of(proto).share == 1  # a row is no matrix
    proto.graph.node[1].domain = "nobody.knows"
    work = work_of(proto)
    assert work.share is None and len(work.uncounted) == 1


def test_a_share_can_be_required() -> None:
    proto = proto_of(LINEAR["two"])
    work_of(proto, require_mapped=1.0)
    with pytest.raises(ModelError, match=r"at least 90 % .* but 71.43 % are; digital: MatMul 28"):
        work_of(proto, skip=("MatMul_1",), require_mapped=0.9)
    with pytest.raises(OptionError, match="share from 0 to 1"):
        CompileOptions(require_mapped=99)


@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
def test_shapes_that_an_operator_cannot_have_are_not_counted(op: str) -> None:
    """A number in the place of a matrix, which only the run refuses."""
    proto = proto_of(
        f"""g (float[N,5] x) => (y) <float[5,5] u, float[5,5] w> {{
          a = Relu (x)
          h = {op} (a, u)
          y = MatMul (h, w)
        }}"""
    )
    number = onnx.helper.make_node("ReduceSum", ["x"], ["a"], keepdims=0)
    proto.graph.node[0].CopyFrom(number)
    del proto.graph.value_info[:]
    assert work_of(proto).uncounted
