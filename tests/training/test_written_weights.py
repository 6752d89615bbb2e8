"""The file that training writes computes with the weights that were trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from nvmc.training import make_method, train
from onnx_models import run_proto
from onnx_text import proto_of
from small_training import small_task

RNG = np.random.default_rng(1)
WEIGHT = (0.4 * RNG.standard_normal((8, 8))).astype(np.float32)
CODES = RNG.integers(-127, 128, (8, 8)).astype(np.int8)
FORMS = {
    "plain": "w = Identity (v)",
    "transposed": "w = Transpose (v)",
    "codes": "w = DequantizeLinear (q, s)",
    "rounded": "c = QuantizeLinear (v, s, z) w = DequantizeLinear (c, s, z)",
    "integers": "c = Cast <to = 1> (q) w = Mul (c, s)",
}


@pytest.mark.parametrize("form", FORMS)
def test_the_file_is_as_good_as_training_says(tmp_path: Path, form: str) -> None:
    text = f"""g (float[N,8] x) => (float[N,3] y) <float[8,3] o, float[3] b> {{
      {FORMS[form]}
      h = MatMul (x, w)
      a = Tanh (h)
      y = Gemm (a, o, b)
    }}"""
    stored = {"v": WEIGHT, "q": CODES, "s": np.float32(0.004), "z": np.int8(0)}
    used = {key: value for key, value in stored.items() if f"{key}," in text or f"{key})" in text}
    onnx.save(proto_of(text, **used), tmp_path / "m.onnx")
    task = small_task(epochs=10, rate=3e-2)
    done = train(tmp_path / "m.onnx", task, make_method("erm"), output=tmp_path / "out.onnx")
    assert done.canonical == (form not in ("plain", "rounded"))
    scores = run_proto(onnx.load(tmp_path / "out.onnx"), {"x": task.validation.x})[0]
    found = float((scores.argmax(1) == task.validation.y).mean())
    assert found > 0.8 and abs(found - done.after.ideal) <= 2 / 60  # codes of four bits decide
