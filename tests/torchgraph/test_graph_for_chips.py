"""Forms of operators for many chips at once, and what a run of a graph takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nvmc.torchgraph.graph import Graph
from nvmc.torchgraph.operators.recurrent import gru, lstm, rnn
from onnx_text import model_of


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(
    ("layer", "gates", "options"),
    [
        (lstm, 4, {}),
        (gru, 3, {"linear_before_reset": 1}),
        (rnn, 1, {}),
        (rnn, 1, {"activations": ["Relu", "Relu"]}),
    ],
)
def test_steps_are_what_kernels_compute(
    layer: Any, gates: int, options: dict[str, Any], direction: str
) -> None:
    """Under vmap, where torch's kernels cannot go, chip by chip the same."""
    both = 2 if direction == "bidirectional" else 1
    options = {**options, "direction": direction}
    if "activations" in options:
        options["activations"] = options["activations"][:both]
    generator = torch.Generator().manual_seed(0)
    x, w, r, b = (
        torch.randn(size, generator=generator, dtype=torch.float64)
        for size in (
            (5, 2, 3),
            (3, both, 4 * gates, 3),
            (3, both, 4 * gates, 4),
            (both, 8 * gates),
        )
    )
    with torch.no_grad():
        expected = [layer(x, w[i], r[i], b, **options) for i in range(3)]
        several: Any = torch.func.vmap(lambda w, r: layer(x, w, r, b, fusing=False, **options))
        for place, found in enumerate(several(w, r)):
            wanted = torch.stack([one[place] for one in expected])
            # five steps of sums of seven products in float64
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_other_functions_take_the_place_of_the_table() -> None:
    model = model_of(
        "g (float[N,2] x) => (float[N,2] y) { h = Relu (x) k = LeakyRelu <alpha = 0.5> (h) "
        "y = Neg (k) }"
    )
    seen: list[float] = []

    def other(x: torch.Tensor, *, alpha: float = 0.01) -> torch.Tensor:
        seen.append(alpha)
        return x + 1

    graph = Graph.of(model, {"LeakyRelu": other}).eval()
    assert graph(torch.tensor([[-1.0, 2.0]])).tolist() == [[-1.0, -3.0]]
    assert seen == [0.5]
    assert Graph.of(model).eval()(torch.tensor([[-1.0, 2.0]])).tolist() == [[0.0, -2.0]]


def test_footprint_is_what_is_alive_at_once() -> None:
    """Of 4-byte numbers: the first sum needs a and b, 12 + 12; the product 12 + 12 and 8."""
    text = """g (float[N,6] x) => (float[N,2] y) <float[6,6] u, float[6,2] v> {
      a = MatMul (x, u)
      b = Relu (a)
      c = Add (b, b)
      y = MatMul (c, v)
    }"""
    graph = Graph.of(model_of(text)).eval()
    assert graph.footprint(torch.zeros(2, 6)) == 4 * (12 + 12)
    assert graph.footprint(torch.zeros(4, 6)) == 2 * graph.footprint(torch.zeros(2, 6))
    assert graph.footprint(torch.zeros(2, 6), ["a"]) == 4 * 12
    assert graph.footprint(torch.zeros(2, 6), ["a", "c"]) == 4 * (12 + 12 + 12)
