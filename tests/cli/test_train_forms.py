"""What `nvmc train` says of learned bounds and of weights that the network computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from nvmc.cli import main
from onnx_text import proto_of
from small_training import blobs

NET = """g (float[N,8] x) => (float[N,3] y)
<float[8,12] v, float[12] b1, float[12,3] w2, float[3] b2, float a = {1.3}> {
  s = Sign (v) p = Abs (v) m = ReduceMean <keepdims = 0> (p) w = Mul (s, m)
  h = Gemm (x, w, b1) r = Relu (h) c = Min (r, a)
  n = Constant <value = float {15}> () %s
  q = Mul (c, k) o = Round (q) e = Div (o, k)
  y = Gemm (e, w2, b2)
}"""
OURS = "1 bound is trained (PACT): a"


@pytest.mark.parametrize(
    ("steps", "options", "told", "untold"),
    [
        ("k = Div (n, a)", [], [OURS, "latent weights are trained"], ["as numbers", "Not trained"]),
        ("k = Div (n, a)", ["--activation-bits", "4"], [OURS, "what they give as numbers"], []),
        ("k = Constant <value = float {11.538462}> ()", [], ["Not trained: a,"], [OURS]),
    ],
)
def test_what_is_trained_is_said(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    steps: str,
    options: list[str],
    told: list[str],
    untold: list[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.chdir(tmp_path)
    data = blobs(96, 1)
    np.savez("blobs.npz", x=data.x, y=data.y)
    onnx.save(proto_of(NET % steps), "net.onnx")
    words = "train net.onnx --method erm --device bitflip --weight-bits 4 --data blobs.npz".split()
    words += "--epochs 1 --chips 2 --percentile 50 --bits w=1".split()
    assert main([*words, *options]) == 0
    found = " ".join(capsys.readouterr().out.split())
    assert all(text in found for text in told) and not any(text in found for text in untold)
