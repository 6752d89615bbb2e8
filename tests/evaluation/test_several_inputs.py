"""Networks with several inputs: arrays of an .npz file by the inputs' names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from nvmc import Target, compile_model, load_device, simulate
from nvmc.cli import main
from nvmc.compiled.artifact import TensorEntry
from nvmc.data import Dataset, load_data
from nvmc.errors import DataError
from nvmc.runtime.feeding import feed_of
from nvmc.training import Settings, make_method, make_task, train
from onnx_text import proto_of

Arrays = dict[str, np.ndarray]

TEXT = """g (int64[N,6] ids, float[N,6] mask) => (float[N,3] scores)
<float[20,8] table, float[8,12] w1, float[12] b1, float[12,3] w2, float[3] b2, int64[1] two = {2},
 int64[1] one = {1}> {
  e = Gather (table, ids)
  m = Unsqueeze (mask, two)
  kept = Mul (e, m)
  total = ReduceSum <keepdims = 0> (kept, one)
  count = ReduceSum <keepdims = 1> (mask, one)
  mean = Div (total, count)
  h = Gemm (mean, w1, b1)
  a = Tanh (h)
  scores = Gemm (a, w2, b2)
}"""
"""Words of 20, of which the masked ones do not count."""


def texts(count: int, seed: int) -> Arrays:
    """Six words each, the class that of most of the words that count."""
    generator = np.random.default_rng(seed)
    y = generator.integers(3, size=count)
    own = generator.random((count, 6)) < 0.8
    ids = np.where(own, 6 * y[:, None], 0) + generator.integers(6, size=(count, 6))
    mask = np.maximum(generator.random((count, 6)) < 0.7, np.eye(6)[0])
    return {"ids": ids.astype(np.int64), "mask": mask.astype(np.float32), "y": y}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.savez("train.npz", **texts(400, 1))
    np.savez("test.npz", **texts(200, 2))
    proto = proto_of(TEXT)
    for tensor in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(onnx.numpy_helper.from_array(0.5 * array, tensor.name))
    onnx.save(proto, "text.onnx")
    return tmp_path


def scores(path: str | Path, data: Arrays) -> np.ndarray:
    session: Any = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {name: data[name] for name in ("ids", "mask")})[0]


def test_arrays_have_the_names_of_inputs(folder: Path) -> None:
    data, made = load_data("test.npz"), texts(200, 2)
    chosen = data.for_network(["mask", "ids"])
    assert list(chosen.inputs) == ["mask", "ids"]
    for name, array in chosen.inputs.items():
        assert np.array_equal(array, made[name]) and array.dtype == made[name].dtype
    assert data.y is not None and np.array_equal(data.y, made["y"])
    mixed = data.shuffled()
    order = [made["ids"].tolist().index(row) for row in mixed.inputs["ids"].tolist()]
    assert np.array_equal(mixed.inputs["mask"], made["mask"][order])
    assert np.array_equal(mixed.y, made["y"][order])
    np.savez("other.npz", **made | {"mask": 1 - made["mask"]})
    assert load_data("other.npz").sha256 != data.sha256
    with pytest.raises(DataError, match="holds ids, mask with 200 rows, but .* are ids, m; "):
        data.for_network(["ids", "m"])
    with pytest.raises(DataError, match="the network's inputs are image; "):
        data.for_network(["image"])
    with pytest.raises(DataError, match="y is kept for classes and values"):
        data.for_network(["ids", "y"])


def test_a_single_array_of_any_name(folder: Path) -> None:
    np.savez("image.npz", image=np.ones((3, 4)), y=[0, 1, 2])
    data = load_data("image.npz")
    chosen = data.for_network(["image"])
    assert chosen.inputs == {} and np.array_equal(chosen.x, np.ones((3, 4)))
    with pytest.raises(DataError, match="holds image with 3 rows, but"):
        data.for_network(["picture"])


def test_x_beside_others(folder: Path) -> None:
    """For a network of one input it is x, whatever its name; what is no input does not matter."""
    x, names = np.arange(6).reshape(3, 2), np.array(["a", "b", "c"])
    odd = np.array([{}, None, 1], dtype=object)
    wild = np.array([np.nan, 0, np.inf])
    np.savez("x.npz", x=x, wild=wild, mask=np.ones(3), names=names, odd=odd, few=np.ones(2), y=x[0])
    with pytest.raises(DataError, match="3 samples but 2 labels"):
        load_data("x.npz")
    np.savez("x.npz", x=x, wild=wild, mask=np.ones(3), names=names, odd=odd, few=np.ones(2))
    data = load_data("x.npz")
    assert set(data.inputs) == {"x", "wild", "mask"} and data.x.dtype == np.float32
    assert np.array_equal(data.for_network(["image"]).x, x)
    assert np.array_equal(data.for_network(["x", "mask"]).inputs["x"], x)
    np.savez("plain.npz", x=x)
    plain = load_data("plain.npz")
    assert plain.inputs == {} and plain.sha256 == data.for_network(["image"]).sha256


def test_an_input_gets_the_array_of_its_name(folder: Path) -> None:
    """Whichever array comes first in the file, and whether or not there is an x."""
    onnx.save(
        proto_of("g (float[N,5] image) => (float[N,3] y) <float[5,3] w> {y = MatMul (image, w)}"),
        "m.onnx",
    )
    target = Target.of(load_device("rram4"))
    compiled = compile_model("m.onnx", target, output="m.nvmc")
    generator = np.random.default_rng(0)
    image, y = generator.standard_normal((50, 5)).astype(np.float32), np.arange(50) % 3
    meta = generator.standard_normal((50, 3))
    made: list[np.ndarray] = []
    for arrays in ({"x": image}, {"meta": meta, "image": image}, {"x": meta, "image": image}):
        np.savez("a.npz", **arrays, y=y)
        made.append(simulate(compiled, runs=3, data="a.npz", sigma=0.3).values)
        task = make_task("a.npz", target, sigma=0.2, settings=Settings(epochs=1, chips=101))
        train("m.onnx", task, make_method("erm"), output="out.onnx")
    assert np.array_equal(made[0], made[1]) and np.array_equal(made[0], made[2])
    np.savez("a.npz", x=image, image=np.ones((50, 7)), y=y)
    with pytest.raises(DataError, match="samples of 7, but the model takes 5"):
        simulate(compiled, runs=3, data="a.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"b": np.array(["s", "t"])}, "holds b, expected an array x, or one for each input"),
        ({"b": np.float32(1)}, "holds b, expected an array x, or one for each input"),
        ({"x": np.array([[2**24 + 1]])}, "whole numbers that float32 does not"),
        ({"x": np.ones((2, 3)), "y": np.ones((2, 0), int)}, "2 samples but no labels"),
        ({"a": np.ones((2, 3)), "b": np.array([{}, 1], dtype=object)}, "cannot be read as .npz"),
        ({"y": [0, 1]}, "holds y, expected an array x, or one for each input"),
        ({"a": np.ones((2, 3)), "y": [0, 1, 2]}, "has 2 samples but 3 labels"),
    ],
)
def test_arrays_that_are_no_inputs(folder: Path, arrays: Arrays, message: str) -> None:
    np.savez("a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        load_data("a.npz")


@pytest.mark.parametrize("fidelity", ["cells", "circuit"])
def test_chips_run_on_all_inputs(folder: Path, fidelity: Any) -> None:
    target = Target.of(load_device("rram4"))
    compile_model("text.onnx", target, output="text.nvmc")
    data = texts(200, 2)
    words = ["simulate", "text.nvmc", "--data", "test.npz", "--sigma", "0.3", "--runs", "2"]
    assert main([*words, "--fidelity", fidelity, "--no-store"]) == 0
    compiled = compile_model("text.onnx", target, output="text.nvmc")
    found = simulate(compiled, runs=2, data="test.npz", sigma=0.3, fidelity=fidelity)
    for chip, value in enumerate(found.values):
        options = ("--sigma", "0.3", "--chip", str(chip), "-o", "chip.onnx")
        assert main(["program", "text.nvmc", *options]) == 0
        assert value == np.mean(scores("chip.onnx", data).argmax(1) == data["y"])


def test_inputs_that_do_not_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compiled = compile_model("text.onnx", Target.of(load_device("rram4")), output="text.nvmc")
    data = texts(10, 3)
    for change, message in (
        ({"mask": data["mask"][:, :4]}, r"samples of 4, but input 'mask' takes 6"),
        ({"ids": data["ids"] + 0.5}, "input 'ids' takes int64, but .* that this type does not"),
        ({"ids": data["ids"] * 1e30}, "input 'ids' takes int64, but .* that this type does not"),
        ({"ids": np.full((10, 6), 2**63 + 3, np.uint64)}, "input 'ids' takes int64"),
        ({"mask": data["mask"] * np.nan}, "a.npz has NaN or infinite values for input 'mask'"),
        ({"ids": np.full((10, 6), np.nan)}, "a.npz has NaN or infinite values for input 'ids'"),
        ({"ids": np.full((10, 6), np.inf)}, "a.npz has NaN or infinite values for input 'ids'"),
        (
            {"mask": np.full((10, 6), 1e300)},
            "input 'mask' takes float32, but .* that this type does not hold",
        ),
        ({"mask": data["mask"][:9]}, "holds ids with 10 rows, but"),
    ):
        np.savez("a.npz", **data | change)
        with pytest.raises(DataError, match=message):
            simulate(compiled, runs=1, data="a.npz")
    with pytest.raises(DataError, match="holds x with 10 rows, but .* inputs are ids, mask"):
        simulate(compiled, runs=1, data=Dataset("mine", data["mask"], data["y"]))
    assert main(["uncertainty", "text.nvmc", "--data", "test.npz"]) == 1
    assert "for one input of real numbers only" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "values", "fit"),
    [
        ("int32", [2**31 - 1, -(2**31)], True),
        ("int32", [2**31, 0], False),
        ("int8", [300, 0], False),
        ("uint8", [-1, 0], False),
        ("uint8", [255.0, 0.0], True),
        ("int64", [float(2**24 + 1), 0.0], True),
        ("bool", [1, 0], True),
        ("bool", [0.5, 0], False),
        ("float16", [65504.0, 0], True),
        ("float16", [1e6, 0], False),
        ("float32", [True, False], True),
    ],
)
def test_an_input_holds_every_value_or_refuses(kind: str, values: list[Any], fit: bool) -> None:
    entry = TensorEntry(name="a", dtype=kind, shape=["N"])
    data = Dataset("mine", np.zeros(2), inputs={"a": np.array(values)})
    if fit:
        found = feed_of([entry], data, 0, None).inputs["a"]
        assert found.dtype == kind and found.tolist() == values
        return
    with pytest.raises(DataError, match=f"input 'a' takes {kind}, but mine has"):
        feed_of([entry], data, 0, None)


def test_inputs_without_an_axis_for_images() -> None:
    data = Dataset("mine", np.zeros(2), inputs={"a": np.zeros((2, 3)), "b": np.zeros(2)})
    image = TensorEntry(name="a", dtype="float32", shape=["N", 3])
    for shape in ([], [1]):
        scale = TensorEntry(name="b", dtype="float32", shape=shape)
        with pytest.raises(DataError, match="'b' has shape .* without an axis for images"):
            feed_of([image, scale], data, 0, None)


def test_a_data_set_is_of_one_length_and_one_kind() -> None:
    x = np.zeros((3, 2), np.float32)
    with pytest.raises(DataError, match="3 inputs but 2 rows of y"):
        Dataset("mine", x, np.zeros(2, np.int64))
    with pytest.raises(DataError, match="3 inputs but 4 rows of mask"):
        Dataset("mine", x, inputs={"x": x, "mask": np.zeros(4)})
    with pytest.raises(DataError, match="classes and target values"):
        Dataset("mine", x, np.zeros(3, np.int64), np.zeros(3, np.float32))


def test_whole_numbers_as_floats_are_taken(folder: Path) -> None:
    compiled = compile_model("text.onnx", Target.of(load_device("rram4")), output="text.nvmc")
    data = texts(50, 3)
    np.savez("whole.npz", **data)
    np.savez("real.npz", **data | {"ids": data["ids"].astype(float)})
    values = [simulate(compiled, runs=2, data=name).values for name in ("whole.npz", "real.npz")]
    assert np.array_equal(*values)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("gaussian", {}),
        ("trice", {"warm": 1}),
        ("bayesft", {"interval": 5, "initial": 1, "samples": 2}),
        ("awp", {}),
        ("neft", {"variant": "irs", "hidden": 8, "snapshots": 1}),
    ],
)
def test_training_feeds_all_inputs(folder: Path, kind: str, options: dict[str, Any]) -> None:
    settings = Settings(epochs=25, batch=64, chips=5, percentile=20.0, rate=1e-2)
    task = make_task("train.npz", Target.of(load_device("rram4")), sigma=0.2, settings=settings)
    done = train("text.onnx", task, make_method(kind, options), output="out.onnx")
    data = texts(200, 2)
    assert np.mean(scores("text.onnx", data).argmax(1) == data["y"]) < 0.6
    assert np.mean(scores("out.onnx", data).argmax(1) == data["y"]) > 0.8
    assert done.after.ideal > 0.8


def test_ranges_are_calibrated_on_all_inputs(folder: Path) -> None:
    words = ["compile", "text.onnx", "--device", "rram4", "--data", "train.npz", "-o", "a.nvmc"]
    assert main([*words, "--activation-bits", "6"]) == 0
    assert main(["simulate", "a.nvmc", "--data", "test.npz", "--runs", "2"]) == 0
    converters = ["--dac-bits", "8", "--dac-range", "calibrated", "--adc-bits", "10"]
    assert main([*words, *converters, "--adc-range", "calibrated"]) == 0
    assert main(["simulate", "a.nvmc", "--data", "test.npz", "--runs", "2"]) == 0
