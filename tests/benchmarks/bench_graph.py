"""What it costs that the network is an ONNX graph: LeNet-5 against the torch module it came from.

Run as `python tests/benchmarks/bench_graph.py`. One thread; processor time, so that what else runs
on the machine counts little; the two take turns at going first.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from measure import machine
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
    torch.set_num_threads(1)
    graph = Graph.of(load_model(zoo_path("lenet5-digits")))
    module = LeNet5()
    module.load_state_dict({name: w.detach().clone() for name, w in graph.weights.items()})
    print(machine())
    for batch in REPEATS:
        x = torch.rand((batch, 1, 28, 28), generator=torch.Generator().manual_seed(0))
        for step in (False, True):
            ours, theirs, ratio = compare(graph, module, x, step)
            name = "forward and backward" if step else "forward"
            print(
                f"batch {batch}, {name}: {1e3 * ours:.2f} ms as a graph, {1e3 * theirs:.2f} ms as "
                f"a module, {ratio:.3f} times"
            )


if __name__ == "__main__":
    main()
