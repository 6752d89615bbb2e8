"""Relu behind a max pooling: the same values and gradients as in the order of the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nvmc.torchgraph.graph import Graph
from onnx_text import model_of, run

POOLED = """g (float[N,3,H,W] x) => (float[N,C,P,Q] y)
<float[4,3,3,3] w, float[4] b, float zero = {{0.0}}, float six = {{0.5}}> {{
  h = Conv (x, w, b)
  r = {rising}
  p = {pool}
  y = Neg (p)
}}"""
RISING = {
    "relu": "Relu (h)",
    "leaky": "LeakyRelu <alpha = 0.1> (h)",
    "clip": "Clip (h, zero, six)",
    "clip below": "Clip (h, zero)",
}
POOLS = {
    "2x2": "MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r)",
    "padded": "MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 0, 2, 1]> (r)",
    "same": 'MaxPool <kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_UPPER"> (r)',
    "global": "GlobalMaxPool (r)",
}
STAYS = {
    "another reader": POOLED.format(rising="Relu (h)", pool="MaxPool <kernel_shape = [2, 2]> (r)")
    .replace("float[N,C,P,Q] y", "float[N,C,P,Q] y, float[N,C,A,B] z")
    .replace("y = Neg (p)", "y = Neg (p)\n  z = Neg (r)"),
    "an output": POOLED.format(
        rising="Relu (h)", pool="MaxPool <kernel_shape = [2, 2]> (r)"
    ).replace("float[N,C,P,Q] y", "float[N,C,P,Q] y, float[N,C,A,B] r"),
    "falls": POOLED.format(
        rising="LeakyRelu <alpha = -0.5> (h)", pool="MaxPool <kernel_shape = [2, 2]> (r)"
    ),
    "not of elements": POOLED.format(
        rising="Softmax <axis = 1> (h)", pool="MaxPool <kernel_shape = [2, 2]> (r)"
    ),
    "windows of padding": POOLED.format(
        rising="Relu (h)",
        pool="MaxPool <kernel_shape = [2, 2], strides = [2, 2], pads = [2, 2, 2, 2]> (r)",
    ),
    "dilated": POOLED.format(
        rising="Relu (h)", pool="MaxPool <kernel_shape = [2, 2], dilations = [2, 2]> (r)"
    ),
    "places wanted": POOLED.format(
        rising="Relu (h)", pool="MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r)"
    )
    .replace("p = MaxPool", "p, places = MaxPool")
    .replace("float[N,C,P,Q] y", "float[N,C,P,Q] y, int64[N,C,A,B] places"),
}


def images(seed: int = 0) -> Tensor:
    numbers = np.random.default_rng(seed).standard_normal((5, 3, 11, 12), dtype=np.float32)
    return torch.from_numpy(numbers)


def order(graph: Graph) -> list[str]:
    """Operators of a run for the first output, in the order of the run."""
    graph(images())
    (plan,) = graph._plans.values()  # pyright: ignore[reportPrivateUsage]
    return [title.split()[0] for title in plan.titles]


def gradients(graph: Graph, x: Tensor, **options: Any) -> dict[str, Tensor]:
    """Of a weighted sum of the output, by weight and for the images."""
    x = x.clone().requires_grad_()
    (y,) = graph(x, wanted=["y"], **options).values()
    factors = torch.linspace(-1, 2, y.numel()).reshape(y.shape)
    names = list(graph.weights)
    found = torch.autograd.grad((y * factors).sum(), [x, *(graph.weights[n] for n in names)])
    return dict(zip(["x", *names], found, strict=True))


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("rising", RISING)
def test_values_and_gradients_are_those_of_the_order_in_the_graph(rising: str, pool: str) -> None:
    model = model_of(POOLED.format(rising=RISING[rising], pool=POOLS[pool]))
    graph, x = Graph.of(model), images()
    y = graph(x)
    np.testing.assert_allclose(y.detach(), run(model, x=x.numpy())[0], rtol=1e-5, atol=1e-6)
    # Whoever looks at a value between the two gets what the graph says, and the order it has.
    plain = graph(x, wanted=["y", "r", "h"])
    assert torch.equal(y, plain["y"])
    assert plain["r"].shape == plain["h"].shape
    own, apart = gradients(graph, x), gradients(graph, x, taps={"r": lambda r: r})
    assert own.keys() == {"x", "w", "b"}
    for name, gradient in own.items():
        torch.testing.assert_close(gradient, apart[name], rtol=1e-5, atol=1e-6)


def test_the_pooling_runs_first() -> None:
    for rising in RISING.values():
        graph = Graph.of(model_of(POOLED.format(rising=rising, pool=POOLS["2x2"])))
        assert order(graph) == ["Conv", "MaxPool", rising.split()[0], "Neg"]


@pytest.mark.parametrize("case", STAYS)
def test_where_it_would_show_the_order_stays(case: str) -> None:
    graph = Graph.of(model_of(STAYS[case]))
    assert order(graph)[2:] == ["MaxPool", "Neg"]


def test_a_tap_on_the_value_between_sees_all_of_it_and_changes_what_is_pooled() -> None:
    graph, x = Graph.of(model_of(POOLED.format(rising="Relu (h)", pool=POOLS["2x2"]))), images()
    plain = graph(x)  # the order without the tap is kept for the next run, and must not be taken
    tapped = graph(x, taps={"r": lambda r: 3 - r})
    smallest = -torch.max_pool2d(-graph(x, wanted=["r"])["r"], 2)
    torch.testing.assert_close(tapped, smallest - 3)
    assert torch.equal(graph(x), plain)
    after = graph(x, taps={"p": lambda p: p + 1})
    torch.testing.assert_close(after, plain - 1)


def test_an_operator_that_is_computed_in_another_way_stays_where_it_is() -> None:
    model = model_of(POOLED.format(rising="Relu (h)", pool=POOLS["2x2"]))
    falling = Graph.of(model, {"Relu": lambda x: -x})
    x = images()
    torch.testing.assert_close(falling(x), -torch.max_pool2d(-falling(x, wanted=["h"])["h"], 2))
