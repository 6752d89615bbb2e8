"""Training networks whose inputs are given sizes and constants."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from nvmc import CompileOptions, compile_model, simulate
from nvmc.errors import OptionError
from nvmc.training import Settings, make_method, make_task, train
from onnx_text import proto_of

TEXT = """g (float[N,D] x, float gain) => (float[N,2] y) <float[4,2] w> {
  s = Mul (x, gain)
  y = MatMul (s, w)
}"""
X = np.random.default_rng(2).standard_normal((60, 4), np.float32)
DATA = (X, (X[:, 0] > X[:, 1]).astype(int))
OPTIONS = CompileOptions(shape=("x=Nx4",), inputs=("gain=2",))


def test_what_is_trained_compiles_with_the_same_options(tmp_path: Path) -> None:
    """The file keeps its own inputs, and trained weights are right of what is given."""
    onnx.save(proto_of(TEXT), tmp_path / "m.onnx")
    settings = Settings(epochs=20, chips=3, rate=0.05, batch=20)
    task = make_task(DATA, "fefet2", settings=settings, options=OPTIONS)
    out = tmp_path / "better.onnx"
    train(tmp_path / "m.onnx", task, make_method("erm"), output=out)
    assert [value.name for value in onnx.load(out).graph.input] == ["x", "gain"]
    compiled = compile_model(out, "fefet2", OPTIONS, output=tmp_path / "better.nvmc")
    assert compiled.manifest.inputs[0].shape == ["N", 4]
    assert simulate(compiled, runs=1, data=DATA).ideal > 0.9


def test_states_are_not_trained() -> None:
    with pytest.raises(OptionError, match="training takes skip, activation_bits, shape, inputs"):
        make_task(DATA, "fefet2", options=CompileOptions(state=("h=hn",)))
