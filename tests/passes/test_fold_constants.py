from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from nvmc.passes.fold_constants import SMALL, fold_constants, lift_constants
from onnx_models import feeds_of, run_proto
from onnx_text import proto_of

CHAINS = {
    "identity": ("w2 = Identity (w)", "w"),
    "transpose": ("w2 = Transpose <perm = [1,0]> (w)", "w"),
    "reshape": ("w2 = Reshape (w, s)", "w"),
    "flatten": ("w2 = Flatten (w)", "w"),
    "squeeze": ("u = Unsqueeze (w, z) w2 = Squeeze (u, z)", "w"),
    "double": ("d = Cast <to = 11> (w) w2 = Cast <to = 1> (d)", "w"),
    "quantised": ("q, c, p = DynamicQuantizeLinear (w) w2 = DequantizeLinear (q, c, p)", "q"),
    "quantise": (
        "q = QuantizeLinear (w, step, zero) w2 = DequantizeLinear (q, step, zero)",
        "w",
    ),
    "concat": ("w2 = Concat <axis = 1> (w, w)", "w2"),
    "slice": ("w2 = Slice (w, z, o)", "w2"),
    "weight norm": ("n = ReduceL2 (w) w2 = Div (w, n)", "w2"),
    "expand": ("w2 = Expand (w, s)", "w2"),
    "gather": ("w2 = Gather <axis = 1> (w, z)", "w2"),
    "shape": ("h = Shape (w) w2 = Reshape (w, h)", "w"),
    "fill": ("w2 = ConstantOfShape <value = float[1] {0.5}> (s)", "w2"),
    "attribute": (
        "w2 = Constant <value = float[4,1] {1.0, 2.0, -3.0, 0.5}> ()",
        "w2",
    ),
}


def chain(nodes: str) -> str:
    return f"""g (float[B,4] x) => (y)
    <float[4,4] w, int64[2] s = {{4,4}}, int64[1] z = {{0}}, int64[1] o = {{4}},
     float step = {{0.02}}, int8 zero = {{0}}> {{
      {nodes}
      y = MatMul (x, w2)
    }}"""


@pytest.mark.parametrize("name", CHAINS)
def test_a_weight_behind_a_chain_becomes_an_initializer(name: str) -> None:
    nodes, weight = CHAINS[name]
    proto = proto_of(chain(nodes))
    model = ir.from_proto(proto)
    assert lift_constants(model) | fold_constants(model)
    assert [node.op_type for node in model.graph] == ["MatMul"]
    assert [value.name for value in model.graph.node(0).inputs] == ["x", weight]  # type: ignore
    assert not lift_constants(model) and not fold_constants(model)
    feeds = feeds_of(proto)
    found, expected = (run_proto(p, feeds)[0] for p in (ir.to_proto(model), proto))
    # The evaluator and onnxruntime may round a norm differently: 1 part in 2**24, four terms.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_equal_chains_give_one_weight() -> None:
    text = """g (float[B,4] x) => (y) <float[4,4] w> {
      a = Transpose <perm = [1,0]> (w)
      b = Transpose <perm = [1,0]> (w)
      i = Identity (b)
      h = MatMul (x, a)
      y = MatMul (h, i)
    }"""
    model = ir.from_proto(proto_of(text))
    fold_constants(model)
    first, second = (node.inputs[1] for node in model.graph)
    assert first is second and first is not None and first.name == "w"
    assert list(model.graph.initializers) == ["w"]


def test_a_weight_that_is_still_read_keeps_its_name_for_itself() -> None:
    text = """g (int64[B] x) => (y) <float[7,4] w> {
      e = Gather (w, x)
      t = Transpose <perm = [1,0]> (w)
      y = MatMul (e, t)
    }"""
    model = ir.from_proto(proto_of(text))
    fold_constants(model)
    assert set(model.graph.initializers) == {"w", "t"}


def test_nothing_large_is_made_that_no_weight_needs() -> None:
    size = SMALL  # 4 bytes each
    text = f"""g (float[{size}] x) => (y) <int64[1] s = {{{size}}}, float[1] one = {{1.0}}> {{
      a = Expand (one, s)
      b = ConstantOfShape (s)
      c = Add (x, a)
      y = Add (c, b)
    }}"""
    model = ir.from_proto(proto_of(text))
    assert not fold_constants(model)


def test_small_constants_are_computed_in_subgraphs_too() -> None:
    text = """g (float[2,4] x, bool c) => (y) <int64[1] z = {0}> {
      y = If (c) <
        then_branch = t () => (float[2,4] p) {
          k = Constant <value_float = 2.0> ()
          m = Neg (k)
          p = Mul (x, m)
        },
        else_branch = e () => (float[2,4] q) {
          k = Constant <value_float = 3.0> ()
          q = Mul (x, k)
        }
      >
    }"""
    proto = proto_of(text)
    model = ir.from_proto(proto)
    assert lift_constants(model)
    assert fold_constants(model)
    operators = [n.op_type for n in ir.traversal.RecursiveGraphIterator(model.graph)]
    assert operators == ["If", "Mul", "Mul"]
    feeds = feeds_of(proto)
    np.testing.assert_array_equal(run_proto(ir.to_proto(model), feeds)[0], -2 * feeds["x"])


def test_random_numbers_are_not_constants() -> None:
    text = """g (float[2,4] x) => (y) <float[4,4] w> {
      r = RandomNormalLike (w)
      y = MatMul (x, r)
    }"""
    model = ir.from_proto(proto_of(text))
    assert not fold_constants(model)
