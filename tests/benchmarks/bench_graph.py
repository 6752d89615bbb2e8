"""What it costs that the network is an ONNX graph: LeNet-5 against the torch module it came from.

Usage: python tests/benchmarks/bench_graph.py [--docs]. One thread; processor time, so that what
else runs on the machine counts little; the two take turns at going first.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from figures import figures, parser, table
from torch import Tensor

from nvmc.models.lenet5 import LeNet5
from nvmc.models.zoo import zoo_path
from nvmc.passes.io.load import load_model
from nvmc.torchgraph.graph import Graph

REPEATS = {128: 200, 1: 2000}
"""By batch."""
Network = Callable[[Tensor], Tensor]


def _seconds(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def compare(graph: Network, module: Network, x: Tensor, step: bool) -> tuple[float, float, float]:
    """Median seconds of both, and the median of their ratio."""

    def run(network: Network) -> object:
        return network(x).sum().backward() if step else network(x)

    pairs: list[tuple[float, float]] = []
    for i in range(REPEATS[len(x)]):
        order = (graph, module) if i % 2 else (module, graph)
        taken = {network: _seconds(lambda n=network: run(n)) for network in order}
        pairs.append((taken[graph], taken[module]))
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return ours, theirs, statistics.median(a / b for a, b in pairs)


def main() -> None:
    parser(__doc__).parse_args()
    torch.set_num_threads(1)
    graph = Graph.of(load_model(zoo_path("lenet5-digits")))
    module = LeNet5()
    module.load_state_dict({name: w.detach().clone() for name, w in graph.weights.items()})
    rows: list[list[str]] = []
    for batch in REPEATS:
        x = torch.rand((batch, 1, 28, 28), generator=torch.Generator().manual_seed(0))
        found = [compare(graph, module, x, step) for step in (False, True)]
        cells = [f"{1e3 * ours:.3g} ms, {ratio:.2f} times the module" for ours, _, ratio in found]
        rows.append([f"{batch}", *cells])
    figures(__file__, "steps", table(["batch", "forward", "forward and backward"], rows))


if __name__ == "__main__":
    main()
