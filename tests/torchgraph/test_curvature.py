"""Second derivatives against closed forms, double backward in float64, and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nvmc.errors import TrainingError
from nvmc.passes.weights_as_inputs import WeightsAsInputs
from nvmc.torchgraph.curvature import EXACT, curvatures
from onnx_text import model_of

pytestmark = pytest.mark.torch

Arrays = dict[str, np.ndarray]
RNG = np.random.default_rng(3)
X = RNG.standard_normal((6, 5)).astype(np.float32)
LAYER = "g (float[N,5] x, float[5,{n}] w) => (float[N,{n}] y) {{ y = MatMul (x, w) }}"
CONV = """
g (float[N,2,6,6] x) => (float[N,4] y)
<float[3,2,3,3] w, float[3] b, float[12,4] v, float[4] c>
{
  h = Conv (x, w, b) r = Relu (h) p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (r)
  f = Flatten (p) y = Gemm (f, v, c)
}
"""


def found(
    text: str, weights: Arrays, x: np.ndarray, holds: str = "scores", **options: Any
) -> Arrays:
    model = model_of(text)
    WeightsAsInputs(tuple(weights))(model)
    return curvatures(model, weights, {"x": x}, "y", holds, **options)


def hessian_diagonal(loss: Callable[..., Any], weights: Arrays) -> Arrays:
    """By double backward in float64, one weight at a time."""
    leaves = {
        k: torch.tensor(w, dtype=torch.float64, requires_grad=True) for k, w in weights.items()
    }
    gradients = torch.autograd.grad(loss(**leaves), list(leaves.values()), create_graph=True)
    result: Arrays = {}
    for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
        flat = [
            torch.autograd.grad(one, leaf, retain_graph=True)[0].reshape(-1)[i].item()
            for i, one in enumerate(gradient.reshape(-1))
        ]
        result[name] = np.array(flat).reshape(leaf.shape)
    return result


def test_a_linear_layer_with_a_square_loss_is_exact() -> None:
    """Of the mean of 1/2 (y - t)^2 over 3 outputs: mean over images of x_i^2, by 3."""
    w = RNG.standard_normal((5, 3)).astype(np.float32)
    expected = np.repeat(np.square(X.astype(float)).mean(axis=0)[:, None], 3, axis=1) / 3
    assert np.allclose(found(LAYER.format(n=3), {"w": w}, X, "values")["w"], expected, rtol=1e-6)


def test_a_network_of_relus_has_the_hessian_s_diagonal_whatever_the_labels() -> None:
    text = CONV
    model = model_of(text)
    constants = {k: v.const_value.numpy() for k, v in model.graph.initializers.items()}  # pyright: ignore
    weights = {name: 0.3 * constants[name] for name in ("w", "v")}
    x = RNG.standard_normal((3, 2, 6, 6)).astype(np.float32)
    own = found(text, weights, x)
    b, c = (torch.tensor(constants[name], dtype=torch.float64) for name in "bc")
    for labels in ([0, 1, 2], [3, 3, 0]):

        def loss(w: Any, v: Any, labels: list[int] = labels) -> Any:
            h = F.max_pool2d(F.relu(F.conv2d(torch.tensor(x).double(), w, b)), 2)
            return F.cross_entropy(h.flatten(1) @ v + c, torch.tensor(labels))

        for name, expected in hessian_diagonal(loss, weights).items():
            assert np.allclose(own[name], expected, rtol=1e-3, atol=1e-6)
            assert np.count_nonzero(expected) > expected.size / 3


def test_finite_differences_of_the_loss_say_the_same() -> None:
    w = RNG.standard_normal((5, 4)).astype(np.float32)
    labels = RNG.integers(0, 4, len(X))

    def loss(w: np.ndarray) -> float:
        z = X.astype(float) @ w
        z -= z.max(axis=1, keepdims=True)
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        return -np.log(p[np.arange(len(X)), labels]).mean()

    own, step = found(LAYER.format(n=4), {"w": w}, X)["w"], 1e-3
    for place in np.ndindex(*w.shape):
        moved = [w.astype(float) for _ in range(3)]
        moved[0][place] -= step
        moved[2][place] += step
        below, here, above = map(loss, moved)
        assert own[place] == pytest.approx((below - 2 * here + above) / step**2, abs=1e-5)


@pytest.mark.parametrize("form", ["Softmax", "LogSoftmax"])
def test_probabilities_are_the_scores_that_they_stand_for(form: str) -> None:
    w = RNG.standard_normal((5, 4)).astype(np.float32)
    text = LAYER.format(n=4).replace("y = MatMul (x, w)", f"z = MatMul (x, w) y = {form} (z)")
    holds = "probabilities" if form == "Softmax" else "log-probabilities"
    expected = found(LAYER.format(n=4), {"w": w}, X)["w"]
    assert np.allclose(found(text, {"w": w}, X, holds)["w"], expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("holds", ["scores", "values"])
def test_many_outputs_are_right_in_the_mean(holds: str) -> None:
    """One image 4000 times, each with a random direction of its own: 5 standard errors."""
    classes, times = EXACT + 4, 4000
    w = (0.7 * RNG.standard_normal((5, classes))).astype(np.float32)
    one = X[:1].astype(float)
    z = one @ w
    p = (np.exp(z) / np.exp(z).sum())[0] if holds == "scores" else np.full(classes, 1 / classes)
    variance = p * (1 - p) if holds == "scores" else p  # of each direction; x_i is a factor
    expected = np.square(one[0])[:, None] * variance
    own = found(LAYER.format(n=classes), {"w": w}, np.repeat(X[:1], times, axis=0), holds)["w"]
    # Its square is (1 - p)^2 with probability p, else p^2; of values always 1/n.
    spread = np.sqrt(p * (1 - p) ** 4 + (1 - p) * p**4 - variance**2) if holds == "scores" else 0
    error = np.square(one[0])[:, None] * (5 * np.asarray(spread) / times**0.5 + 1e-6)
    assert np.all(np.abs(own - expected) < error)


@pytest.mark.parametrize("kind", ["decisions of an image", "images together"])
def test_what_cannot_be_taken_apart_is_right_in_the_mean(kind: str) -> None:
    """3 pixels of an image, or 3 images at a time, whose gradients add up under random signs."""
    w = RNG.standard_normal((4, 5, 1)).astype(np.float32)
    text = "g (float[N,5,3] x, float[4,5,1] w) => (float[N,4,3] y) { y = Conv (x, w) }"
    x, times = RNG.standard_normal((1, 5, 3)).astype(np.float32), 3000
    options: dict[str, Any] = {}
    images = np.repeat(x, times, axis=0)
    if kind == "images together":
        text = text.replace("N,5,3", "3,5,1").replace("N,4,3", "3,4,1")
        images = np.tile(x[0].T[:, :, None], (times, 1, 1))
        options = {"batch": 3}
    z = np.einsum("oi,ip->op", w[:, :, 0].astype(float), x[0].astype(float))
    p = np.exp(z) / np.exp(z).sum(axis=0)
    parts = (
        np.square(x[0].astype(float))[None] * (p * (1 - p))[:, None]
    )  # (classes, inputs, pixels)
    expected = parts.mean(axis=2)
    own = found(text, {"w": w}, images, **options)["w"][:, :, 0]
    # A sum of three parts with signs, for each class: its square's deviation is below its square.
    assert np.all(np.abs(own - expected) < 5 * 3 * expected / times**0.5 + 1e-6)
    assert np.allclose(own, expected, rtol=0.2, atol=1e-4)


def test_bits_do_not_depend_on_threads() -> None:
    model = model_of(CONV)
    weights = {k: v.const_value.numpy() for k, v in model.graph.initializers.items()}  # pyright: ignore
    weights = {name: weights[name] for name in ("w", "v")}
    x = RNG.standard_normal((4, 2, 6, 6)).astype(np.float32)
    threads = torch.get_num_threads()
    try:
        results: list[Arrays] = []
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(found(CONV, weights, x))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert all(np.array_equal(results[0][name], results[1][name]) for name in weights)


def test_an_output_without_a_gradient_is_refused() -> None:
    text = LAYER.format(n=3).replace("y = MatMul (x, w)", "z = MatMul (x, w) y = Shape (z)")
    text = text.replace("float[N,3] y", "int64[2] y")
    with pytest.raises(TrainingError, match="no gradient"):
        found(text, {"w": np.ones((5, 3), np.float32)}, X)
