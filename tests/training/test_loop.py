"""The loop: what is kept, when it stops, that a checkpoint changes nothing, what comes out."""

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from nvmc.compiled.options import CompileOptions
from nvmc.compiler import compile_model
from nvmc.data import Dataset, load_data
from nvmc.errors import DataError, ModelError, OptionError, TrainingError
from nvmc.evaluation.simulation import simulate
from nvmc.hardware.chip import CHOOSING
from nvmc.hardware.devices import Target, load_device
from nvmc.models.zoo import zoo_path
from nvmc.passes.io.load import load_model
from nvmc.training import Epoch, Settings, Task, make_method, make_task, train
from nvmc.training.method import Method
from nvmc.training.run import Run

MLP = zoo_path("mlp3-digits")
TARGET = Target.of(load_device("rram4"), weight_bits=4, cell_bits=2)
QUICK = Settings(epochs=3, batch=128, chips=12, every=1, init="random", rate=3e-3)

ROUNDED = CompileOptions(activation_bits=4)


def task(settings: Settings = QUICK, images: int = 400, **options: Any) -> Task:
    made = make_task("digits", TARGET, sigma=0.3, settings=settings, **options)
    some = Dataset("some", made.train.x[:images], np.asarray(made.train.y)[:images])
    return replace(made, train=some)


def weights_of(path: Path) -> dict[str, np.ndarray]:
    initializers = load_model(path).graph.initializers
    return {name: v.const_value.numpy() for name, v in initializers.items()}  # type: ignore[union-attr]


def same(left: Path, right: Path) -> bool:
    one, other = weights_of(left), weights_of(right)
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def described(node: ir.Node) -> tuple[Any, ...]:
    names = [[value and value.name for value in side] for side in (node.inputs, node.outputs)]
    return node.name, node.op_type, names, {k: a.value for k, a in node.attributes.items()}


class Scripted(Method):
    """Makes no step; its KPPs are written down."""

    kind: ClassVar[str] = "scripted"
    title: ClassVar[str] = "a test"
    kpps: tuple[float, ...]

    def begin(self, run: Run) -> None:
        run.memory["epoch"] = 0

    def epoch(self, run: Run, epoch: int) -> float:
        replica = run.replicas[0]
        with torch.no_grad():
            for weight in replica.graph.weights.values():
                weight.fill_(epoch + 1)
        replica.version += 1
        kpp = self.kpps[epoch]
        run.judged = lambda _: type("J", (), {"kpp": kpp, "ideal": kpp})()  # type: ignore[method-assign]
        return float(epoch)

    def steps_taken(self, run: Run, done: int) -> tuple[int, ...]:
        return (0,)


@pytest.mark.parametrize(
    ("kpps", "keep", "patience", "kept", "ran"),
    [
        ((0.1, 0.5, 0.3), "best", 0, 2, 3),
        ((0.1, 0.5, 0.5), "best", 0, 3, 3),  # the later among equals
        ((0.6, 0.5, 0.3), "best", 0, 1, 3),
        ((0.6, 0.5, 0.3), "last", 0, 3, 3),
        ((0.6, 0.5, 0.3), "best", 1, 1, 2),
        ((0.6, 0.5, 0.7), "best", 2, 3, 3),
        ((0.6, 0.5, 0.7), "last", 1, 2, 2),
    ],
)
def test_kept_and_stopped(tmp_path: Path, kpps: Any, keep: Any, patience: int, kept: int, ran: int):
    settings = QUICK.model_copy(update={"keep": keep, "patience": patience})
    output = tmp_path / "out.onnx"
    outcome = train(MLP, task(settings, 128), Scripted(kpps=kpps), output=output)
    assert (outcome.kept, len(outcome.epochs), outcome.stopped) == (kept, ran, ran < 3)
    assert [e.best for e in outcome.epochs] == [kpps[i] == max(kpps[: i + 1]) for i in range(ran)]
    trained = weights_of(output)
    assert {float(w.max()) for n, w in trained.items() if "weight" in n} == {float(kept)}


def test_kpps_come_every_so_many_epochs_and_at_the_end(tmp_path: Path):
    settings = QUICK.model_copy(update={"epochs": 5, "every": 2})
    outcome = train(MLP, task(settings, 128), make_method("erm"), output=tmp_path / "o.onnx")
    assert [epoch.kpp is not None for epoch in outcome.epochs] == [False, True, False, True, True]


@pytest.mark.parametrize("stop", [1, 2])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, stop: int):
    class Killed(Exception):
        pass

    def kill(epoch: Epoch) -> None:
        if epoch.epoch == stop:
            raise Killed

    method, checkpoint = make_method("gaussian"), tmp_path / "run.checkpoint"
    whole = train(MLP, task(), method, output=tmp_path / "whole.onnx")
    with pytest.raises(Killed):
        train(
            MLP,
            task(),
            method,
            output=tmp_path / "parts.onnx",
            checkpoint=checkpoint,
            on_epoch=kill,
        )
    assert checkpoint.is_file() and not (tmp_path / "parts.onnx").exists()
    parts = train(
        MLP, task(), method, output=tmp_path / "parts.onnx", checkpoint=checkpoint, resume=True
    )
    assert parts.resumed == stop
    assert same(tmp_path / "whole.onnx", tmp_path / "parts.onnx")
    told = [(e.epoch, e.loss, e.kpp, e.best) for e in whole.epochs]
    assert told == [(e.epoch, e.loss, e.kpp, e.best) for e in parts.epochs]
    assert (whole.after, whole.kept) == (parts.after, parts.kept)
    assert not checkpoint.exists()


def test_the_same_seed_gives_the_same_weights_and_another_other_ones(tmp_path: Path):
    files = [tmp_path / f"{k}.onnx" for k in range(3)]
    for file, seed in zip(files, (0, 0, 1), strict=True):
        torch.rand(1)  # the global generator has no say
        settings = QUICK.model_copy(update={"seed": seed})
        train(MLP, task(settings), make_method("gaussian"), output=file)
    assert same(files[0], files[1]) and not same(files[0], files[2])


def test_the_kpp_is_what_compile_and_simulate_find(tmp_path: Path):
    output = tmp_path / "out.onnx"
    settings = QUICK.model_copy(update={"init": "keep"})
    outcome = train(MLP, task(settings, options=ROUNDED), make_method("gaussian"), output=output)
    compiled = compile_model(output, TARGET, output=tmp_path / "out.nvmc")
    found = simulate(
        compiled,
        runs=QUICK.chips,
        data=load_data("digits", "validation"),
        sigma=0.3,
        seed=CHOOSING + QUICK.seed,
    )
    assert (found.kpp.value, found.ideal) == (outcome.after.kpp, outcome.after.ideal)


def test_noise_injection_makes_better_chips(tmp_path: Path):
    """At a strength where it gained 9 to 25 points at the median chip over seeds and threads."""
    settings = Settings(
        epochs=12, batch=32, chips=50, percentile=50, every=0, init="random", rate=3e-3
    )
    strong = replace(task(settings, 1087), sigma=1.4)
    found = {
        kind: train(MLP, strong, make_method(kind), output=tmp_path / f"{kind}.onnx").after.kpp
        for kind in ("erm", "gaussian")
    }
    assert found["gaussian"] > found["erm"] + 0.04


def test_the_graph_that_comes_out_is_the_one_that_went_in(tmp_path: Path):
    output = tmp_path / "out.onnx"
    outcome = train(MLP, task(), make_method("erm"), output=output)
    assert not outcome.canonical
    before, after = load_model(MLP), load_model(output)
    assert [described(node) for node in before.graph] == [described(node) for node in after.graph]
    assert before.opset_imports == after.opset_imports
    assert weights_of(MLP).keys() == weights_of(output).keys()
    x = load_data("digits", limit=4).x
    session = onnxruntime.InferenceSession(output)
    assert session.run(None, {session.get_inputs()[0].name: x})[0].shape == (4, 10)


def test_an_analog_network_with_rounded_activations_compiles_again(tmp_path: Path):
    """Its file is the canonical form, whose tensors compiled copies have shared."""
    target, output = Target.of(load_device("reram-lognormal")), tmp_path / "o.onnx"
    rounded = task(QUICK.model_copy(update={"init": "keep"}), 128, options=ROUNDED)
    outcome = train(MLP, replace(rounded, target=target), make_method("erm"), output=output)
    assert outcome.canonical
    compile_model(output, target, output=tmp_path / "o.nvmc")


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path):
    checkpoint = tmp_path / "c"

    def kill(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    files: Mapping[str, Any] = {"output": tmp_path / "o.onnx", "checkpoint": checkpoint}
    with pytest.raises(KeyboardInterrupt):
        train(MLP, task(images=128), make_method("erm"), on_epoch=kill, **files)
    with pytest.raises(OptionError, match="has not ended; resume it, or remove"):
        train(MLP, task(images=128), make_method("erm"), **files)
    other = task(QUICK.model_copy(update={"rate": 1.0}), 128)
    with pytest.raises(OptionError, match=r"another run: rate is 0.003 there and 1.0 here"):
        train(MLP, other, make_method("erm"), resume=True, **files)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(OptionError, match="no checkpoint of this nvmc train, or is damaged"):
        train(MLP, task(images=128), make_method("erm"), resume=True, **files)
    checkpoint.unlink()
    with pytest.raises(OptionError, match="no checkpoint"):
        train(MLP, task(images=128), make_method("erm"), resume=True, **files)
    assert not (tmp_path / "o.onnx").exists()


def test_what_is_refused_is_refused_before_chips_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def judged(*_: Any) -> None:
        raise AssertionError("chips were judged first")

    monkeypatch.setattr(import_module("nvmc.training.train"), "judge_source", judged)
    files: Mapping[str, Any] = {"output": tmp_path / "o.onnx", "checkpoint": tmp_path / "c"}
    with pytest.raises(OptionError, match="no checkpoint"):
        train(MLP, task(), make_method("erm"), resume=True, **files)
    drifting = replace(task(), target=Target.of(load_device("pcm-joshi2020")))
    with pytest.raises(OptionError, match="no closed-form spread"):
        train(MLP, drifting, make_method("rc-gaussian"), **files)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path):
    settings = QUICK.model_copy(update={"optimizer": "sgd", "rate": 1e20})
    with pytest.raises(TrainingError, match="the loss is .* in epoch"):
        train(MLP, task(settings), make_method("erm"), output=tmp_path / "o.onnx")
    assert not (tmp_path / "o.onnx").exists()


def test_bad_tasks_are_refused(tmp_path: Path):
    x = load_data("digits", "train", limit=40).x
    unlabelled, wrong, few = tmp_path / "u.npz", tmp_path / "w.npz", tmp_path / "f.npz"
    np.savez(unlabelled, x=x)
    np.savez(wrong, x=x[:, :, :20], y=np.zeros(40, np.int64))
    np.savez(few, x=x[:1], y=np.zeros(1, np.int64))
    with pytest.raises(DataError, match="has no labels"):
        make_task(str(unlabelled), TARGET)
    with pytest.raises(DataError, match="a tenth is held out"):
        make_task(str(few), TARGET)
    with pytest.raises(OptionError, match="sigma is -1"):
        make_task("digits", TARGET, sigma=-1.0)
    with pytest.raises(DataError, match="holds .* of"):
        train(MLP, make_task(str(wrong), TARGET), make_method("erm"), output=tmp_path / "o.onnx")
    with pytest.raises(OptionError, match="is the source"):
        train(MLP, task(), make_method("erm"), output=MLP)
    with pytest.raises(OptionError, match="no folder"):
        train(MLP, task(), make_method("erm"), output=tmp_path / "none" / "o.onnx")
    skipped = task(options=CompileOptions(skip=("*",)))
    with pytest.raises(ModelError, match="no layer with trained weights on crossbars"):
        train(MLP, skipped, make_method("erm"), output=tmp_path / "o.onnx")


def test_a_tenth_of_a_file_is_held_out(tmp_path: Path):
    file = tmp_path / "d.npz"
    data = load_data("digits", "train", limit=200)
    np.savez(file, x=data.x, y=np.asarray(data.y))
    made = make_task(str(file), TARGET)
    assert (len(made.train.x), len(made.validation.x)) == (180, 20)
    rows = {x.tobytes() for x in made.train.x} | {x.tobytes() for x in made.validation.x}
    assert rows == {x.tobytes() for x in data.x}


@pytest.mark.parametrize(
    ("kind", "options", "complaint"),
    [
        ("nothing", {}, "method 'nothing' is unknown; expected one of"),
        (
            "gaussian",
            {"sigmas": 1},
            "key 'sigmas' is unknown; .*mean 'sigma'",
        ),
        ("gaussian", {"sigma": "much"}, "sigma: .*'much'"),
    ],
)
def test_methods_are_checked(kind: str, options: dict[str, object], complaint: str):
    with pytest.raises(OptionError, match=complaint):
        make_method(kind, options)
