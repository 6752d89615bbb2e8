"""Several labels an image, each yes or no (multi-label): a score or a sigmoid for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import sklearn.metrics as oracle

from nvmc import Target, compile_model, load_device, simulate
from nvmc.cli import main
from nvmc.data import IGNORED
from nvmc.errors import NvmcError
from onnx_text import proto_of

LOGITS = """g (float[N,6] x) => (float[N,4] y)
<float[6,4] w, float[4] b> {
  y = Gemm (x, w, b)
}"""
SIGMOIDS = """g (float[N,6] x) => (float[N,4] y)
<float[6,4] w, float[4] b> {
  h = Gemm (x, w, b)
  y = Sigmoid (h)
}"""


@pytest.mark.parametrize("text", [LOGITS, SIGMOIDS])
def test_each_label_is_a_decision(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(proto_of(text), "m.onnx")
    network = compile_model("m.onnx", Target.of(load_device("fefet2"), weight_bits=4))
    generator = np.random.default_rng(0)
    x = generator.standard_normal((70, 6)).astype(np.float32)
    y = generator.integers(2, size=(70, 4))
    y[generator.random(y.shape) < 0.1] = IGNORED
    np.savez("d.npz", x=x, y=y)
    assert main(["program", "m.nvmc", "--chip", "2", "--sigma", "0.4", "-o", "chip.onnx"]) == 0
    session: Any = ort.InferenceSession("chip.onnx", providers=["CPUExecutionProvider"])
    scores = session.run(None, {"x": x})[0]
    decided, kept = scores > (0.5 if text is SIGMOIDS else 0), y != IGNORED
    wanted = {
        "accuracy": oracle.accuracy_score(y[kept], decided[kept]),
        "f1:of=1": oracle.f1_score(y[kept], decided[kept]),
        "miou:of=1": oracle.jaccard_score(y[kept], decided[kept]),
        "auc": oracle.roc_auc_score(y[kept], scores[kept]),  # over all labels at once (micro)
    }
    for name, value in wanted.items():
        found = simulate(network, runs=3, sigma=0.4, data="d.npz", metric=name)
        assert found.values[2] == pytest.approx(value, rel=1e-6)
        assert found.description.reading.holds == "label scores"
    capsys.readouterr()
    assert main(["simulate", "m.nvmc", "--data", "d.npz", "--runs", "2"]) == 0
    assert "label scores" in capsys.readouterr().out
    np.savez("e.npz", x=x, y=2 * y.clip(0))
    with pytest.raises(NvmcError, match="labels of e.npz have shape"):
        simulate(network, runs=2, data="e.npz")
