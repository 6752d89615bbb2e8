"""Which biases and norm parameters cells hold under `--store`, whatever wrote the network."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from nvmc.errors import OptionError
from nvmc.passes.graph.mappable import layers_of, nodes_of
from nvmc.passes.graph.node_parameters import parameters_of
from nvmc.passes.invert_normalization import InvertNormalization
from tests.onnx_text import model_of

GROUPS = """g (float[2,4,8,8] x) => (float[2,4,8,8] y)
<float[4,4,1,1] w, float[4,1,1] gamma, float[4,1,1] beta> {
  c = Conv (x, w)
  apart = Constant <value = int64[3] {0, 2, -1}> ()
  one = Constant <value = float[2] {1, 1}> ()
  zero = Constant <value = float[2] {0, 0}> ()
  s = Shape (c)
  r = Reshape (c, apart)
  i = InstanceNormalization (r, one, zero)
  b = Reshape (i, s)
  m = Mul (b, gamma)
  y = Add (m, beta)
}"""
LAYER = """g (float[2,3,8] x) => (float[2,3,6] y)
<float[8,6] w, float[6] gamma, float[6] beta> {
  c = MatMul (x, w)
  axes = Constant <value = int64[1] {-1}> ()
  two = Constant <value = float {2}> ()
  eps = Constant <value = float {0.00001}> ()
  mean = ReduceMean (c, axes)
  d = Sub (c, mean)
  p = Pow (d, two)
  v = ReduceMean (p, axes)
  e = Add (v, eps)
  r = Sqrt (e)
  n = Div (d, r)
  m = Mul (gamma, n)
  y = Add (m, beta)
}"""
RMS = """g (float[2,3,8] x) => (float[2,3,6] y) <float[8,6] w, float[6] gamma> {
  c = MatMul (x, w)
  axes = Constant <value = int64[1] {-1}> ()
  eps = Constant <value = float {0.00001}> ()
  p = Mul (c, c)
  v = ReduceMean (p, axes)
  e = Add (v, eps)
  q = Sqrt (e)
  r = Reciprocal (q)
  n = Mul (c, r)
  y = Mul (n, gamma)
}"""
BATCH = """g (float[2,4,8,8] x) => (float[2,4,8,8] y)
<float[4,4,1,1] w, float[4] gamma, float[4] beta, float[4] m, float[4] v = {1.0, 2.0, 0.5, 0.7}> {
  c = Conv (x, w)
  y = BatchNormalization (c, gamma, beta, m, v)
}"""
BARE = """g (float[2,4,8,8] x) => (float[2,4,8,8] y)
<float[4,4,1,1] w, float[4] gamma = {1, 1, 1, 1}, float[4] beta = {0, 0, 0, 0}> {
  c = Conv (x, w)
  y = InstanceNormalization (c, gamma, beta)
}"""


def _stored(model: ir.Model) -> set[str]:
    found = parameters_of(layers_of(model), nodes_of(model), ("norm",))
    return {str(parameter.value.name) for parameter in found}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (GROUPS, {"gamma", "beta"}),
        (LAYER, {"gamma", "beta"}),
        (RMS, {"gamma"}),
        (BATCH, {"gamma", "beta"}),
    ],
    ids=["groups", "layer", "rms", "batch"],
)
def test_norm_parameters_are_those_of_the_source(text: str, names: set[str]) -> None:
    model = model_of(text)
    for name in names:
        assert name in model.graph.initializers
    assert _stored(model) == names


@pytest.mark.parametrize("active", [False, True], ids=["plain", "active dropout"])
@pytest.mark.parametrize("text", [GROUPS, BATCH], ids=["groups", "batch"])
def test_those_of_inverted_normalisations(text: str, active: bool) -> None:
    model = model_of(text)
    InvertNormalization(active=active, init="random")(model)
    names = _stored(model)
    assert len(names) == 2
    assert {name.rsplit("_", 1)[1] for name in names} == {"gamma", "beta"}


@pytest.mark.parametrize("kind", ["norm", "bias"])
def test_nothing_to_store_is_refused(kind: str) -> None:
    model = model_of(BARE)
    with pytest.raises(OptionError, match=rf"--store {kind}: .* leave --store {kind} out"):
        parameters_of(layers_of(model), nodes_of(model), (kind,))  # type: ignore[arg-type]


def test_the_refusal_names_the_export_option() -> None:
    with pytest.raises(OptionError, match="dynamo=True, optimize=False"):
        _stored(model_of(BARE))
