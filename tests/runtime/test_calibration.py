"""The range of activations: smallest and largest of what onnxruntime computes."""

import re
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from nvmc.data import Dataset
from nvmc.errors import DataError, ModelError
from nvmc.passes.graph.describe import serialized
from nvmc.passes.quantize_activations import QuantizeActivations
from nvmc.runtime import calibration
from nvmc.runtime.calibration import CONVERTER_IMAGES, calibrate, calibration_on
from nvmc.runtime.montecarlo import Feed
from onnx_text import model_of, run

CNN = """g (float[N,1,6,6] x) => (float[N,3] y)
<float[4,1,3,3] w1, float[5,64] w2, float[5] b2, float[5,3] w3, float[3] b3> {
  [conv1] a = Conv (x, w1)
  [relu1] b = Relu (a)
  [flat] c = Flatten (b)
  [fc1] d = Gemm <transB: int = 1> (c, w2, b2)
  [tanh] e = Tanh (d)
  [fc2] f = MatMul (e, w3)
  [bias] y = Add (f, b3)
}"""
TENSORS = ["x", "c", "e"]

Ranges = dict[str, tuple[float, float]]


def images(count: int = 50, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, 1, 6, 6)).astype(np.float32)


def ranges_of(text: str | ir.Model, tensors: list[str], **inputs: Any) -> Ranges:
    model = model_of(text) if isinstance(text, str) else text
    return calibrate(serialized(model, tensors), tensors, Feed(inputs))


def test_they_are_the_extremes_of_the_values_themselves():
    """The same values as outputs of the network, taken in the same runs: exactly equal."""
    data = images(70)
    outputs = "(float[N,K] c, float[N,K] e)"
    model = model_of(CNN.replace("(float[N,3] y)", outputs))
    parts = [run(model, x=data[first : first + 32]) for first in (0, 32, 64)]
    c, e = (np.concatenate(values) for values in zip(*parts, strict=True))
    expected = {name: (v.min(), v.max()) for name, v in {"x": data, "c": c, "e": e}.items()}
    assert ranges_of(CNN, TENSORS, x=data) == expected
    assert expected["c"][0] == 0.0


def test_the_model_is_as_before():
    model = model_of(CNN)
    before = serialized(model)
    content = serialized(model, ["c", "y", "x"])
    assert serialized(model) == before
    outputs = onnx.ModelProto.FromString(content).graph.output
    assert [value.name for value in outputs] == ["y", "c"]


def test_large_values_take_fewer_images_a_run(monkeypatch: pytest.MonkeyPatch):
    """One image's c and e are 4 (64 + 5) bytes; room for three of them, and for less than one."""
    runs: list[int] = []
    inner = calibration._run  # pyright: ignore[reportPrivateUsage]

    def spy(session: Any, names: Any, fed: Any) -> Any:
        runs.append(len(fed["x"]))
        return inner(session, names, fed)

    monkeypatch.setattr(calibration, "_run", spy)
    expected = ranges_of(CNN, ["x"], x=images(7))
    for held, sizes in ((3 * 276 + 275, [1, 3, 3, 1]), (1, [1] * 8)):
        runs.clear()
        monkeypatch.setattr(calibration, "_HELD", held)
        assert ranges_of(CNN, TENSORS, x=images(7))["x"] == expected["x"]
        assert runs == sizes


def test_a_fixed_batch_size_uses_every_image():
    text = CNN.replace("[N,", "[4,")
    data = images(6)
    data[5, 0, 0, 0] = 50.0
    assert ranges_of(text, ["x"], x=data)["x"] == (float(data.min()), 50.0)
    assert ranges_of(text, ["x"], x=data[5:])["x"] == (float(data[5].min()), 50.0)


def test_several_inputs_and_double_precision():
    text = "g (double[N,2] x, double[N,2] z) => (double[N,2] y) { y = Sub (x, z) }"
    data = {"z": np.full((3, 2), 2.0), "x": np.array([[1.0, 2], [3, 4], [5, 6]])}
    assert ranges_of(text, ["y", "z"], **data) == {"y": (-1.0, 4.0), "z": (2.0, 2.0)}


def test_nothing_to_calibrate():
    assert calibrate(b"", [], Feed({})) == {}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite_wherever_it_stands(bad: float):
    data = images(40)
    data[37, 0, 3, 2] = bad
    with pytest.raises(DataError, match="'x' has NaN or infinity"):
        ranges_of(CNN, TENSORS, x=data)


def test_refuses_what_is_not_finite_only_inside():
    text = "g (float[N,2] x) => (float[N,2] y) { a = Log (x) \n y = Relu (a) }"
    with pytest.raises(DataError, match="'a' has NaN or infinity"):
        ranges_of(text, ["x", "a"], x=np.array([[1.0, 2.0], [3.0, -1.0]], np.float32))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.empty((0, 1, 6, 6), np.float32), "no images; expected at least one"),
        (np.ones((2, 1, 5, 6), np.float32), "does not run on the calibration data"),
    ],
)
def test_refuses_data_that_does_not_fit(data: NDArray[np.float32], message: str):
    with pytest.raises(DataError, match=message):
        ranges_of(CNN, TENSORS, x=data)


@pytest.mark.parametrize(
    ("text", "tensor", "message"),
    [
        ("(float[N,2] x) => (float[N,2] y) { y = Relu (x) }", "z", "no value 'z' in its main"),
        ("(float[N,2] x) => (int64[2] y) { y = Shape (x) }", "y", "'y' holds no floating-point"),
        ("(float[N,2] x) => (bool[N,2] y) { y = IsNaN (x) }", "y", "'y' holds no floating-point"),
        (
            "(float[N,2] x) => (float[N,2] y)"
            "{ s = SequenceConstruct (x, x)  y = ConcatFromSequence <axis: int = 0> (s) }",
            "s",
            "'s' holds no floating-point",
        ),
    ],
)
def test_refuses_values_without_a_range(text: str, tensor: str, message: str):
    with pytest.raises(ModelError, match=re.escape(message)):
        ranges_of(f"g {text}", [tensor], x=np.ones((2, 2), np.float32))


def test_refuses_values_that_are_always_empty():
    text = "g (float[N,2] x) => (float[N,0] y) <int64[1] i = {0}> { y = Slice (x, i, i, o) }"
    text = text.replace("<int64[1] i = {0}>", "<int64[1] i = {0}, int64[1] o = {1}>")
    with pytest.raises(DataError, match="'y' has no values"):
        ranges_of(text, ["y"], x=np.ones((2, 2), np.float32))


def test_refuses_what_is_no_model():
    with pytest.raises(ModelError, match="onnxruntime cannot load the network"):
        calibrate(b"\xff\xff not a model", TENSORS, Feed({"x": images()}))


@pytest.mark.parametrize("count", [CONVERTER_IMAGES - 1, CONVERTER_IMAGES, CONVERTER_IMAGES + 5])
def test_activations_see_all_images_and_converters_the_first_of_them(count: int):
    data = Dataset("mine", images(count), np.arange(count) % 3)
    some = data.of(slice(CONVERTER_IMAGES))
    for activations, converters, seen in (
        (True, True, data),
        (True, False, data),
        (False, True, some),
    ):
        found = calibration_on(data, activations, converters)
        assert found.sha256 == seen.sha256
        assert found.activation_images == (count if activations else 0)
        assert found.converter_images == (len(some.x) if converters else 0)
    whole = calibration_on(data, True, True)
    assert str(whole) == (
        f"activation ranges from {count} images and converter ranges from {len(some.x)} images of "
        "mine"
    )


@pytest.mark.parametrize("bits", [2, 4, 8, 12])
def test_the_calibrated_grid_is_within_half_a_step_of_what_it_saw(bits: int):
    data = images()
    model = model_of(CNN)
    QuantizeActivations(bits, ranges_of(model, ["x"], x=data))(model)
    model.graph.outputs[:] = [v for n in model.graph for v in n.outputs if v.name == "x_quantized"]
    step = np.abs(data).max() / (2 ** (bits - 1) - 1)
    # Half a step, and three float32 roundings of a value below 8 (step, quotient, product).
    assert np.abs(run(model, x=data)[0] - data).max() <= step / 2 + 3 * 8 * 6e-8


def test_the_calibrated_network_gets_better_with_every_two_bits():
    data = images(200)
    exact = run(model_of(CNN), x=data)[0]
    ranges = ranges_of(CNN, TENSORS, x=data)
    errors: list[float] = []
    for bits in range(2, 17, 2):
        model = model_of(CNN)
        QuantizeActivations(bits, ranges)(model)
        errors.append(float(np.sqrt(np.mean((run(model, x=data)[0] - exact) ** 2))))
    assert all(after < before for before, after in zip(errors, errors[1:], strict=False))
