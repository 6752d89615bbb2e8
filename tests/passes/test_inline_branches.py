"""Branches that are always taken take their If's place."""

import numpy as np
import pytest

from nvmc.compiled.options import CompileOptions
from nvmc.passes.bind_inputs import bind_inputs
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.graph.mappable import layers_of
from onnx_text import model_of, run

# As Silero VAD has it: one network for each of two sample rates, whose values have equal names.
RATES = """g (float[N,4] x, int64 sr) => (float[N,3] y, float[N,3] z)
<float[4,3] v, float[4,3] w, int64 fast = {16000}, float half = {0.5}> {
  is = Equal (sr, fast)
  y = If (is) <
    then_branch = a () => (float[N,3] out) {
      h = MatMul (x, v)
      out = Relu (h)
    },
    else_branch = b () => (float[N,3] out) {
      h = MatMul (x, w)
      low = Less (sr, fast)
      out = If (low) <
        then_branch = c () => (float[N,3] o) { o = Mul (h, half) },
        else_branch = d () => (float[N,3] o) { o = Identity (h) }
      >
    }
  >
  z = If (is) <
    then_branch = e () => (float[N,3] out) { h = MatMul (x, w)  out = Neg (h) },
    else_branch = f () => (float[N,3] out) { out = MatMul (x, v) }
  >
}"""
X = np.random.default_rng(5).standard_normal((6, 4), np.float32)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_the_taken_branch_computes_the_same(rate: int) -> None:
    expected = run(model_of(RATES), x=X, sr=np.array(rate))
    model = model_of(RATES)
    bind_inputs(model, CompileOptions(inputs=(f"sr={rate}",)))
    assert Canonicalize()(model).modified
    assert not Canonicalize()(model).modified
    assert not any(node.op_type == "If" for node in model.graph)
    assert len(layers_of(model)) == 2 and all(m.node.graph is model.graph for m in layers_of(model))
    for found, wanted in zip(run(model, x=X), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_condition_that_is_computed_stays() -> None:
    model = model_of(RATES)
    Canonicalize()(model)
    assert sum(node.op_type == "If" for node in model.graph) == 2
    expected = run(model_of(RATES), x=X, sr=np.array(8000))
    for found, wanted in zip(run(model, x=X, sr=np.array(8000)), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
