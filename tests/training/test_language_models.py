"""Transformers as torch exports them: compiled, compared with oracles chip by chip, trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from language_models import BertTagger, Gpt2, Llama, Seq2Seq, exported
from nvmc import Target, compile_model, load_device, simulate
from nvmc.cli import main
from nvmc.data import IGNORED
from nvmc.metrics.values import value_text
from nvmc.training import Settings, make_method, make_task, train

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's exporters warn of themselves

Capture = pytest.CaptureFixture[str]
Arrays = dict[str, np.ndarray]
WORDS, LENGTH, TEXTS = 11, 7, 40
MODELS: dict[str, Callable[[], torch.nn.Module]] = {
    "gpt2": lambda: Gpt2(WORDS, 16, 2, 2, 12),
    "bert": lambda: BertTagger(
        WORDS, words=WORDS, width=16, layers=2, heads=2, length=12, inner=32
    ),
    "seq2seq": lambda: Seq2Seq(WORDS, 16, 1, 2, 12),
    "llama": lambda: Llama(WORDS, 16, 2, 4, 2, 24),
}
WEIGHTS = {"gpt2": 9, "bert": 13, "seq2seq": 17, "llama": 15}
"""Matrices of weights that are multiplied with: all but embeddings."""


def texts() -> Arrays:
    """Tokens that count up by 1 or 2, of several lengths, padded with 0 behind."""
    generator = np.random.default_rng(0)
    starts, steps = generator.integers(WORDS, size=(TEXTS, 1)), generator.integers(1, 3, (TEXTS, 1))
    mask = np.arange(LENGTH) < generator.integers(4, LENGTH + 1, (TEXTS, 1))
    ids = (starts + steps * np.arange(LENGTH)) % WORDS * mask
    return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}


def inputs_of(kind: str) -> Arrays:
    found = texts()
    if kind == "bert":
        return {**found, "token_type_ids": found["input_ids"] % 2}
    if kind == "seq2seq":
        return {**found, "decoder_ids": found["input_ids"][::-1].copy()}
    return {"input_ids": found["input_ids"]}


def labels() -> np.ndarray:
    """The next tokens, nothing where they are padding."""
    found = texts()
    y = np.full((TEXTS, LENGTH), IGNORED)
    y[:, :-1] = np.where(found["attention_mask"][:, 1:] > 0, found["input_ids"][:, 1:], IGNORED)
    return y


def written(kind: str, dynamo: bool = False) -> Path:
    torch.manual_seed(0)
    example = {name: torch.tensor(array[:3]) for name, array in inputs_of(kind).items()}
    return exported(MODELS[kind](), Path(f"{kind}.onnx"), example, dynamo=dynamo)


def outputs_of(path: str | Path, inputs: Arrays) -> np.ndarray:
    session: Any = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0].astype(np.float64)


def accuracy_and_perplexity(scores: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    counted = y != IGNORED
    rows, own = scores[counted], y[counted]
    chances = np.exp(rows - rows.max(-1, keepdims=True))
    chances /= chances.sum(-1, keepdims=True)
    right = float((rows.argmax(-1) == own).mean())
    return right, float(np.exp(-np.log(chances[np.arange(len(own)), own]).mean()))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "dynamo", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["script", "dynamo"]
)
@pytest.mark.parametrize("kind", MODELS)
def test_transformers_are_mapped_judged_and_trained(kind: str, dynamo: bool) -> None:
    source, inputs, y = written(kind, dynamo), inputs_of(kind), labels()
    target = Target.of(load_device("rram4"))
    np.savez("d.npz", **inputs, y=y)
    exact = compile_model(source, Target.of(load_device("rram4"), weight_bits="none"), output="a")
    assert np.allclose(outputs_of(exact.model_path, inputs), outputs_of(source, inputs), 1e-4, 1e-5)
    compiled = compile_model(source, target, output="c.nvmc")
    work = compiled.manifest.work
    assert work.share == 1 and work.activations > 0
    assert len(compiled.manifest.layers) == WEIGHTS[kind]
    right = simulate(compiled, runs=3, sigma=0.1, data="d.npz")
    likely = simulate(compiled, runs=3, sigma=0.1, data="d.npz", metric="perplexity")
    assert right.description.reading.class_axis == 2
    for chip in (0, 2):
        words = ("program", "c.nvmc", "--sigma", "0.1", "--chip", str(chip), "-o", "chip.onnx")
        assert main(list(words)) == 0
        accuracy, perplexity = accuracy_and_perplexity(outputs_of("chip.onnx", inputs), y)
        assert right.values[chip] == accuracy
        assert likely.values[chip] == pytest.approx(perplexity, rel=1e-5)
    _trains(source, target, inputs)


def _trains(source: Path, target: Target, inputs: Arrays) -> None:
    """One epoch lowers the loss, and the file has the source's nodes with other weights."""
    settings = Settings(epochs=2, batch=4, rate=3e-3, chips=3, every=0, keep="last")
    task = make_task("d.npz", target, sigma=0.05, settings=settings, metric="perplexity")
    outcome = train(source, task, make_method("gaussian"), output="trained.onnx")
    assert outcome.epochs[1].loss < outcome.epochs[0].loss
    assert outcome.after.ideal > outcome.before.ideal  # of the likelihood, 1 / perplexity
    nodes = [[n.op_type for n in onnx.load(f).graph.node] for f in (source, "trained.onnx")]
    assert nodes[0] == nodes[1] and not outcome.canonical
    before, after = (
        accuracy_and_perplexity(outputs_of(file, inputs), labels())[1]
        for file in (source, "trained.onnx")
    )
    assert after < before


def run(capsys: Capture, *words: str) -> str:
    assert main(list(words)) == 0, capsys.readouterr().err
    return " ".join(capsys.readouterr().out.split())


def test_perplexity_in_every_command(capsys: Capture) -> None:
    """Next tokens by `next:`; every command has it in its own unit."""
    source, found = written("gpt2"), texts()
    np.savez("d.npz", **found)
    data = ("--data", "next:d.npz", "--metric", "perplexity")
    run(capsys, "compile", str(source), "--device", "rram4")
    some = (*data, "--runs", "2")
    result = json.loads(run(capsys, "simulate", *some, "--json"))
    y = labels()
    inputs = {"input_ids": found["input_ids"]}
    _, perplexity = accuracy_and_perplexity(outputs_of("gpt2.nvmc/model.onnx", inputs), y)
    assert result["ideal"] == pytest.approx(perplexity, rel=1e-5)
    assert result["description"]["data"] == "next:d.npz"
    ideal, kpp = (value_text("perplexity", v) for v in (result["ideal"], max(result["values"])))
    told = run(capsys, "simulate", *some)
    assert "40 sequences (next:d.npz)" in told and "from the store 2 chips" in told
    assert f"ideal chip perplexity {ideal}" in told and f"{kpp} the worst chip" in told
    told = run(capsys, "sweep", *some, "--sigma", "0,0.3")
    assert "perplexity, less is better" in told and ideal in told
    told = run(capsys, "sensitivity", *data, "--runs", "3")
    assert ideal in told and "perplexity" in told
    words = ("--device", "rram4", "--method", "erm", "--epochs", "1", "--chips", "2")
    told = run(capsys, "train", str(source), *data, *words, "-o", "better.onnx")
    assert "perplexity" in told.split("trained with")[1].split("KPP of")[0]
    assert "simulate better.nvmc --data next:d.npz --metric perplexity" in told


def test_training_refuses_a_metric_that_labels_do_not_allow(capsys: Capture) -> None:
    np.savez("d.npz", input_ids=texts()["input_ids"])
    words = ("train", str(written("gpt2")), "--data", "next:d.npz", "--metric", "cosine")
    assert main(list(words)) == 1
    assert "'cosine' compares outputs with target values" in capsys.readouterr().err
