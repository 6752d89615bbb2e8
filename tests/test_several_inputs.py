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
from nvmc.data import Dataset, load_data
from nvmc.errors import DataError
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
    found = data.for_inputs(["mask", "ids"])
    assert list(found) == ["mask", "ids"]
    for name, array in found.items():
        assert np.array_equal(array, made[name]) and array.dtype == made[name].dtype
    assert data.y is not None and np.array_equal(data.y, made["y"])
    mixed = data.shuffled()
    order = [made["ids"].tolist().index(row) for row in mixed.inputs["ids"].tolist()]
    assert np.array_equal(mixed.inputs["mask"], made["mask"][order])
    assert np.array_equal(mixed.y, made["y"][order])
    np.savez("other.npz", **made | {"mask": 1 - made["mask"]})
    assert load_data("other.npz").sha256 != data.sha256
    with pytest.raises(DataError, match="holds ids, mask, but the network's inputs are ids, m; "):
        data.for_inputs(["ids", "m"])
    with pytest.raises(DataError, match="the network's inputs are image; .*image missing"):
        data.for_inputs(["image"])


def test_a_single_array_of_any_name(folder: Path) -> None:
    np.savez("image.npz", image=np.ones((3, 4)), y=[0, 1, 2])
    data = load_data("image.npz")
    assert data.for_inputs(["image"])["image"].dtype == np.float32 and len(data.x) == 3
    with pytest.raises(DataError, match="holds image, but"):
        data.for_inputs(["picture"])


def test_x_beside_others(folder: Path) -> None:
    """For a network of one input it is x, whatever its name; what is no input does not matter."""
    x, names = np.arange(6).reshape(3, 2), np.array(["a", "b", "c"])
    odd = np.array([{}, None, 1], dtype=object)
    np.savez("x.npz", x=x, mask=np.ones(3), names=names, odd=odd, few=np.ones(2), y=[0, 1, 2])
    data = load_data("x.npz")
    assert set(data.inputs) == {"x", "mask"} and data.x.dtype == np.float32
    assert np.array_equal(data.for_inputs(["image"])["image"], x)
    assert np.array_equal(data.for_inputs(["x", "mask"])["x"], x)
    np.savez("plain.npz", x=x, y=[0, 1, 2])
    assert load_data("plain.npz").inputs == {}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.ones((2, 3)), "b": np.ones((3, 3))}, "has 2 rows of 'a' but 3 of 'b'"),
        ({"a": np.ones((2, 3)), "b": np.array(["s", "t"])}, "b of .* is <U1 of rank 1"),
        ({"a": np.ones((2, 3)), "b": np.float32(1)}, "b of .* of rank 0, expected numbers"),
        ({"a": np.ones((2, 3)), "b": np.array([np.inf, 1])}, "b of .* holds NaN or infinite"),
        ({"a": np.ones((2, 3)), "b": np.array([{}, 1], dtype=object)}, "cannot be read as .npz"),
        ({"y": [0, 1]}, "holds y, expected an array x, or one for each input"),
        ({"a": np.ones((2, 3)), "y": [0, 1, 2]}, "has 2 images but 3 labels"),
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
        ({"mask": data["mask"][:, :4]}, r"images of 4, but input 'mask' takes 6"),
        ({"ids": data["ids"] + 0.5}, "input 'ids' takes int64, but .* has fractions"),
    ):
        np.savez("a.npz", **data | change)
        with pytest.raises(DataError, match=message):
            simulate(compiled, runs=1, data="a.npz")
    with pytest.raises(DataError, match="holds x, but the network's inputs are ids, mask"):
        simulate(compiled, runs=1, data=Dataset("mine", data["mask"], data["y"]))
    assert main(["uncertainty", "text.nvmc", "--data", "test.npz"]) == 1
    assert "for one input only" in capsys.readouterr().err


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
