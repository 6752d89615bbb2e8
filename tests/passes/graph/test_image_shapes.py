"""What one image comes to at each layer, against counts by hand."""

from typing import Any

import pytest

from nvmc.compiled.artifact import LayerEntry
from nvmc.compiled.options import CompileOptions
from nvmc.hardware.devices import Target, load_device
from nvmc.models import resolve_model
from nvmc.passes.io.load import load_model
from nvmc.passes.pipeline import compile_passes
from onnx_text import model_of


def layers_of(model: Any, options: CompileOptions | None = None) -> list[LayerEntry]:
    *before, mapper = compile_passes(Target.of(load_device("fefet2")), options)
    for step in (*before, mapper):
        step(model)
    return mapper.mapping.layers


def counts(text: str) -> list[tuple[Any, Any, Any]]:
    layers = layers_of(model_of(text))
    return [(layer.input_shape, layer.output_shape, layer.products) for layer in layers]


def test_lenet5() -> None:
    """LeCun et al. 1998, Fig. 2, padded from 28 to 32: C1 is 6 of 28x28, C3 16 of 10x10."""
    found = layers_of(load_model(resolve_model("zoo:lenet5-digits")))
    assert [(layer.input_shape, layer.output_shape, layer.products) for layer in found] == [
        ([1, 28, 28], [6, 28, 28], 28 * 28),
        ([6, 14, 14], [16, 10, 10], 10 * 10),
        ([400], [120], 1),
        ([120], [84], 1),
        ([84], [10], 1),
    ]


GROUPED = """g (float[IMAGES,6,9,7] x) => (float[M,A,B,C] y)
<float[4,3,3,3] w, float[4,5,2,2] v> {
  h = Conv <group: int = 2, strides: ints = [2, 2]> (x, w)
  y = ConvTranspose <group: int = 2, strides: ints = [2, 2]> (h, v)
}"""


@pytest.mark.parametrize("images", ["N", "4", "1"])
def test_grouped_convolutions(images: str) -> None:
    """A vector an output pixel and group; of the transposed one, an input pixel and group."""
    rows, cols = (9 - 3) // 2 + 1, (7 - 3) // 2 + 1
    assert counts(GROUPED.replace("IMAGES", images)) == [
        ([6, 9, 7], [4, rows, cols], rows * cols * 2),
        ([4, rows, cols], [10, 2 * rows, 2 * cols], rows * cols * 2),
    ]


RECURRENT = """g (float[T,N,4] x) => (float[T,D,N,3] y)
<float[D,12,4] w, float[D,12,3] r> {
  y, h, c = LSTM <hidden_size: int = 3, direction: string = "WAY"> (x, w, r)
}"""


@pytest.mark.parametrize(("way", "directions"), [("forward", 1), ("bidirectional", 2)])
def test_a_recurrent_layer_behind_a_transpose(way: str, directions: int) -> None:
    """Five steps in each direction, of images that lie along the second axis."""
    text = RECURRENT.replace("x, w, r", "t, w, r").replace("float[T,N,4] x", "float[N,5,4] x")
    text = text.replace("{", "{\n  t = Transpose <perm: ints = [1, 0, 2]> (x)", 1)
    text = text.replace("D,12", f"{directions},12").replace("WAY", way)
    (found,) = counts(text)
    assert found == ([5, 4], [5, directions, 3], 5 * directions)


def test_a_sequence_of_any_length_is_not_counted() -> None:
    text = "g (float[N,T,4] x) => (float[N,T,3] y) <float[4,3] w> { y = MatMul (x, w) }"
    assert counts(text) == [([None, 4], [None, 3], None)]


def test_products_with_matrices() -> None:
    """Tokens merged with images and apart, a constant left side, and a stack of matrices."""
    text = """g (float[N,5,4] x) => (float[N,5,2] y, float[N,3,4] l, float[N,6,5,2] s)
    <int64[2] merged = {-1, 4}, int64[3] apart = {-1, 5, 2}, float[4,2] w, float[3,5] v,
     float[6,4,2] u, int64[1] one = {1}> {
      m = Reshape (x, merged)
      p = Gemm (m, w)
      y = Reshape (p, apart)
      l = MatMul (v, x)
      z = Unsqueeze (x, one)
      s = MatMul (z, u)
    }"""
    assert counts(text) == [
        ([5, 4], [5, 2], 5),  # the rows of 5 tokens and N images on one axis
        ([5, 4], [3, 4], 4),  # columns of x
        ([1, 5, 4], [6, 5, 2], 5 * 6),
    ]


def test_subgraphs_and_parameters_are_not_counted() -> None:
    text = """g (float[N,4] x, bool b) => (float[N,2] y) <float[4,2] w, float[2] c, float[4,2] v> {
      a = Gemm (x, w, c)
      z = If (b) <then_branch = t () => (float[N,2] p) { p = MatMul (x, v) },
                  else_branch = e () => (float[N,2] q) { q = Identity (a) }>
      y = Identity (z)
    }"""
    found = layers_of(model_of(text), CompileOptions(store=("bias",)))
    assert sorted((layer.arrays, layer.products) for layer in found) == [
        (["c"], None),
        (["v"], None),
        (["w"], 1),
    ]


def test_sizes_that_are_free_are_those_of_the_data() -> None:
    """Six tokens of an image: six products each; nobody knows them without."""
    text = """g (int64[N,seq] ids) => (float[N,seq,4] y) <float[9,8] e, float[8,4] w> {
      h = Gather (e, ids)
      y = MatMul (h, w)
    }"""
    assert counts(text) == [([None, 8], [None, 4], None)]
    *before, mapper = compile_passes(Target.of(load_device("fefet2")))
    mapper.sizes = {"ids": (6,)}
    model = model_of(text)
    for step in (*before, mapper):
        step(model)
    (layer,) = mapper.mapping.layers
    assert (layer.input_shape, layer.output_shape, layer.products) == ([6, 8], [6, 4], 6)
