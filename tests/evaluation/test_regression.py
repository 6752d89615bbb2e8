"""Networks that are to meet values: scikit-learn's 442 diabetes patients, end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from sklearn.datasets import load_diabetes
from sklearn.metrics import r2_score, root_mean_squared_error

from nvmc import Target, compile_model, load_device, open_compiled, simulate
from nvmc.cli import main
from nvmc.data import Dataset, load_data
from nvmc.errors import DataError, OptionError, TrainingError
from nvmc.evaluation.uncertainty import uncertainty
from nvmc.training import METHODS, Settings, Task, make_method, make_task, train
from onnx_text import proto_of
from small_training import small_target

Capture = pytest.CaptureFixture[str]

MLP = """g (float[N,10] x) => (float[N,1] y)
<float[10,16] w1, float[16] b1, float[16] s, float[16] t, float[16,1] w2, float[1] b2> {
  h = Gemm (x, w1, b1)
  n = LayerNormalization (h, s, t)
  a = Relu (n)
  y = Gemm (a, w2, b2)
}"""
REFUSED = ("ftna", "neft")
"""Methods that need classes."""
FAST: dict[str, dict[str, Any]] = {
    "a-trice": {"warm": 1},
    "bayes-noise": {"interval": 1, "initial": 1, "samples": 2},
    "bayesft": {"interval": 1, "initial": 1, "samples": 2},
    "trice": {"warm": 1},
}


def patients(part: slice) -> tuple[np.ndarray, np.ndarray]:
    """Ten measurements each and the progression of the disease, all about of unit variance."""
    load: Any = load_diabetes
    found = load()
    order = np.random.default_rng(0).permutation(len(found.target))[part]
    return (20 * found.data[order]).astype(np.float32), (found.target[order] / 80).astype(
        np.float32
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network, `train.npz` and `test.npz`."""
    monkeypatch.chdir(tmp_path)
    for name, part in (("train", slice(330)), ("test", slice(330, None))):
        x, y = patients(part)
        np.savez(f"{name}.npz", x=x, y=y)
    proto = proto_of(MLP)
    for tensor in proto.graph.initializer:
        array = 0.4 * onnx.numpy_helper.to_array(tensor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float32), tensor.name))
    onnx.save(proto, "mlp.onnx")
    return tmp_path


def task_of(**settings: Any) -> Task:
    chosen = Settings(**{"epochs": 2, "batch": 64, "chips": 10, "percentile": 10.0, **settings})
    return make_task("train.npz", small_target(), sigma=0.2, settings=chosen)


def outputs(path: Path, x: np.ndarray) -> np.ndarray:
    session: Any = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def test_values_are_read_beside_classes(folder: Path) -> None:
    x, y = patients(slice(5))
    np.savez("classes.npz", x=x, y=np.arange(5))
    np.savez("doubles.npz", x=x, y=y.astype(np.float64))
    np.savez("plain.npz", x=x)
    values, classes = load_data("train.npz", limit=5), load_data("classes.npz")
    assert values.y is None and values.targets is not None and classes.targets is None
    assert np.array_equal(values.targets, y) and values.targets.dtype == np.float32
    assert load_data("doubles.npz").sha256 == values.sha256
    assert len({values.sha256, classes.sha256, load_data("plain.npz").sha256}) == 3
    mixed = load_data("train.npz").shuffled()
    assert mixed.targets is not None
    rows = {tuple(row): value for row, value in zip(*patients(slice(330)), strict=True)}
    assert all(rows[tuple(row)] == value for row, value in zip(mixed.x, mixed.targets, strict=True))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array([1.0, np.nan]), "y of a.npz holds NaN or infinite float32"),
        (np.array([1.0, 1e300]), "y of a.npz holds NaN or infinite float32"),
        (np.array([1.0]), "has 2 samples but 1 labels"),
        (np.array([1j, 2j]), "expected class numbers or values"),
        (np.array([True, False]), "expected class numbers or values"),
    ],
)
def test_values_that_are_none(folder: Path, y: np.ndarray, message: str) -> None:
    np.savez("a.npz", x=np.ones((2, 10), np.float32), y=y)
    with pytest.raises(DataError, match=message):
        load_data("a.npz")


def test_values_fit_outputs_whose_shape_differs_by_ones() -> None:
    x = np.zeros((4, 2), np.float32)
    flat = Dataset("a", x, targets=np.arange(4, dtype=np.float32))
    assert flat.targets_for((1,)).shape == (4, 1) and flat.targets_for(()).shape == (4,)
    wide = Dataset("a", x, targets=np.zeros((4, 1, 3), np.float32))
    assert wide.targets_for((3,)).shape == (4, 3) and wide.targets_for((3, 1)).shape == (4, 3, 1)
    for shape in ((2,), (3, 3), (1, 1)):
        with pytest.raises(DataError, match="a value for every output"):
            wide.targets_for(shape)


@pytest.mark.parametrize("fidelity", ["cells", "circuit"])
def test_a_chip_is_worth_what_scikit_learn_says(folder: Path, fidelity: Any) -> None:
    """Of the ONNX file that `nvmc program` writes of it."""
    target = Target.of(load_device("rram4"))
    compiled = compile_model("mlp.onnx", target, output="mlp.nvmc")
    found = simulate(compiled, runs=3, data="test.npz", sigma=0.2, fidelity=fidelity)
    x, y = patients(slice(330, None))
    assert found.metric == "r2" and found.description.images == len(x)
    assert found.deviation == pytest.approx(float(np.std(y)))
    assert found.ideal == pytest.approx(r2_score(y, outputs(compiled.model_path, x)))
    for chip, value in enumerate(found.values):
        words = ("program", "mlp.nvmc", "--sigma", "0.2", "--chip", str(chip), "-o", "chip.onnx")
        assert main(words) == 0
        said = outputs(Path("chip.onnx"), x)
        assert value == pytest.approx(r2_score(y, said), abs=1e-5, rel=1e-5)


def test_several_outputs_are_weighted_by_their_variance(folder: Path) -> None:
    """And averaged over passes as they are: they are no scores of classes."""
    onnx.save(
        proto_of(
            """g (float[N,10] x) => (float[N,3] y) <float[10,3] w, float[3] b,
            float r = {0.5}, bool t = {1}> {
              d = Dropout (x, r, t)
              y = Gemm (d, w, b)
            }"""
        ),
        "wide.onnx",
    )
    x, _ = patients(slice(40))
    compiled = compile_model(
        "wide.onnx", Target.of(load_device("ideal"), weight_bits="none"), output="wide.nvmc"
    )
    stored = onnx.load("wide.onnx").graph.initializer
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in stored}
    mean = x @ held["w"] + held["b"]
    y = mean + np.array([1, 2, 3]) * np.random.default_rng(0).standard_normal(mean.shape)
    np.savez("wide.npz", x=x, y=y)
    found = simulate(compiled, runs=1, data="wide.npz", mc_passes=2000)
    y = load_data("wide.npz").targets
    assert found.ideal == pytest.approx(
        r2_score(y, mean, multioutput="variance_weighted"), abs=0.01
    )
    assert found.values[0] == pytest.approx(found.ideal, abs=0.01)
    assert found.deviation == pytest.approx(np.sqrt(np.var(y, axis=0).mean()))


def test_the_commands_say_r_squared_and_rmse(folder: Path, capsys: Capture) -> None:
    cells = ["--device", "rram4", "--sigma", "0.2", "--data", "train.npz"]
    how = ["--epochs", "60", "--chips", "20", "--percentile", "10", "--optimizer", "adam"]
    train_words = ["train", "mlp.onnx", "--method", "gaussian", *cells, *how]
    assert main([*train_words, "--rate", "0.02", "-o", "r.onnx"]) == 0
    text = capsys.readouterr().out
    assert "ideal chip R²" in text and "accuracy" not in text
    assert main(["compile", "r.onnx", "--device", "rram4"]) == 0
    words = [
        "simulate",
        "--data",
        "test.npz",
        "--sigma",
        "0.2",
        "--runs",
        "20",
        "--figure",
        "r.png",
    ]
    capsys.readouterr()
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "Values are the coefficient of determination R² against the targets" in text
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    x, y = patients(slice(330, None))
    said = outputs(Path("r.nvmc/model.onnx"), x)
    assert 0.3 < found["ideal"] == pytest.approx(r2_score(y, said), abs=1e-6)
    rmse = root_mean_squared_error(y, said[:, 0])
    assert f"RMSE {rmse:.4g}" in text
    assert found["deviation"] * (1 - found["ideal"]) ** 0.5 == pytest.approx(rmse)
    for more in (["sweep", "--sigma", "0,0.2", "--runs", "3"], ["sensitivity", "--runs", "3"]):
        assert main([*more, "--data", "test.npz"]) == 0
        assert "R² against the targets" in " ".join(capsys.readouterr().out.split())


def test_what_knows_classes_only_says_so(folder: Path, capsys: Capture) -> None:
    compiled = compile_model("mlp.onnx", small_target(), output="mlp.nvmc")
    with pytest.raises(DataError, match="values, which are no classes.*value_uncertainty"):
        uncertainty(compiled, data="test.npz")
    assert main(["uncertainty", "mlp.nvmc", "--data", "test.npz", "--runs", "2"]) == 0
    assert "miscalibrated" in capsys.readouterr().out
    with pytest.raises(OptionError, match="the metric here is R²; give data with class labels"):
        simulate(compiled, runs=5, data="test.npz", delta=1e-3)
    x, y = patients(slice(8))
    np.savez("whole.npz", x=x, y=y.astype(int))
    with pytest.raises(DataError, match="save y as float32 if it holds target values"):
        simulate(compiled, runs=1, data="whole.npz")
    np.savez("wide.npz", x=x, y=np.ones((8, 3), np.float32))
    with pytest.raises(DataError, match=r"shape \[3\] per input, but the output has \[1\]"):
        simulate(compiled, runs=1, data="wide.npz")


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_meets_values_or_says_why_not(folder: Path, kind: str) -> None:
    method = make_method(kind, FAST.get(kind))
    if kind in REFUSED:
        with pytest.raises(TrainingError, match="regression"):
            train("mlp.onnx", task_of(), method, output="out.onnx")
        assert not Path("out.onnx").exists()
        return
    done = train("mlp.onnx", task_of(epochs=20, rate=3e-2), method, output="out.onnx")
    assert done.epochs[-1].loss < done.epochs[0].loss
    assert done.after.ideal > 0.25
    x, y = patients(slice(330, None))
    said = outputs(Path("out.onnx"), x)
    assert said.shape == (len(x), 1) and r2_score(y, said) > 0


@pytest.mark.parametrize("y", [np.full(60, 0.1), np.ones(60)])
def test_values_that_do_not_differ_say_nothing(folder: Path, y: np.ndarray) -> None:
    compiled = compile_model("mlp.onnx", small_target(), output="mlp.nvmc")
    np.savez("same.npz", x=patients(slice(60))[0], y=y)
    for options in ({"data": "same.npz"}, {"data": "test.npz", "limit": 1}):
        with pytest.raises(DataError, match="do not differ .* R² says nothing"):
            simulate(compiled, runs=1, **options)
    task = make_task("train.npz", small_target(), validation="same.npz", sigma=0.2)
    with pytest.raises(DataError, match="do not differ"):
        train("mlp.onnx", task, make_method("erm"), output="out.onnx")


def test_a_value_far_off_is_not_floored(folder: Path, capsys: Capture) -> None:
    """Targets 100 too high: R^2 = 1 - (RMSE / s)^2 as scikit-learn has it, about -6,500."""
    compiled = compile_model("mlp.onnx", small_target(), output="mlp.nvmc")
    x, y = patients(slice(60))
    np.savez("far.npz", x=x, y=y + 100)
    found = simulate(compiled, runs=2, data="far.npz")
    said = outputs(compiled.model_path, x)
    assert found.ideal == pytest.approx(r2_score(y + 100, said), rel=1e-5) and found.ideal < -1000
    assert main(["simulate", "mlp.nvmc", "--data", "far.npz", "--runs", "2"]) == 0
    rmse = root_mean_squared_error(y[:, None] + 100, said)
    assert f"RMSE {rmse:.4g}" in capsys.readouterr().out
    assert simulate(open_compiled("mlp.nvmc"), runs=2).deviation is None


def test_the_loss_of_several_outputs_is_around_their_own_means(folder: Path) -> None:
    onnx.save(
        proto_of(
            "g (float[N,10] x) => (float[N,1,H,2] y) <float[10,4] w, int64[4] s = {-1,1,2,2}> "
            "{ h = MatMul (x, w) y = Reshape (h, s) }"
        ),
        "wide.onnx",
    )
    x, _ = patients(slice(200))
    y = np.random.default_rng(0).standard_normal((200, 2, 2)) + 50 * np.arange(4).reshape(2, 2)
    np.savez("wide.npz", x=x, y=y.astype(np.float32))
    np.savez("tall.npz", x=x, y=y.reshape(200, 4, 1).astype(np.float32))
    settings = Settings(epochs=1, batch=500, rate=1e-30, decay=0.0, optimizer="sgd", chips=101)
    target = Target.of(load_device("ideal"), weight_bits="none")
    task = make_task("wide.npz", target, validation="wide.npz", settings=settings)
    loss = train("wide.onnx", task, make_method("erm"), output="out.onnx").epochs[0].loss
    said = outputs(Path("wide.onnx"), x).reshape(200, 4)
    score = r2_score(y.reshape(200, 4), said, multioutput="variance_weighted")
    assert loss == pytest.approx(1 - score, rel=1e-4)
    task = make_task("tall.npz", target, validation="wide.npz", settings=settings)
    with pytest.raises(DataError, match=r"values of shape \[4, 1\] per input, but .* \[1, 2, 2\]"):
        train("wide.onnx", task, make_method("erm"), output="out.onnx")


def test_the_loss_of_an_epoch_is_that_of_the_weights(folder: Path) -> None:
    """Without a step the loss is 1 - R^2 of the training images, whatever their unit."""
    losses: list[float] = []
    for scale in (1, 1000):
        x, y = patients(slice(330))
        np.savez("train.npz", x=x, y=scale * y)
        task = task_of(epochs=1, batch=1000, rate=1e-30, decay=0.0, optimizer="sgd")
        erm = make_method("erm")
        losses.append(train("mlp.onnx", task, erm, output="same.onnx").epochs[0].loss)
        compiled = compile_model("mlp.onnx", task.target, output="mlp.nvmc")
        said = outputs(compiled.model_path, task.train.x)
        assert task.train.targets is not None
        assert losses[-1] == pytest.approx(1 - r2_score(task.train.targets, said), rel=1e-5)
    assert losses[0] != losses[1]


def test_training_data_that_do_not_fit(folder: Path) -> None:
    x, y = patients(slice(20))
    np.savez("classes.npz", x=x, y=np.zeros(20, int))
    with pytest.raises(DataError, match="has classes and the other target values"):
        make_task("train.npz", small_target(), validation="classes.npz", sigma=0.2)
    np.savez("same.npz", x=x, y=np.ones(20, np.float32))
    np.savez("wide.npz", x=x, y=np.ones((20, 2), np.float32) * y[:, None])
    for name, message in (
        ("same", "standard deviation of 0; scale them"),
        ("wide", "the output has \\[1\\]"),
    ):
        task = make_task(f"{name}.npz", small_target(), sigma=0.2, settings=Settings(chips=5))
        with pytest.raises(DataError, match=message):
            train("mlp.onnx", task, make_method("erm"), output="out.onnx")
