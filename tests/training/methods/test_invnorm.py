"""invnorm behind recurrent layers: what it trains, what it says and what chips then draw."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nvmc.compiler import compile_model
from nvmc.data import Dataset
from nvmc.errors import TrainingError
from nvmc.evaluation.simulation import simulate
from nvmc.training import train
from nvmc.training.methods import make_method
from nvmc.training.settings import Settings
from nvmc.training.task import Task
from onnx_text import proto_of
from small_training import small_target

LSTM = """g (float[N,5,1] x) => (float[N,3] y)
<float[1,16,1] w1, float[1,16,4] r1, float[1,16,4] w2, float[1,16,4] r2, int64[1] one = {1},
 int64[1] zero = {0}, float[4,3] w3, float[3] b3> {
  t = Transpose <perm = [1, 0, 2]> (x)
  [first] a = LSTM <hidden_size: int = 4> (t, w1, r1)
  b = Squeeze (a, one)
  [second] c, d = LSTM <hidden_size: int = 4> (b, w2, r2)
  e = Squeeze (d, zero)
  [fc] y = Gemm (e, w3, b3)
}"""


def network(folder: Path) -> Path:
    onnx.save(proto_of(LSTM), folder / "lstm.onnx")
    return folder / "lstm.onnx"


def slopes(count: int, seed: int) -> Dataset:
    """Three classes of short series: falling, level, rising."""
    generator = np.random.default_rng(seed)
    y = generator.integers(3, size=count)
    x = (y[:, None] - 1) * np.linspace(-1, 1, 5) + 0.2 * generator.standard_normal((count, 5))
    return Dataset("slopes", x[:, :, None].astype(np.float32), y)


def task() -> Task:
    settings: dict[str, Any] = {"epochs": 60, "batch": 32, "every": 0, "init": "random"}
    data = slopes(96, 1), slopes(60, 2)
    return Task(small_target(weight_bits=8), 0.05, *data, Settings(**settings, rate=3e-2))


def test_it_trains_the_affine_steps_behind_recurrent_layers_and_says_where(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    method = make_method("invnorm", {"recurrent": "each", "p": 0.1})
    outcome = train(network(tmp_path), task(), method, output=path)
    assert outcome.summary["normalised"] == "first, second_last"
    found = ir.load(path).graph
    for name in ("first_gamma", "first_beta", "second_last_gamma", "second_last_beta"):
        values = found.initializers[name].const_value.numpy()
        assert values.shape == (1, 1, 4)
        start = 1 if name.endswith("gamma") else 0
        assert not np.array_equal(values, np.full_like(values, start))
    for node in found:
        if node.op_type == "LayerNormalization":
            assert (node.inputs[1].const_value.numpy() == 1).all()
    compiled = compile_model(path, small_target(weight_bits=8), output=tmp_path / "m.nvmc")
    one, many = (
        simulate(compiled, data=slopes(80, 3), runs=4, sigma=0.05, mc_passes=t) for t in (1, 20)
    )
    # chance is 1/3, and 5 standard errors of 80 series above it 0.6
    assert many.summary.mean > 0.6
    assert not np.array_equal(many.values, one.values)


def test_it_says_what_to_ask_for_where_only_recurrent_layers_could_have_one(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="options recurrent=each"):
        train(network(tmp_path), task(), make_method("invnorm"), output=tmp_path / "m.onnx")
