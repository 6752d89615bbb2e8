"""What holds for every row of the table of methods."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest

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


def run(
    folder: Path, kind: str, name: str, epochs: int = 4, rate: float = 1e-2, **options: Any
) -> Path:
    output = folder / f"{name}.onnx"
    method = make_method(kind, OPTIONS.get(kind))
    source = small_network(folder)
    if kind == "invnorm":  # it inverts a normalisation
        onnx.save(proto_of(NORMALISED), source)
    train(source, small_task(epochs=epochs, rate=rate, chips=4), method, output=output, **options)
    return output


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


@pytest.mark.parametrize("kind", METHODS)
def test_what_comes_out_is_onnx_that_compiles(tmp_path: Path, kind: str) -> None:
    output = run(tmp_path, kind, "out", epochs=8, rate=3e-2)
    onnx.checker.check_model(str(output), full_check=True)
    data = blobs(20, 3)
    session = onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])
    scores: Any = session.run(None, {"x": data.x})[0]
    assert scores.shape == (20, 3)
    compiled = compile_model(output, small_target(), output=tmp_path / "out.nvmc")
    assert simulate(compiled, runs=4, data=blobs(200, 4), sigma=0.1).ideal > 0.6


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_keeps_weights_in_their_range(tmp_path: Path, kind: str) -> None:
    """Each step leaves max|W| at K standard deviations, and so shrinks these a little."""
    source = small_network(tmp_path)
    if kind == "invnorm":
        onnx.save(proto_of(NORMALISED), source)
    task = small_task(epochs=2, rate=1e-2, clip=1.3, chips=4)
    train(source, task, make_method(kind, OPTIONS.get(kind)), output=tmp_path / "out.onnx")
    peaks: dict[str, float] = {}
    for name in (source.stem, "out"):
        file = tmp_path / f"{name}.onnx"
        found = compile_model(file, small_target(), output=tmp_path / f"{name}.nvmc")
        peaks[name] = max(entry.outliers.peak for entry in found.manifest.arrays if entry.outliers)
    assert peaks["out"] < 1.5 < peaks[source.stem]


@pytest.mark.parametrize("kind", METHODS)
def test_a_method_is_a_plain_value(kind: str) -> None:
    method = make_method(kind)
    assert method.kind == kind and 0 < len(method.title) <= 90
    assert pickle.loads(pickle.dumps(method)) == method == make_method(kind, method.model_dump())
