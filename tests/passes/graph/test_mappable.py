"""Layers inside If, Loop and Scan are found alike by everything that asks for layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
import torch

from nvmc.compiled.operators import DOMAIN
from nvmc.errors import ModelError, OptionError
from nvmc.hardware.devices import Target, load_device
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.fold_batchnorm import FoldBatchnorm
from nvmc.passes.graph.globs import check_skip
from nvmc.passes.graph.mappable import layers_of, main_layers, nodes_of, weight_of
from nvmc.passes.insert_dropout import InsertDropout
from nvmc.passes.invert_normalization import InvertNormalization
from nvmc.passes.map_crossbars import MapCrossbars
from nvmc.passes.quantize_activations import QuantizeActivations
from nvmc.passes.quantize_weights import QuantizeWeights
from nvmc.training.crossbars import Crossbars
from nvmc.training.initialisation import initialise
from nvmc.training.methods.neft import snapshot_values
from onnx_text import model_of, run

TARGET = Target.of(load_device("fefet2"))
BODY = "[inner] m = MatMul (s, w) n = BatchNormalization (m, g, t, u, v) z = Tanh (n)"
PARTS = {
    "If": """top = ReduceMax <keepdims = 0> (x) some = Cast <to = 9> (top)
      h = If (some) <
        then_branch = a () => (float[2,4] z) { [inner] m = Gemm (x, w, b)
          n = BatchNormalization (m, g, t, u, v) z = Tanh (n) },
        else_branch = e () => (float[2,4] z2) { z2 = Neg (x) }>""",
    "Loop": """h = Loop (k, c, x) <
        body = l (int64 i, bool o, float[2,4] s) => (bool p, float[2,4] z) {
          p = Identity (o) [inner] m = Gemm (s, w, b)
          n = BatchNormalization (m, g, t, u, v) z = Tanh (n) }>""",
    "Scan": """xs = Unsqueeze (x, zero)
      last, h3 = Scan <num_scan_inputs = 1, body = s (float[2,4] q, float[2,4] s) =>
        (float[2,4] r, float[2,4] z) {
          r = Add (q, s) [inner] m = Gemm (s, w, b)
          n = BatchNormalization (m, g, t, u, v) z = Tanh (n) }> (x, xs)
      h = Squeeze (h3, zero)""",
}
KINDS = sorted(PARTS)
X = np.random.default_rng(3).standard_normal((2, 4)).astype(np.float32)


def network(kind: str) -> ir.Model:
    """A layer `outer` behind a layer `inner`, which lies inside an If, Loop or Scan."""
    model = model_of(
        f"""n (float[2,4] x) => (float[2,3] y)
        <float[4,4] w, float[4] b, float[4,3] o, float[4] g, float[4] t, float[4] u,
         float[4] v = {{1.0, 2.0, 0.5, 4.0}}, bool c = {{1}}, int64 k = {{2}},
         int64[1] zero = {{0}}> {{
          {PARTS[kind]}
          [outer] y = MatMul (h, o)
        }}"""
    )
    Canonicalize()(model)
    return model


def names_of(model: ir.Model) -> list[str]:
    return sorted(str(layer.node.name) for layer in layers_of(model))


@pytest.mark.parametrize("kind", KINDS)
def test_the_finder_finds_them(kind: str):
    assert names_of(network(kind)) == ["inner", "outer"]
    assert [layer.node.name for layer in layers_of(network(kind), ("inn*",))] == ["outer"]
    check_skip(network(kind), ["inn*"])


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_quantised_and_mapped(kind: str):
    model = network(kind)
    QuantizeWeights(4)(model)
    quantized = run(model, x=X)
    assert [[w.bits for w in layer.weights] for layer in layers_of(model)] == [[4], [4]]
    MapCrossbars(TARGET)(model)
    assert sorted(str(n.name) for n in nodes_of(model) if n.domain == DOMAIN) == ["inner", "outer"]
    for found, expected in zip(run(model, x=X), quantized, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_activations_are_rounded(kind: str):
    model = network(kind)
    inner = next(layer.node for layer in layers_of(model) if layer.node.name == "inner")
    entering = str(inner.inputs[0].name) if inner.inputs[0] is not None else ""
    QuantizeActivations(8, {entering: (-4.0, 4.0)})(model)
    assert inner.inputs[0] is not None and inner.inputs[0].name == f"{entering}_quantized"


@pytest.mark.parametrize("kind", KINDS)
def test_batch_normalisation_is_folded(kind: str):
    model = network(kind)
    before = run(model, x=X)
    FoldBatchnorm()(model)
    assert "BatchNormalization" not in {node.op_type for node in nodes_of(model)}
    # sums of four products of magnitude 10 in float32, and a division by at least 0.7
    np.testing.assert_allclose(run(model, x=X)[0], before[0], rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_training_sees_their_weights(kind: str):
    model = network(kind)
    before = {name: model.graph.initializers[name].const_value for name in ("w", "b", "o", "v")}
    weights = {name: torch.tensor(before[name].numpy()) for name in ("w", "o")}  # type: ignore
    assert set(Crossbars(model, weights, TARGET).names) == {"w", "o"}
    initialise(model, 0)
    for name, tensor in before.items():
        after = model.graph.initializers[name].const_value
        assert tensor is not None and after is not None
        assert not np.array_equal(after.numpy(), tensor.numpy()), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("use", "purpose"),
    [
        (InsertDropout(), "dropout"),
        (InsertDropout(after=("Tanh",)), "dropout"),
        (InvertNormalization(), "affine dropout"),
        (lambda model: snapshot_values(model, 1), "variant=irs"),
    ],
)
def test_what_stays_in_the_main_graph_says_why(
    kind: str, use: Callable[[ir.Model], object], purpose: str
):
    expected = rf"layer 'inner' lies inside .* \({kind}\); {purpose} needs all layers in the main"
    with pytest.raises(Exception, match=expected) as caught:
        use(network(kind))
    assert isinstance(caught.value.__cause__ or caught.value, ModelError)


def test_a_weight_that_is_yet_to_be_computed_asks_for_canonicalize():
    text = """n (float[2,4] x) => (float[2,3] y) <float[3,4] w> {
      v = Transpose <perm = [1,0]> (w) [fc] y = MatMul (x, v) }"""
    model = model_of(text)
    with pytest.raises(ModelError, match="'fc' .*weight B is computed from constants; canonical"):
        main_layers(model, "this", "for a test")
    Canonicalize()(model)
    assert len(main_layers(model, "this", "for a test")) == 1


def test_a_quantised_weight_is_what_the_pass_says():
    """Not what the nodes look like: the same product without a word of it is no weight."""
    model = model_of("n (float[2,4] x) => (float[2,3] y) <float[4,3] w> { y = MatMul (x, w) }")
    QuantizeWeights(5)(model)
    model = ir.from_proto(ir.to_proto(model))
    layer = layers_of(model)[0]
    (weight,) = layer.weights
    assert (weight.operand.name, weight.bits) == ("w", 5)
    assert weight.source is model.graph.initializers["w.codes"]
    assert weight.scale is model.graph.initializers["w.scale"]
    product = weight.operand.producer()
    assert product is not None
    product.metadata_props.clear()
    assert weight_of(weight.operand) == (
        "is computed from constants; canonicalize the model first, which stores the result"
    )


def test_codes_above_the_stated_bits_are_refused():
    model = model_of("n (float[2,4] x) => (float[2,3] y) <float[4,3] w> { y = MatMul (x, w) }")
    QuantizeWeights(3)(model)
    codes = model.graph.initializers["w.codes"]
    assert codes.const_value is not None
    values = codes.const_value.numpy().copy()
    values[0, 0] = 9
    codes.const_value = ir.Tensor(values, name="w.codes")
    with pytest.raises(OptionError, match="codes up to 9, but 3 bits hold 7"):
        MapCrossbars(TARGET)(model)
