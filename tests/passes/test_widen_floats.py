"""Half precision: float16 as it is, bfloat16 in float32 with the same weights."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nvmc import Target, compile_model, load_device, simulate
from nvmc.passes.widen_floats import HALVES, widen_floats
from onnx_text import model_of, text_of
from quantised_networks import IMAGES, compile_network, exact, float_network, ideal

TYPES = {
    onnx.TensorProto.FLOAT16: np.dtype(np.float16),
    onnx.TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
}


def network(kind: int, values: np.dtype) -> onnx.ModelProto:
    """`float_network` with the weights of `values` stored as `kind`."""
    proto = float_network()
    for tensor in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).astype(values)
        stored = array.astype(np.float32) if kind == onnx.TensorProto.FLOAT else array
        tensor.CopyFrom(onnx.numpy_helper.from_array(stored, tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = kind
    del proto.graph.value_info[:]
    return proto


@pytest.mark.parametrize("bits", [4, 8])
def test_bfloat16_is_the_float32_network_with_its_weights(tmp_path: Path, bits: int) -> None:
    half = TYPES[onnx.TensorProto.BFLOAT16]
    narrow = compile_network(network(onnx.TensorProto.BFLOAT16, half), tmp_path, bits)
    found = ideal(narrow, {"x": IMAGES})
    assert narrow.manifest.inputs[0].dtype == "float32"
    assert any("bfloat16" in text for text in narrow.manifest.assumptions)
    values = simulate(narrow, runs=3, data=(IMAGES, np.zeros(24, int))).values
    wide = compile_network(network(onnx.TensorProto.FLOAT, half), tmp_path, bits)
    np.testing.assert_array_equal(found, ideal(wide, {"x": IMAGES}))
    assert not wide.manifest.assumptions
    again = simulate(wide, runs=3, data=(IMAGES, np.zeros(24, int)), store=None).values
    np.testing.assert_array_equal(values, again)


def test_float16_is_computed_as_it_is(tmp_path: Path) -> None:
    half = TYPES[onnx.TensorProto.FLOAT16]
    proto = network(onnx.TensorProto.FLOAT16, half)
    onnx.save(proto, tmp_path / "m.onnx")
    target = Target.of(load_device("reram-lognormal"))  # analog: weights are not rounded
    compiled = compile_model(tmp_path / "m.onnx", target, output=tmp_path / "m.nvmc")
    assert compiled.manifest.inputs[0].dtype == "float16"
    feeds = {"x": IMAGES.astype(half)}
    np.testing.assert_array_equal(ideal(compiled, feeds), exact(proto, feeds)[0])
    assert simulate(compiled, runs=2, data=(IMAGES, np.zeros(24, int))).values.shape == (2,)


def test_types_are_widened_wherever_they_stand() -> None:
    model = model_of(
        """g (float[2,3] x, bool c) => (float[2,3] y) {
          b = Cast <to = 16> (x)
          z = ConstantOfShape <value = bfloat16[1] {16256}> (s)
          a = Add (b, z)
          i = If (c) <
            then_branch = t () => (bfloat16[2,3] p) { p = Relu (a) },
            else_branch = e () => (bfloat16[2,3] q) { q = Neg (a) }
          >
          m = Mul (i, w)
          y = Cast <to = 1> (m)
        }""",
        s=np.array([2, 3]),
        w=np.array([0.5, 2, 4], ml_dtypes.bfloat16),
    )
    clone = model.clone()
    before = text_of(model)
    assert widen_floats(clone, HALVES) and not widen_floats(clone, HALVES)
    assert text_of(model) == before and "bfloat16" in before
    assert "bfloat16" not in text_of(clone)
    # the text's 16256 are the bits of 1 in bfloat16
    x = np.array([[1, -2, 3], [0.125, 5, -6]], np.float32)
    proto = ir.to_proto(clone)
    onnx.checker.check_model(proto, full_check=True)
    found = exact(proto, {"x": x, "c": np.array(True)})[0]
    np.testing.assert_array_equal(found, np.maximum(x + 1, 0) * [0.5, 2, 4])


def test_other_types_stay() -> None:
    model = model_of("g (float16[2] x) => (float16[2] y) { y = Relu (x) }")
    before = text_of(model)
    assert not widen_floats(model, [ir.DataType.BFLOAT16])
    assert text_of(model) == before
