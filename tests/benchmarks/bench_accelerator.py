"""Chips a second on an accelerator: and what else the machine can do.

LeNet-5 (10,000 images of 1x28x28) and ResNet-18 (10,000 of 3x32x32), fefet2, 4-bit weights in 2-bit
cells. Interleaved, each repeat running each of them once:

- `TorchExecutor`;
- programming alone, what the executor's threads do on the CPU meanwhile;
- a plain PyTorch loop on the same device: a module, its weights perturbed in place, chip by chip;
- `nvmc simulate` on the CPU, on fewer images where those take long;
- one sgemm on the device, which all are compared with.

All float32 without TF32. Seconds are scaled to one chip on all images.
Usage: python tests/benchmarks/bench_accelerator.py [--device cuda] [--small]
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from figures import machine
from measure import interleaved
from resnet18 import ResNet18
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nvmc import Target, compile_model, load_device
from nvmc.data import Dataset
from nvmc.evaluation.population import Threads, Workload
from nvmc.evaluation.workload import set_up
from nvmc.executors.torch import TorchExecutor
from nvmc.executors.torch_network import exact_arithmetic
from nvmc.executors.torch_weights import WeightProgrammer
from nvmc.hardware.chip import Chip
from nvmc.models.export import export_onnx
from nvmc.runtime.montecarlo import Network, Span, default_jobs

TARGET = Target.of(load_device("fefet2"))
SIGMA, LOOP_BATCH = 0.1, 500


@dataclass(frozen=True)
class Case:
    """A network and how much of it is run.

    Attributes:
        model: The network.
        shape: Of an image.
        images: Images that chips are run on.
        chips: Chips of a run.
        slow: Images and chips for what takes long: `nvmc simulate` on the CPU.
        memory: Bytes for activations, so many that chips fit in side by side; None for the default.
    """

    model: nn.Module
    shape: tuple[int, ...]
    images: int
    chips: int
    slow: tuple[int, int]
    memory: int | None = None

    @property
    def flops(self) -> int:
        """Floating-point operations of one image."""
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            self.model.cpu()(torch.zeros(1, *self.shape))
        return counter.get_total_flops()


def lenet5() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    ).eval()


def cases(device: torch.device, small: bool) -> dict[str, Case]:
    lenet, resnet = (lenet5(), (1, 28, 28)), (ResNet18().eval(), (3, 32, 32))
    if small:
        return {
            "LeNet-5": Case(*lenet, 256, 8, (256, 8)),
            "ResNet-18": Case(*resnet, 16, 2, (16, 2)),
        }
    if device.type == "cpu":
        return {
            "LeNet-5": Case(*lenet, 10_000, 16, (10_000, 16)),
            "ResNet-18": Case(*resnet, 200, 2, (200, 2)),
        }
    return {
        "LeNet-5": Case(*lenet, 10_000, 320, (10_000, 16)),
        "ResNet-18": Case(*resnet, 10_000, 8, (100, 2), 16 << 30),
    }


def workload_of(case: Case, images: int, folder: Path) -> Workload:
    """The compiled network on drawn images and labels."""
    source, built = folder / "m.onnx", folder / "m.nvmc"
    export_onnx(case.model.cpu(), case.shape, source)
    compiled = compile_model(source, TARGET, output=built)
    draw = np.random.default_rng(0)
    x = draw.random((images, *case.shape), dtype=np.float32)
    return set_up(compiled, TARGET, data=Dataset("drawn", x, draw.integers(0, 10, images)))


def chips(count: int) -> list[Chip]:
    return [Chip.of(TARGET, 0, index, SIGMA) for index in range(count)]


def plain_loop(case: Case, workload: Workload, device: torch.device) -> Callable[[], object]:
    """The chips as this field runs them."""
    model = case.model
    (x,) = workload.feed.inputs.values()
    images, labels = torch.from_numpy(x).to(device), torch.zeros(len(x), device=device)

    def run() -> None:
        model.to(device)
        weights = [p for p in model.parameters() if p.dim() > 1]
        clean = [w.detach().clone() for w in weights]
        with torch.no_grad(), exact_arithmetic():
            for _ in range(case.chips):
                for w, c in zip(weights, clean, strict=True):
                    w.copy_(c + SIGMA * c.abs().max() / 15 * torch.randn_like(c))
                hits = torch.zeros((), device=device)
                for first in range(0, len(images), LOOP_BATCH):
                    batch = slice(first, first + LOOP_BATCH)
                    hits += (model(images[batch]).argmax(1) == labels[batch]).sum()
                hits.item()
            for w, c in zip(weights, clean, strict=True):
                w.copy_(c)

    return run


def programming(workload: Workload, count: int) -> Callable[[], object]:
    network = workload.network
    assert isinstance(network, Network)
    jobs = default_jobs()

    def run() -> None:
        cpu = torch.device("cpu")
        with WeightProgrammer(network, chips(count), 1, cpu, jobs=jobs, memory=1 << 30) as groups:
            for _ in groups:
                pass

    return run


def sgemm(device: torch.device) -> tuple[Callable[[], object], float]:
    """One product of square matrices and its floating-point operations."""
    size, times = (4096, 10) if device.type == "cuda" else (768, 4)
    a = torch.rand(size, size, device=device)

    def run() -> None:
        with exact_arithmetic():
            for _ in range(times):
                product = a @ a
            product[0, 0].item()

    return run, 2.0 * times * size**3


def whole_groups(case: Case, executor: TorchExecutor, workload: Workload) -> int:
    """So many chips that none is computed to fill up a group."""
    executor.totals(workload, chips(1), Span(0, 1), lambda *_: None)
    return -(-case.chips // executor.group) * executor.group


def compare(name: str, case: Case, device: torch.device, repeats: int) -> None:
    """Time all contestants and print a row for each."""
    with tempfile.TemporaryDirectory() as folder:
        workload = workload_of(case, case.images, Path(folder))
    executor = TorchExecutor(str(device), case.memory)
    product, operations = sgemm(device)

    def on(executor: TorchExecutor | Threads, count: int, images: int) -> Callable[[], object]:
        return lambda: executor.totals(workload, chips(count), Span(0, images), lambda *_: None)

    rows: dict[str, tuple[Callable[[], object], float]] = {}  # what to run, chips that this makes
    count = whole_groups(case, executor, workload)
    rows["accelerator"] = (on(executor, count, case.images), count)
    rows["programming alone"] = (programming(workload, case.chips), case.chips)
    rows["plain torch loop"] = (plain_loop(case, workload, device), case.chips)
    images, count = case.slow
    rows["nvmc simulate, CPU"] = (on(Threads(), count, images), count * images / case.images)
    medians = interleaved({k: run for k, (run, _) in rows.items()} | {"sgemm": product}, repeats)
    rate = operations / medians["sgemm"]
    print(f"\n{name}: {case.images:,} images, {case.flops / 2e6:.2f} MMAC an image")
    print(f"sgemm {rate / 1e12:.3f} TFLOP/s, median of {repeats} interleaved repeats")
    for label, (_, made) in rows.items():
        seconds = medians[label] / made
        part = case.flops * case.images / seconds / rate
        of_rate = "" if label == "programming alone" else f", {part:6.1%} of sgemm"
        print(f"{label:20} {seconds:.5f} s per chip, {1 / seconds:9.2f} chips/s{of_rate}")
    print(f"accelerator: {executor.plan}")


def main() -> None:
    parser = argparse.ArgumentParser()
    found = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=found)
    parser.add_argument("--small", action="store_true", help="less than a minute on one core")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--network", help="only the one whose name begins so")
    options = parser.parse_args()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    device = TorchExecutor(options.device).device
    what = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{machine()}; torch {torch.__version__} on {what}, {torch.get_num_threads()} threads")
    repeats = options.repeats or (1 if options.small else 5)
    for name, case in cases(device, options.small).items():
        if name.startswith(options.network or ""):
            compare(name, case, device, repeats)


if __name__ == "__main__":
    main()
