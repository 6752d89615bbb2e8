"""What holds for every row of the table of methods."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest

from nvmc.compiled.artifact import Compiled
from nvmc.compiler import compile_model
from nvmc.evaluation.simulation import simulate
from nvmc.training import METHODS, Epoch, make_method, train
from onnx_text import proto_of
from small_training import blobs, small_network, small_target, small_task

OPTIONS: dict[str, dict[str, object]] = {
    "a-trice": {"warm": 1},
    "bayes-noise": {"interval": 1, "initial": 1, "samples": 2},
    "bayesft": {"interval": 1, "initial": 1, "samples": 2},
    "trice": {"warm": 1},
}
"""What lets a method do in four epochs what it does in a hundred."""

NORMALISED = """g (float[N,8] x) => (float[N,3] y)
<float[8,12] w1, float[12] b1, float[12] s, float[12] t, float[12,3] w2, float[3] b2> {
  h = Gemm (x, w1, b1)
  n = LayerNormalization (h, s, t)
  a = Tanh (n)
  y = Gemm (a, w2, b2)
}"""


def source_of(folder: Path, kind: str) -> Path:
    source = small_network(folder)
    if kind == "invnorm":  # it inverts a normalisation
        onnx.save(proto_of(NORMALISED), source)
    return source


def run(
    folder: Path, kind: str, name: str, settings: dict[str, Any] | None = None, **options: Any
) -> Path:
    output = folder / f"{name}.onnx"
    task = small_task(chips=4, **(settings or {}))
    train(
        source_of(folder, kind),
        task,
        make_method(kind, OPTIONS.get(kind)),
        output=output,
        **options,
    )
    return output


def peak(compiled: Compiled) -> float:
    """max|W| in standard deviations of the weights."""
    return max(entry.outliers.peak for entry in compiled.manifest.arrays if entry.outliers)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, float]:
    """Peaks of the two sources, by whether they are the one with a normalisation."""
    found = dict[bool, float]()
    for kind in ("erm", "invnorm"):
        folder = tmp_path_factory.mktemp(kind)
        network = compile_model(source_of(folder, kind), small_target(), output=folder / "n.nvmc")
        found[kind == "invnorm"] = peak(network)
    return found


@pytest.mark.usefixtures("judged_once")
@pytest.mark.parametrize("kind", METHODS)
def test_interrupted_after_any_epoch_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    """Every epoch is interrupted and resumed by a run that knows only the checkpoint."""
    whole = run(tmp_path, kind, "whole")
    checkpoint = tmp_path / "checkpoint"

    def interrupt(epoch: Epoch) -> None:
        if epoch.epoch < 4:
            raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            resume = checkpoint.exists()
            run(tmp_path, kind, "parts", checkpoint=checkpoint, resume=resume, on_epoch=interrupt)
    parts = run(tmp_path, kind, "parts", checkpoint=checkpoint, resume=True)
    assert parts.read_bytes() == whole.read_bytes()


@pytest.mark.usefixtures("judged_once")
@pytest.mark.parametrize("kind", METHODS)
def test_what_comes_out_is_onnx_that_compiles(
    tmp_path: Path, kind: str, before: dict[bool, float]
) -> None:
    """And keeps its weights in the range that they are clipped to.

    Each step leaves max|W| at 1.3 standard deviations, and so shrinks these a little.
    """
    output = run(tmp_path, kind, "out", {"epochs": 8, "rate": 3e-2, "clip": 1.3})
    onnx.checker.check_model(str(output), full_check=True)
    data = blobs(20, 3)
    session = onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])
    scores: Any = session.run(None, {"x": data.x})[0]
    assert scores.shape == (20, 3)
    compiled = compile_model(output, small_target(), output=tmp_path / "out.nvmc")
    assert simulate(compiled, runs=4, data=blobs(200, 4), sigma=0.1).ideal > 0.6
    assert peak(compiled) < 1.5 < before[kind == "invnorm"]


@pytest.mark.parametrize("kind", METHODS)
def test_a_method_is_a_plain_value(kind: str) -> None:
    method = make_method(kind)
    assert method.kind == kind and 0 < len(method.title) <= 90
    assert pickle.loads(pickle.dumps(method)) == method == make_method(kind, method.model_dump())
