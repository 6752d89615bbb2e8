"""Sizes and constants of inputs: the network computes what it does when it is fed them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from nvmc.compiled.options import CompileOptions
from nvmc.errors import DataError, ModelError, NvmcError, OptionError
from nvmc.passes.bind_inputs import bind_inputs
from nvmc.passes.graph.describe import tensor_entries
from nvmc.passes.io.load import load_model
from onnx_text import model_of, proto_of, run

TOKENS = """g (int64[batch,seq] ids, int64[batch,seq] mask) => (float[batch,seq,4] y)
<float[50,8] e, float[8,4] w, int64[1] two = {2}> {
  h = Gather (e, ids)
  m = Cast <to = 1> (mask)
  u = Unsqueeze (m, two)
  g = Mul (h, u)
  y = MatMul (g, w)
}"""
STATEFUL = """g (float[N,3] x, float[2,M,4] h, int64 sr) => (float[N,4] y) <float[3,4] w> {
  a = MatMul (x, w)
  s = ReduceSum <keepdims = 0> (h, zero)
  r = Cast <to = 1> (sr)
  b = Mul (s, r)
  y = Add (a, b)
}""".replace("<float[3,4] w>", "<float[3,4] w, int64[1] zero = {0}>")
IDS, MASK = np.arange(12).reshape(2, 6), np.array([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0]])
X = np.random.default_rng(3).standard_normal((5, 3), np.float32)


def shapes(text: str, **options: Any) -> dict[str, list[Any]]:
    model = model_of(text)
    bind_inputs(model, CompileOptions(**options))
    entries = tensor_entries([*model.graph.inputs, *model.graph.outputs])
    return {entry.name: list(entry.shape or []) for entry in entries}


def test_a_size_holds_for_every_axis_of_its_name() -> None:
    found = shapes(TOKENS, shape="ids=Nx6")
    assert found == {"ids": ["batch", 6], "mask": ["batch", 6], "y": ["batch", 6, 4]}
    assert shapes(TOKENS, shape="ids=1x6")["y"] == [1, 6, 4]
    assert shapes(TOKENS, shape="ids=batch,seq")["mask"] == ["batch", "seq"]


def test_an_input_without_a_shape_gets_one(tmp_path: Path) -> None:
    """onnx.checker refuses such a file, onnxruntime runs it."""
    proto = proto_of("g (float[N,3] x) => (float[N,4] y) <float[3,4] w> { y = MatMul (x, w) }")
    for value in (proto.graph.input[0], proto.graph.output[0]):
        value.type.tensor_type.ClearField("shape")
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="input 'x' has no shape .* --shape x=Nx3x224x224"):
        bind_inputs(load_model(tmp_path / "m.onnx"), CompileOptions())
    model = load_model(tmp_path / "m.onnx")
    bind_inputs(model, CompileOptions(shape=("x=Nx3",)))
    (y,) = tensor_entries(model.graph.outputs)
    assert y.shape == ["N", 4]
    weights = onnx.numpy_helper.to_array(proto.graph.initializer[0])
    np.testing.assert_allclose(run(model, x=X)[0], X @ weights, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("text", ["zeros", "ones", "3", "-2", "2.0"])
def test_constants_are_what_every_image_gets(text: str) -> None:
    value = {"zeros": 0, "ones": 1}.get(text) if text in ("zeros", "ones") else float(text)
    model = model_of(TOKENS)
    fed = {"ids": IDS, "mask": np.full_like(IDS, value)}
    (expected,) = run(model_of(TOKENS), **fed)
    bind_inputs(model, CompileOptions(inputs=(f"mask={text}",)))
    assert [value.name for value in model.graph.inputs] == ["ids"]
    np.testing.assert_array_equal(run(model, ids=IDS)[0], expected)


@pytest.mark.parametrize("opset", [13, 21])
def test_scalars_and_images_along_another_axis(opset: int, tmp_path: Path) -> None:
    """The one axis that the state leaves free is that of the images, whatever its name."""
    begun = np.random.default_rng(1).standard_normal((2, 1, 4), np.float32)
    np.save(tmp_path / "h.npy", begun)
    model = model_of(STATEFUL, opset=opset)
    fed = {"x": X, "h": begun.repeat(5, 1), "sr": np.array(7)}
    (expected,) = run(model_of(STATEFUL, opset=opset), **fed)
    bind_inputs(model, CompileOptions(inputs=(f"h={tmp_path / 'h.npy'}", "sr=7")))
    np.testing.assert_array_equal(run(model, x=X)[0], expected)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"(2, 1, 4)", b"(2**9, 4)"),
        (b"(2, 1, 4)", b"(2, 999 )"),
        (b"{'descr'", b"{((((((("),
        (b"'<f4'", b"'|O8'"),
    ],
)
def test_a_file_of_values_that_says_what_it_does_not_hold(
    old: bytes, new: bytes, tmp_path: Path
) -> None:
    np.save(tmp_path / "h.npy", np.zeros((2, 1, 4), np.float32))
    content = (tmp_path / "h.npy").read_bytes()
    assert old in content and len(old) == len(new)
    (tmp_path / "h.npy").write_bytes(content.replace(old, new))
    options = CompileOptions(inputs=(f"h={tmp_path / 'h.npy'}", "sr=7"))
    with pytest.raises(DataError, match=r"cannot read .*h\.npy.*; give a \.npy file"):
        bind_inputs(model_of(STATEFUL), options)


def test_opsets_without_expand() -> None:
    text = "g (float[N,3] x, float[M,3] h) => (float[N,3] y) { y = Add (x, h) }"
    model = model_of(text, opset=7)
    bind_inputs(model, CompileOptions(inputs=("h=0.5",)))
    np.testing.assert_array_equal(run(model, x=X)[0], X + np.float32(0.5))


def test_a_fixed_number_of_images() -> None:
    model = model_of(STATEFUL)
    expected = run(model_of(STATEFUL), x=X[:2], h=np.ones((2, 2, 4), "f"), sr=np.array(2))[0]
    bind_inputs(model, CompileOptions(shape=("x=2x3",), inputs=("h=ones", "sr=2")))
    np.testing.assert_array_equal(run(model, x=X[:2])[0], expected)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"shape": "idz=1x6"}, OptionError, "--shape: input 'idz' .* did you mean 'ids'"),
        ({"inputs": "masc=1"}, OptionError, "--input: input 'masc' .* did you mean 'mask'"),
        ({"shape": "ids=1x6x2"}, OptionError, "expected 2 sizes, found 3"),
        ({"shape": "ids=1x0"}, OptionError, "'0' is no size; expected whole numbers"),
        ({"shape": "ids"}, OptionError, "is not INPUT=SIZExSIZE"),
        ({"shape": ("ids=1x6", "mask=1x7")}, OptionError, "6 cannot be 7"),
        ({"inputs": "mask=many"}, OptionError, "expected zeros, ones, a number or a file"),
        ({"inputs": "mask=1.5"}, OptionError, "of type int64, which does not hold that"),
        ({"inputs": "mask=none.npy"}, DataError, "cannot read 'none.npy'"),
        ({"inputs": ("ids=0", "mask=0")}, OptionError, "leave no input for images"),
        ({"inputs": ("ids=0", "ids=1")}, OptionError, "'ids' is given twice"),
    ],
)
def test_what_is_wrong_is_one_line(
    options: dict[str, Any], kind: type[NvmcError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        bind_inputs(model_of(TOKENS), CompileOptions(**options))
    assert "\n" not in str(caught.value)


def test_a_size_of_two_axes_of_one_name_is_one() -> None:
    text = "g (float[N,D,D] x) => (float[N,D,D] y) { y = Relu (x) }"
    with pytest.raises(OptionError, match="'D' is one size .* 3 and 4"):
        shapes(text, shape="x=1x3x4")
    with pytest.raises(OptionError, match="8 cannot be left free"):
        shapes(text.replace("D,D", "8,D"), shape="x=NxHxW")
    with pytest.raises(OptionError, match="whose free sizes no input with images has"):
        shapes("g (float[N,3] x, float[A,B] h) => (float[A,B] y) { y = Relu (h) }", inputs="h=0")


def test_inputs_that_hold_no_numbers_are_refused() -> None:
    text = "g (string[N] s, float[N,2] x) => (float[N,2] y) { y = Relu (x) }"
    with pytest.raises(ModelError, match="input 's' holds strings"):
        bind_inputs(model_of(text), CompileOptions())
