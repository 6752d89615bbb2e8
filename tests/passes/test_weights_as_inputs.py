"""Initializers become inputs; everything else stays what it was."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from nvmc.passes.weights_as_inputs import WeightsAsInputs, with_weights_as_inputs
from onnx_text import model_of, proto_of, run, text_of

TEXT = """g (float[N,4] x) => (float[N,3] y) <float[4,5] w, float[5] b, float[5,3] v> {
  h = Gemm (x, w, b)
  y = MatMul (h, v)
}"""


def test_the_network_computes_the_same_from_inputs() -> None:
    model = model_of(TEXT)
    kept = {name: value.const_value.numpy() for name, value in model.graph.initializers.items()}
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    expected = run(model_of(TEXT), x=x)[0]
    assert WeightsAsInputs(("w", "v"))(model).modified
    assert [value.name for value in model.graph.inputs] == ["x", "w", "v"]
    assert list(model.graph.initializers) == ["b"]
    assert np.array_equal(run(model, x=x, w=kept["w"], v=kept["v"])[0], expected)


def test_it_changes_nothing_twice_or_without_its_names() -> None:
    model = model_of(TEXT)
    before = text_of(model)
    assert not WeightsAsInputs(("unknown",))(model).modified
    assert text_of(model) == before
    WeightsAsInputs(("w",))(model)
    before = text_of(model)
    assert not WeightsAsInputs(("w",))(model).modified
    assert text_of(model) == before


def test_initializers_that_are_inputs_already_stay_there() -> None:
    model = model_of(TEXT)
    model.graph.inputs.append(model.graph.initializers["w"])
    assert WeightsAsInputs(("w",))(model).modified
    assert [value.name for value in model.graph.inputs] == ["x", "w"]


def test_data_may_be_missing() -> None:
    model = ir.from_proto(proto_of(TEXT))
    value = model.graph.initializers["w"]
    value.const_value = ir.ExternalTensor(
        "nowhere", 0, 80, ir.DataType.FLOAT, shape=ir.Shape((4, 5)), name="w"
    )
    found = with_weights_as_inputs(ir.to_proto(model).SerializeToString(), ["w"])
    assert [value.name for value in found.graph.inputs] == ["x", "w"]
    assert list(found.graph.inputs[1].shape or ()) == [4, 5]
