"""Binary classifiers with one output: its sign, or the side of one half behind a sigmoid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from compiled_networks import load_network
from nvmc import Target, compile_model, load_device, simulate
from nvmc.cli import main
from nvmc.compiled.options import CompileOptions
from nvmc.data import load_data
from nvmc.errors import DataError, ModelError, NvmcError
from nvmc.evaluation.uncertainty import uncertainty
from nvmc.evaluation.workload import set_up
from nvmc.executors.torch import TorchExecutor
from nvmc.hardware.chip import Chip
from nvmc.hardware.chips import Chips
from nvmc.runtime.montecarlo import Feed, Network, outputs_of
from nvmc.training import Settings, make_method, make_task, train
from onnx_text import proto_of

LAST = {
    "logit": "float[N,1] y) %s { %s y = Gemm (a, w2, b2) }",
    "sigmoid": "float[N,1] y) %s { %s z = Gemm (a, w2, b2) y = Sigmoid (z) }",
    "flat logit": "float[N] y) %s { %s z = Gemm (a, w2, b2) y = Squeeze (z, one) }",
    "flat sigmoid": (
        "float[N] y) %s { %s z = Gemm (a, w2, b2) p = Sigmoid (z) y = Squeeze (p, one) }"
    ),
}
WEIGHTS = "<float[8,12] w1, float[12] b1, float[12] s, float[12] t, float[12,1] w2, float[1] b2, "
FIRST = "h = Gemm (x, w1, b1) n = LayerNormalization (h, s, t) a = Tanh (n)"
SHALLOW = {
    "bayesft": {"interval": 5, "initial": 1, "samples": 2},
    "neft": {"variant": "irs", "hidden": 8, "snapshots": 1},
    "trice": {"warm": 1},
}


def points(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that overlap a little."""
    generator = np.random.default_rng(seed)
    y = generator.integers(2, size=count)
    centre = np.random.default_rng(0).standard_normal(8)
    x = (2 * y[:, None] - 1) * centre / 2 + generator.standard_normal((count, 8))
    return x.astype(np.float32), y


def write(kind: str, path: Path) -> Path:
    text = LAST[kind] % (WEIGHTS + "int64[1] one = {1}>", FIRST)
    proto = proto_of(f"g (float[N,8] x) => ({text}")
    for tensor in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(onnx.numpy_helper.from_array(0.5 * array, tensor.name))
    onnx.save(proto, path)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, seed in (("train", 1), ("test", 2)):
        x, y = points(300, seed)
        np.savez(f"{name}.npz", x=x, y=y)
    return tmp_path


def outputs(path: str | Path, x: np.ndarray) -> np.ndarray:
    session: Any = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0].reshape(len(x))


@pytest.mark.parametrize("fidelity", ["cells", "circuit"])
@pytest.mark.parametrize("kind", LAST)
def test_a_chip_is_right_where_its_score_is_on_the_side_of_the_label(
    folder: Path, kind: str, fidelity: Any
) -> None:
    target = Target.of(load_device("rram4"))
    compiled = compile_model(write(kind, Path("m.onnx")), target, output="m.nvmc")
    found = simulate(compiled, runs=3, data="test.npz", sigma=0.4, fidelity=fidelity)
    assert found.metric == "accuracy"
    x, y = points(300, 2)
    edge = 0.5 if "sigmoid" in kind else 0.0
    decided = outputs(compiled.model_path, x) > edge
    assert found.ideal == np.mean(decided == y)
    for chip, value in enumerate(found.values):
        words = ("m.nvmc", "--sigma", "0.4", "--chip", str(chip), "-o", "chip.onnx")
        assert main(["program", *words]) == 0
        assert value == np.mean((outputs("chip.onnx", x) > edge) == y)


def test_every_engine_decides_alike(folder: Path) -> None:
    """Chips alone, in stacks that share the first layer, and in torch."""
    onnx.save(
        proto_of(
            "g (float[N,1,28,28] x) => (float[N,1] y) <float[6,1,5,5] k, float[3456,1] w> "
            "{ c = Conv (x, k) r = Relu (c) f = Flatten (r) z = MatMul (f, w) y = Sigmoid (z) }"
        ),
        "m.onnx",
    )
    target = Target.of(load_device("rram4"))
    compiled = compile_model("m.onnx", target, output="m.nvmc")
    digits = load_data("digits", limit=100)
    data = replace(digits, y=np.asarray(digits.y) % 2)
    workload = set_up(compiled, target, data=data)
    assert isinstance(workload.network, Network) and workload.network.stack is not None
    chips = Chips(Chip.of(target, 0, 0, 0.4), 0, 10)
    values = workload.run(chips)
    alone = replace(workload, network=replace(workload.network, stack=None))
    assert len(set(values)) > 3
    assert np.array_equal(alone.run(chips), values)
    assert np.array_equal(workload.run(chips, TorchExecutor("cpu")), values)


def test_a_tie_is_class_zero_and_no_number_is_wrong(folder: Path) -> None:
    """Infinite scores decide as any."""
    onnx.save(
        proto_of("g (float[N,1] x) => (float[N,1] y) <float[1,1] w = {1.0}> { y = MatMul (x, w) }"),
        "m.onnx",
    )
    target = Target.of(load_device("ideal"), weight_bits="none")
    compiled = compile_model("m.onnx", target, output="m.nvmc")
    x = np.array([[0.0], [1e-9], [-1e-9], [np.inf], [-np.inf], [np.nan]], np.float32)
    network = load_network(compiled, target, classes=True)
    both = outputs_of(network, Feed({"x": x}), Chip.ideal())
    assert both.shape == (6, 2) and np.array_equal(both[:, 1:], x, equal_nan=True)
    assert both.argmax(1)[:5].tolist() == [0, 1, 0, 1, 0]
    assert np.array_equal(load_network(compiled, target).output, "y")


def test_maps_of_single_scores(folder: Path) -> None:
    """Binary segmentation: one label a pixel."""
    onnx.save(
        proto_of(
            "g (float[N,1,4,4] x) => (float[N,1,4,4] y) <float[1,1,3,3] w> "
            "{ z = Conv <pads = [1,1,1,1]> (x, w) y = Sigmoid (z) }"
        ),
        "m.onnx",
    )
    compiled = compile_model("m.onnx", Target.of(load_device("fefet2")), output="m.nvmc")
    generator = np.random.default_rng(0)
    x = generator.standard_normal((50, 1, 4, 4)).astype(np.float32)
    y = generator.integers(2, size=(50, 4, 4))
    np.savez("maps.npz", x=x, y=y)
    session: Any = ort.InferenceSession(compiled.model_path, providers=["CPUExecutionProvider"])
    said = session.run(None, {"x": x})[0][:, 0] > 0.5
    assert simulate(compiled, runs=1, data="maps.npz", sigma=0.0).values == [np.mean(said == y)]


def test_passes_are_averaged_as_probabilities(folder: Path) -> None:
    """A logit and its sigmoid are the same network."""
    steps = ("insert-dropout:active=true,rate=0.4",)
    target = Target.of(load_device("ideal"), weight_bits="none")
    found: list[Any] = []
    for kind in LAST:
        source = write(kind, Path("m.onnx"))
        compiled = compile_model(source, target, CompileOptions(passes=steps), output="m.nvmc")
        value = simulate(compiled, runs=1, data="test.npz", mc_passes=20).values[0]
        rows = uncertainty(compiled, data="test.npz", runs=1, mc_passes=5).rows
        found.append((value, [row.mean("nll") for row in rows]))
    for value, losses in found[1:]:
        assert value == found[0][0]
        np.testing.assert_allclose(losses, found[0][1], rtol=1e-5)


def test_labels_of_the_shape_of_the_output(folder: Path) -> None:
    target = Target.of(load_device("rram4"))
    x, y = points(300, 2)
    np.savez("column.npz", x=x, y=y[:, None])
    for kind in ("logit", "flat sigmoid"):
        compiled = compile_model(write(kind, Path("m.onnx")), target, output="m.nvmc")
        both = [simulate(compiled, runs=2, data=f"{name}.npz") for name in ("test", "column")]
        assert np.array_equal(both[0].values, both[1].values) and both[0].ideal == both[1].ideal
    settings = Settings(epochs=2, chips=101)
    write("logit", Path("m.onnx"))
    made: list[bytes] = []
    for name in ("test", "column"):
        task = make_task(f"{name}.npz", target, sigma=0.2, settings=settings)
        train("m.onnx", task, make_method("erm"), output="out.onnx")
        made.append(Path("out.onnx").read_bytes())
    assert made[0] == made[1]
    np.savez("wide.npz", x=x, y=np.stack([y, y], 1))
    task = make_task("wide.npz", target, validation="test.npz", sigma=0.2, settings=settings)
    with pytest.raises(DataError, match=r"labels of shape \[2\] per image"):
        train("m.onnx", task, make_method("erm"), output="out.onnx")


@pytest.mark.parametrize(
    "last",
    [
        "s = Sigmoid (z) y = Sub (one, s)",
        "s = Exp (z) y = Div (one, s)",
        "s = Sigmoid (z) y = Log (s)",
        "y = Softplus (z)",
        "s = Softplus (z) y = Neg (s)",
        "y = Softmax (z)",
        "y = Relu (z)",
    ],
)
def test_a_number_whose_sign_says_nothing_is_refused(folder: Path, last: str) -> None:
    onnx.save(
        proto_of(
            "g (float[N,8] x) => (float[N,1] y) <float[8,1] w, float one = {1.0}> "
            f"{{ z = MatMul (x, w) {last} }}"
        ),
        "m.onnx",
    )
    target = Target.of(load_device("rram4"))
    compiled = compile_model("m.onnx", target, output="m.nvmc")
    with pytest.raises(ModelError, match="neither a score nor a Sigmoid's probability"):
        simulate(compiled, runs=1, data="test.npz")
    task = make_task("train.npz", target, sigma=0.2, settings=Settings(epochs=1, chips=101))
    with pytest.raises(ModelError, match="neither a score nor a Sigmoid's probability"):
        train("m.onnx", task, make_method("erm"), output="out.onnx")
    assert simulate(compiled, runs=1).metric == "agreement-r2"


@pytest.mark.parametrize("method", ["erm", "gaussian"])
def test_half_precision(folder: Path, method: str) -> None:
    onnx.save(
        proto_of(
            "g (float16[N,8] x) => (float16[N,1] y) <float16[8,12] w, float16[12,1] v> "
            "{ h = MatMul (x, w) r = Relu (h) z = MatMul (r, v) y = Sigmoid (z) }"
        ),
        "m.onnx",
    )
    target = Target.of(load_device("rram4"))
    task = make_task("train.npz", target, sigma=0.2, settings=Settings(epochs=2, chips=101))
    train("m.onnx", task, make_method(method), output="out.onnx")
    compiled = compile_model("out.onnx", target, output="m.nvmc")
    x, y = points(300, 2)
    said = outputs(compiled.model_path, x.astype(np.float16))
    ideal = simulate(compiled, runs=1, data="test.npz", sigma=0.1).ideal
    assert ideal == pytest.approx(np.mean((said > 0.5) == y), abs=0.01)


def test_labels_beyond_two_classes(folder: Path) -> None:
    target = Target.of(load_device("rram4"))
    compiled = compile_model(write("logit", Path("m.onnx")), target, output="m.nvmc")
    x, y = points(20, 3)
    np.savez("three.npz", x=x, y=y + 1)
    with pytest.raises(DataError, match="has label 2, but the model tells 0 to 1 apart"):
        set_up(compiled, target, data="three.npz")
    task = make_task("three.npz", target, sigma=0.2)
    with pytest.raises(DataError, match="has label 2, but the model tells 0 to 1 apart"):
        train("m.onnx", task, make_method("erm"), output="out.onnx")
    found = simulate(compiled, runs=2, sigma=0.1)
    assert found.metric == "agreement-r2"


@pytest.mark.parametrize("kind", ["erm", "ftna", "bayesft", "neft", "invnorm", "trice"])
def test_methods_train_it_or_say_why_not(folder: Path, kind: str) -> None:
    settings = Settings(epochs=20, batch=64, chips=5, percentile=20.0, rate=1e-2)
    task = make_task("train.npz", Target.of(load_device("rram4")), sigma=0.2, settings=settings)
    write("sigmoid", Path("m.onnx"))
    method = make_method(kind, SHALLOW.get(kind))
    if kind == "ftna":
        with pytest.raises(NvmcError, match="one score"):
            train("m.onnx", task, method, output="out.onnx")
        return
    done = train("m.onnx", task, method, output="out.onnx")
    x, y = points(300, 2)
    said = outputs("out.onnx", x)
    assert 0 <= said.min() and said.max() <= 1
    assert np.mean((outputs("m.onnx", x) > 0.5) == y) < 0.7
    assert np.mean((said > 0.5) == y) > 0.75
    assert done.after.ideal > 0.75


def test_the_loss_is_binary_cross_entropy(folder: Path) -> None:
    settings = Settings(epochs=1, batch=1000, rate=1e-30, decay=0.0, optimizer="sgd", chips=5)
    settings = settings.model_copy(update={"percentile": 20.0})
    target = Target.of(load_device("rram4"))
    task = make_task("train.npz", target, sigma=0.2, settings=settings)
    for kind in ("sigmoid", "flat logit"):
        write(kind, Path("m.onnx"))
        loss = train("m.onnx", task, make_method("erm"), output="out.onnx").epochs[0].loss
        compiled = compile_model("m.onnx", target, output="m.nvmc")
        said = outputs(compiled.model_path, task.train.x)
        p = said if kind == "sigmoid" else 1 / (1 + np.exp(-said.astype(float)))
        known = np.asarray(task.train.y)
        wanted = -np.mean(known * np.log(p) + (1 - known) * np.log(1 - p))
        assert loss == pytest.approx(wanted, rel=1e-5)
    write("flat sigmoid", Path("m.onnx"))
    with pytest.raises(NvmcError, match="its sigmoid is not the last node"):
        train("m.onnx", task, make_method("erm"), output="out.onnx")
