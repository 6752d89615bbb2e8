"""Random numbers become inputs; everything else stays what it was."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from nvmc.compiled.masks import ChipMasks
from nvmc.errors import ModelError
from nvmc.passes.feed_masks import FeedMasks, draws_numbers, outputs_kinds
from nvmc.passes.insert_dropout import InsertDropout
from nvmc.passes.invert_normalization import InvertNormalization
from onnx_text import model_of, run, text_of

CNN = """g (float[N,1,6,6] x) => (float[N,3] y)
<float[4,1,3,3] w1, float[5,16] w2, float[5] b2, float[5,3] w3> {
  [conv1] a = Conv (x, w1)
  [relu1] b = Relu (a)
  [pool1] c = MaxPool <kernel_shape: ints = [2, 2], strides: ints = [2, 2]> (b)
  [flat] d = Flatten (c)
  [fc1] e = Gemm <transB: int = 1> (d, w2, b2)
  [relu2] f = Relu (e)
  [fc2] y = MatMul (f, w3)
}"""


def image(count: int = 5) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((count, 1, 6, 6)).astype(np.float32)


def fed(model: ir.Model) -> FeedMasks:
    step = FeedMasks()
    assert step(model).modified
    return step


@pytest.mark.parametrize("spatial", [False, True])
def test_masks_of_ones_give_the_network_without_dropout(spatial: bool) -> None:
    plain, model = model_of(CNN), model_of(CNN)
    InsertDropout(rate=0.25, active=True, spatial=spatial)(model)
    step = fed(model)
    shapes = [mask.shape for mask in step.masks]
    assert shapes == [(0, 4, 1, 1) if spatial else (0, 4, 4, 4), (0, 5)]
    assert {n.op_type for n in model.graph}.isdisjoint({"Dropout", "Where"})
    masks = {m.input: np.ones((5, *m.shape[1:]), np.float32) for m in step.masks}
    assert np.array_equal(run(model, x=image(), **masks)[0], run(plain, x=image())[0])


def test_masks_do_what_dropout_does() -> None:
    """By hand: the two products in NumPy, masks put in between."""
    model = model_of(
        "g (float[N,4] x) => (float[N,3] y) <float[4,6] w, float[6,3] v>"
        "{ [a] h = MatMul (x, w)  [r] r = Relu (h)  [b] y = MatMul (r, v) }"
    )
    w, v = (model.graph.initializers[name].const_value.numpy() for name in "wv")
    InsertDropout(rate=0.5, active=True)(model)
    (mask,) = fed(model).masks
    x = np.random.default_rng(2).standard_normal((9, 4)).astype(np.float32)
    drawn = ChipMasks([mask], 0, 0).feed(0, 0, 9)
    hidden = np.maximum(x.astype(float) @ w, 0) * drawn[mask.input]
    # six products of numbers below 10 in float32
    np.testing.assert_allclose(run(model, x=x, **drawn)[0], hidden @ v, atol=6 * 10 * 2.0**-23)


def test_a_second_run_and_an_inactive_dropout_change_nothing() -> None:
    model = model_of(CNN)
    InsertDropout(rate=0.25)(model)
    before = text_of(model)
    step = FeedMasks()
    assert not step(model).modified and step.masks == ()
    assert text_of(model) == before
    InsertDropout(rate=0.25, active=True)(model)
    fed(model)
    once = text_of(model)
    assert not FeedMasks()(model).modified
    assert text_of(model) == once


@pytest.mark.parametrize("granularity", ["vector", "element"])
def test_affine_dropout_is_drawn_for_every_image(granularity: str) -> None:
    model = model_of(CNN)
    InvertNormalization(p=0.4, active=True, granularity=granularity)(model)  # pyright: ignore
    gamma, beta = (model.graph.initializers[f"conv1_{n}"] for n in ("gamma", "beta"))
    masks = fed(model).masks
    each = (0, 1, 1, 1) if granularity == "vector" else (0, 4, 1, 1)
    assert [mask.shape for mask in masks] == [each, each]
    model.graph.outputs.append(model.graph.node("conv1_inverted_add").outputs[0])
    feeds = ChipMasks(masks, 0, 0).feed(0, 0, 5)
    x = image()
    found = run(model, x=x, **feeds)[1]
    plain = model_of(CNN)
    plain.graph.outputs.append(plain.graph.node("conv1").outputs[0])
    conv = run(plain, x=x)[1]
    draws = [feeds[mask.input] for mask in masks]
    rate = np.float32(0.4)
    scale = np.where(draws[0] < rate, 1, gamma.const_value.numpy())
    shift = np.where(draws[1] < rate, 0, beta.const_value.numpy())
    np.testing.assert_allclose(found, conv * scale + shift, rtol=2.0**-22, atol=2.0**-22)


def test_other_random_nodes() -> None:
    model = model_of(
        """g (float[N,4] x) => (float[N,4] y, float[N,4] z) <float[4] p, float[4] q> {
          u = RandomUniform <shape: ints = [4], low: float = -1.0, high: float = 2.0> ()
          a = Mul (x, u)
          l = RandomUniformLike (x)
          y = Add (a, l)
          c = Sigmoid (x)
          b = Bernoulli (c)
          z = Identity (b)
        }"""
    )
    step = fed(model)
    assert [mask.shape for mask in step.masks] == [(4,), (0, 4), (0, 4)]
    assert [(mask.low, mask.high) for mask in step.masks] == [(-1, 2), (0, 1), (0, 1)]
    x = image()[:, 0, 0, :4]
    feeds = ChipMasks(step.masks, 0, 0).feed(0, 0, 5)
    u, like, b = (feeds[mask.input] for mask in step.masks)
    y, z = run(model, x=x, **feeds)
    np.testing.assert_allclose(y, x * u + like, rtol=2.0**-22, atol=2.0**-22)
    assert np.array_equal(z, (b < 1 / (1 + np.exp(-x))).astype(np.float32))


def test_images_along_another_axis() -> None:
    """As recurrent layers have them: steps, images, numbers."""
    model = model_of(
        """g (float[N,6,3] x) => (float[N,6,3] y) <bool t = {1}, float r = {0.5}> {
          s = Transpose <perm: ints = [1, 0, 2]> (x)
          d, m = Dropout (s, r, t)
          y = Transpose <perm: ints = [1, 0, 2]> (d)
        }"""
    )
    (mask,) = fed(model).masks
    assert mask.shape == (6, 0, 3) and mask.axis == 1
    feeds = ChipMasks([mask], 0, 0).feed(0, 0, 4)
    y = run(model, x=np.ones((4, 6, 3), np.float32), **feeds)[0]
    assert np.array_equal(y, feeds[mask.input].transpose(1, 0, 2))


def test_the_mask_of_a_dropout_is_kept_where_it_is_read() -> None:
    model = model_of(
        """g (float[N,3] x) => (float[N,3] y) <bool t = {1}, float r = {0.5}, float one = {1.0}> {
          d, m = Dropout (x, r, t)
          y = Where (m, one, d)
        }"""
    )
    (mask,) = fed(model).masks
    feeds = ChipMasks([mask], 0, 0).feed(0, 0, 4)
    y = run(model, x=np.full((4, 3), 5, np.float32), **feeds)[0]
    assert np.array_equal(y, feeds[mask.input] > 0)


ACTIVE = "<bool t = {1}, float r = {0.5}>"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("g (float[N,T] x) => (float[N,T] y) { y = RandomNormalLike (x) }", "with --shape"),
        (
            "g (float[N,3] x, float r) => (float[N,3] y) <bool t = {1}>{ y = Dropout (x, r, t) }",
            "computed ratio",
        ),
        (
            "g (float[N,3] x, bool t) => (float[N,3] y) <float r = {0.5}>{ y = Dropout (x, r, t) }",
            "training mode is computed",
        ),
        (
            f"g (float[N,3] x) => (float[M,3] y) {ACTIVE}"
            "{ z = Concat <axis = 0> (x, x)  y = Dropout (z, r, t) }",
            "where one image ends",
        ),
        (f"g (float[N,T] x) => (float[N,T] y) {ACTIVE} {{ y = Dropout (x, r, t) }}", "fixed sizes"),
        (
            f"g (float[N,3] x, bool c) => (float[N,3] y) {ACTIVE} {{ y = If (c) <"
            "then_branch = t () => (float[N,3] a) { a = Dropout (x, r, t) },"
            "else_branch = e () => (float[N,3] b) { b = Identity (x) }> }",
            "subgraph",
        ),
    ],
)
def test_what_cannot_be_named_is_refused(text: str, named: str) -> None:
    with pytest.raises(ModelError, match=named) as caught:
        FeedMasks()(model_of(text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("node", ["RandomNormalLike", "RandomNormal"])
def test_normals_come_in_from_outside(node: str) -> None:
    """For every image where they are like something with images, else once a pass."""
    given = "(x)" if node.endswith("Like") else "()"
    shape = "" if node.endswith("Like") else ", shape = [1, 3]"
    model = model_of(
        "g (float[N,3] x) => (float[N,3] y) "
        f"{{ r = {node} <mean = 2.0, scale = 0.5{shape}> {given} y = Add (x, r) }}"
    )
    (mask,) = fed(model).masks
    assert (mask.law, mask.mean, mask.scale) == ("normal", 2.0, 0.5)
    assert (mask.shape, mask.axis) == (((0, 3), 0) if node.endswith("Like") else ((1, 3), None))
    feeds = ChipMasks([mask], 0, 0).feed(0, 0, 5)
    x = np.random.default_rng(3).standard_normal((5, 3)).astype(np.float32)
    assert np.array_equal(run(model, x=x, **feeds)[0], x + feeds[mask.input])


@pytest.mark.parametrize("kind", [6, 7])
def test_classes_are_drawn_by_inversion(kind: int) -> None:
    """The class whose part of the cumulated probabilities a number lies in; never one of none."""
    model = model_of(
        f"g (float[N,4] x) => (int{32 if kind == 6 else 64}[N,500] y) "
        f"{{ y = Multinomial <sample_size = 500, dtype = {kind}> (x) }}"
    )
    (mask,) = fed(model).masks
    weights = np.array([[0, 1, 0, 3], [2, 1, 1, 0], [0, 0, 0, 1]], np.float64)
    with np.errstate(divide="ignore"):
        x = np.log(weights).astype(np.float32)
    feeds = ChipMasks([mask], 0, 0).feed(0, 0, 3)
    (y,) = run(model, x=x, **feeds)
    assert y.dtype == (np.int32 if kind == 6 else np.int64)
    shares = weights / weights.sum(1, keepdims=True)
    for row, share, numbers in zip(y, shares, feeds[mask.input], strict=True):
        expected = np.searchsorted(np.cumsum(share), numbers, side="right").clip(max=3)
        assert np.array_equal(row, expected)
        assert set(row) <= set(np.flatnonzero(share))


def test_what_outputs_hold() -> None:
    model = model_of(
        """g (float[N,4] x) => (float[N,4] a, float[N,4] b, float[N,2,2] c, float[N,4] d)
        <int64[3] s = {0, 2, 2}> {
          a = Relu (x)
          b = LogSoftmax (x)
          p = Softmax (x)
          c = Reshape (p, s)
          d = Sigmoid (x)
        }"""
    )
    assert outputs_kinds(model) == {
        "a": "scores",
        "b": "log-probabilities",
        "c": "probabilities",
        "d": "probabilities",
    }


@pytest.mark.parametrize("active", [False, True])
def test_whether_a_network_draws_numbers(active: bool) -> None:
    model = model_of(CNN)
    assert not draws_numbers(model)
    InsertDropout(rate=0.25, active=active)(model)
    assert draws_numbers(model) == active
