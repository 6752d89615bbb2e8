"""What a million chips of ResNet-50 on ImageNet are made of: the ingredients of docs/cluster.md.

ResNet-50 (untrained; times do not depend on the weights) is compiled for two-bit cells. Printed in
processor's seconds of one core: one sgemm of 1024x1024 matrices, programming a chip, making its
session, running images. Then, on the clock, what passes between processes: tasks that do nothing,
and a workload that is sent to two workers. Usage:

    python tests/benchmarks/bench_cluster.py [images] [--docs]
"""

from __future__ import annotations

import pickle
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from figures import figures, parser, table
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from nvmc import Chip, Target, compile_model, load_device
from nvmc.data import Dataset
from nvmc.evaluation.population import Workload
from nvmc.evaluation.workload import set_up
from nvmc.executors import parse_workers
from nvmc.executors.dask import DaskExecutor
from nvmc.models.export import export_onnx
from nvmc.runtime.montecarlo import Network, open_session

SIDE, TASKS, SENT = 1024, 2000, 64 << 20


class _Bottleneck(nn.Module):
    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        outside = 4 * width
        layers: list[nn.Module] = []
        shapes = [(inside, width, 1, 1), (width, width, 3, stride), (width, outside, 1, 1)]
        for a, b, kernel, step in shapes:
            conv = nn.Conv2d(a, b, kernel, step, kernel // 2, bias=False)
            layers += [conv, nn.BatchNorm2d(b), nn.ReLU()]
        self.path = nn.Sequential(*layers[:-1])
        self.short = nn.Sequential()
        if stride > 1 or inside != outside:
            conv = nn.Conv2d(inside, outside, 1, stride, bias=False)
            self.short = nn.Sequential(conv, nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.path(x) + self.short(x))


def resnet50() -> nn.Module:
    """He et al., CVPR 2016, Table 1: 25.6 million weights, 4.1 billion multiplications an image."""
    torch.manual_seed(0)
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    layers: list[nn.Module] = [*stem, nn.MaxPool2d(3, 2, 1)]
    inside = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(_Bottleneck(inside, width, stride if block == 0 else 1))
            inside = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def multiplications(model: nn.Module) -> int:
    """Multiply-adds of convolutions and dense layers for one image."""
    found = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> None:
        nonlocal found
        weight = layer.weight
        assert isinstance(weight, Tensor)
        found += outputs.numel() * weight[0].numel()

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, 224, 224))
    return found


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Median of this thread's seconds of the processor."""
    found: list[float] = []
    for _ in range(repeats):
        started = time.thread_time()
        work()
        found.append(time.thread_time() - started)
    return median(found)


def set_up_resnet50(images: int) -> tuple[Workload, Target, float]:
    """The network on a workload, its target, and its multiply-adds an image in 10^9."""
    model, target = resnet50(), Target.of(load_device("fefet2"))
    giga = multiplications(model) / 1e9
    draw = np.random.default_rng(0)
    x = draw.standard_normal((images, 3, 224, 224), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnet50.onnx"
        export_onnx(resnet50(), (3, 224, 224), path)
        compiled = compile_model(path, target, output=Path(folder) / "resnet50.nvmc")
        dataset = Dataset("random", x, draw.integers(0, 1000, images))
        return set_up(compiled, target, data=dataset), target, giga


def on_one_core(images: int) -> list[list[str]]:
    """A chip of ResNet-50, part by part, as rows."""
    workload, target, giga = set_up_resnet50(images)
    network, chip = workload.network, Chip.of(target, 0, 0, 0.1)
    assert isinstance(network, Network)
    weights = sum(array.codes.size for array in network.arrays)
    x = np.random.default_rng(0).standard_normal((SIDE, SIDE), dtype=np.float32)
    sent = len(pickle.dumps(network)) / 1e6, workload.feed.inputs["image"][:1].nbytes / 1e6
    with threadpool_limits(1, "blas"):
        rate = 4 * SIDE**3 / 1e9 / seconds(lambda: [x @ x for _ in range(4)], 5)
        for array in network.arrays:
            chip.program(array)  # what is worked out once
        programming = seconds(lambda: [chip.program(array) for array in network.arrays])
        opening = seconds(lambda: open_session(network, chip)) - programming
        session = open_session(network, chip)
        images = workload.feed.batch(0, network.batch)
        running = seconds(lambda: session.run([network.output], images)) / network.batch
    return [
        ["sgemm, 1024×1024", f"{rate:.0f} GMAC/s"],
        [
            f"an image of {giga:.2f} GMAC, one chip, `cells`",
            f"{running:.3f} s: {giga / running:.0f} GMAC/s",
        ],
        [f"programming a chip: {weights / 1e6:.1f} million weights", f"{programming:.2f} s"],
        ["its session", f"{opening:.2f} s"],
        ["network in a message; an image", f"{sent[0]:.0f} MB; {sent[1]:.2f} MB"],
    ]


def between_processes() -> list[list[str]]:
    """Messages and data through a scheduler to two workers of this machine, as rows."""
    with parse_workers("processes:2") as executor:
        assert isinstance(executor, DaskExecutor)
        client = executor.cluster.client
        started = time.perf_counter()
        name = uuid.uuid4().hex
        client.gather([client.submit(abs, n, key=f"{name}-{n}") for n in range(TASKS)])
        tasks = TASKS / (time.perf_counter() - started)
        started = time.perf_counter()
        client.scatter(np.ones(SENT // 8), broadcast=True, hash=False)
        sent = SENT / 1e6 / (time.perf_counter() - started)
    return [
        ["tasks that do nothing, client + scheduler + 2 workers", f"{tasks:.0f} a second"],
        ["a bench to two workers, through the scheduler", f"{sent:.0f} MB/s each"],
    ]


def main() -> None:
    """Print a row for each ingredient."""
    options = parser(__doc__)
    options.add_argument("images", nargs="?", type=int, default=16)
    rows = on_one_core(options.parse_args().images)
    figures(__file__, "ingredients", table(["ingredient", "measured"], rows + between_processes()))


if __name__ == "__main__":
    main()
