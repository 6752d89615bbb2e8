"""Monte Carlo at cells fidelity as a share of the machine's GEMM rate, measured in the same run.

The limit is the multiply-adds of the network at the rate of sgemm on all cores: products of
1024x1024 matrices, one BLAS thread on each core. A repeat runs the products before and after
nvmc and the plain PyTorch loop; the share is taken repeat by repeat, and its median printed. It is
taken once of seconds on the clock, and once of the processor's seconds, which tell more where
others use the cores as well. nvmc's time is that of `Workload.run`: programming every cell, making
sessions, running and scoring all images; not the reading of the network, nor the ideal chip. Usage:

    python tests/benchmarks/bench_gemm_rate.py [case ...] [--docs]
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from bench_simulate import lenet5, torch_loop
from figures import figures, lacking, parser, table
from resnet18 import ResNet18
from threadpoolctl import threadpool_limits
from torch import nn

from nvmc import Chip, Target, compile_model, load_device
from nvmc.data import Dataset
from nvmc.evaluation.population import Threads
from nvmc.evaluation.workload import set_up
from nvmc.models import resolve_model
from nvmc.models.export import export_onnx
from nvmc.runtime.montecarlo import default_jobs

SIGMA, SIDE, PRODUCTS = 0.1, 1024, 8


def mlp() -> nn.Module:
    """Three dense layers."""
    layers = [nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, 10))


def narrow() -> nn.Module:
    """3x3 convolutions of 16 to 64 channels."""
    layers: list[nn.Module] = []
    for inside, outside in ((3, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if inside == outside else []
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, 10))


@dataclass(frozen=True)
class Case:
    """A network, what it is run on, and how often."""

    title: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    images: int
    chips: int
    aim: str = ""
    repeats: int = 3


ZOO = resolve_model("zoo:lenet5-digits")
CASES = {
    "lenet5": Case("LeNet-5", lambda: lenet5(ZOO), (1, 28, 28), 10_000, 16, "55 %"),
    "small": Case("LeNet-5", lambda: lenet5(ZOO), (1, 28, 28), 179, 96),
    "resnet18": Case("ResNet-18 for CIFAR", ResNet18, (3, 32, 32), 256, 2, "85 %"),
    "narrow": Case("six 3×3 convolutions of 16 to 64 channels", narrow, (3, 32, 32), 500, 4),
    "mlp": Case("dense 784-256-128-10", mlp, (1, 28, 28), 10_000, 8),
}


def multiplications(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Of one image in dense and convolutional layers."""
    counts: list[int] = []

    def count(layer: nn.Module, _: object, outputs: torch.Tensor) -> None:
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        counts.append(outputs.numel() * layer.weight[0].numel())

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        model.eval()(torch.zeros((1, *shape)))
    for hook in hooks:
        hook.remove()
    return sum(counts)


def seconds_of(run: Callable[[], object]) -> np.ndarray:
    """Seconds on the clock, and the processor's on all cores."""
    clock, processor = time.perf_counter(), time.process_time()
    run()
    return np.array([time.perf_counter() - clock, time.process_time() - processor])


def gemm_seconds() -> np.ndarray:
    """As `seconds_of` for a multiply-add of sgemm, with all cores at work."""
    cores = default_jobs()
    a, b = np.random.default_rng(0).random((2, SIDE, SIDE), dtype=np.float32)
    outs = [np.empty_like(a) for _ in range(cores)]

    def products(out: np.ndarray) -> None:
        for _ in range(PRODUCTS):
            np.matmul(a, b, out=out)

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(cores) as pool:
        spent = seconds_of(lambda: list(pool.map(products, outs)))
        return spent / (cores * PRODUCTS * SIDE**3)


def measure(case: Case, folder: Path) -> list[str]:
    """One row of the table."""
    torch.manual_seed(0)
    model = case.make()
    export_onnx(model, case.shape, folder / "model.onnx")
    target = Target.of(load_device("fefet2"))
    compiled = compile_model(folder / "model.onnx", target, output=folder / "model.nvmc")
    x = np.random.default_rng(1).random((case.images, *case.shape), dtype=np.float32)
    data = Dataset("seeded images", x, np.arange(case.images) % 10)
    workload = set_up(compiled, target, data=data)
    chips = [Chip.of(target, 0, index, SIGMA) for index in range(case.chips)]
    few = max(1, case.chips // 8)
    runs = {
        "nvmc": (case.chips, lambda: workload.run(chips, Threads())),
        "torch": (few, lambda: torch_loop(model, data, few)),
    }
    multiplied = multiplications(model, case.shape)
    workload.run(chips, Threads())
    found: dict[str, list[np.ndarray]] = {name: [] for name in runs}
    for _ in range(case.repeats):
        before = gemm_seconds()
        for name, (count, run) in runs.items():
            a_chip = seconds_of(run) / count
            after = gemm_seconds()
            limit = multiplied * case.images * (before + after) / 2
            found[name].append(np.concatenate([a_chip[:1], limit / a_chip]))
            before = after
    cells = [f"{case.title}, {multiplied / 1e6:.3g}", f"{case.images:,}"]
    for values, shares in zip(found.values(), (2, 1), strict=True):
        clock, *parts = np.median(values, axis=0)
        cells += [f"{1e3 * clock:.3g} ms", *(f"{100 * part:.0f} %" for part in parts[:shares])]
    print(cells, flush=True)
    return [*cells, case.aim]


def memory(chips: int) -> float:
    """Peak MiB of this process after so many chips of LeNet-5 on 100 images."""
    target = Target.of(load_device("fefet2"))
    with tempfile.TemporaryDirectory() as folder:
        compiled = compile_model(ZOO, target, output=Path(folder) / "model.nvmc")
        workload = set_up(compiled, target, data="digits", limit=100)
        workload.run([Chip.of(target, 0, index, SIGMA) for index in range(chips)], Threads())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


HEAD = (
    "network, million multiplications per image",
    *("images", "per chip", "share", "of processor time"),
    *("PyTorch loop, per chip", "its share", "aim"),
)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("cases", nargs="*", metavar="case", help=", ".join(CASES))
    chosen = options.parse_args().cases or list(CASES)
    print(f"peak memory: {memory(48):.0f} MiB after 48 chips, ", end="")
    print(f"{memory(480):.0f} MiB after 480 more")
    rows: list[list[str]] = []
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(CASES[name], Path(folder)))
    missing = lacking(len(CASES), len(rows))
    figures(__file__, "networks", table(HEAD, rows), missing=missing)


if __name__ == "__main__":
    main()
