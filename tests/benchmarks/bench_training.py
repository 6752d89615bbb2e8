"""What a step of noise injection costs over a plain step: LeNet-5, batch 128, one thread.

Plain is what anyone would write: a torch module, cross entropy, fused AdamW, a cosine schedule.
`erm` is nvmc's own plain step, whose weights are rounded to codes; the others add their noise.
Usage: python tests/benchmarks/bench_training.py [--docs]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from figures import figures, parser, table
from measure import interleaved
from torch import Tensor
from torch.nn import functional

from nvmc.compiled.options import CompileOptions
from nvmc.hardware.devices import Target, load_device
from nvmc.models import resolve_model
from nvmc.models.lenet5 import LeNet5
from nvmc.training import Settings, Task, make_method, make_task
from nvmc.training.preparation import canonical_network, prepared_network
from nvmc.training.run import Run

BATCH, STEPS, REPEATS, AIM = 128, 3, 60, 1.2
METHODS = ("erm", "gaussian", "rc-gaussian")


def plain(x: Tensor, y: Tensor) -> Callable[[], object]:
    """Steps of a handwritten loop."""
    model = LeNet5().train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-4, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100_000)

    def steps() -> None:
        for _ in range(STEPS):
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

    return steps


def nvmc(
    kind: str, task: Task, x: Tensor, y: Tensor, model: str = "zoo:lenet5-digits"
) -> Callable[[], object]:
    """Steps of a method."""
    method = make_method(kind)
    network = canonical_network(resolve_model(model))
    run = Run(prepared_network(network, task, method), task, method.replicas)
    method.begin(run)
    replica = run.replicas[0]
    replica.train()
    generator = run.generator("bench")

    def steps() -> None:
        for _ in range(STEPS):
            method.step(run, replica, x, y, generator)

    return steps


def main() -> None:
    parser(__doc__).parse_args()
    torch.set_num_threads(1)
    target = Target.of(load_device("rram4"))
    task = make_task("digits", target, sigma=0.2, settings=Settings(epochs=10_000, batch=BATCH))
    four = replace(task, options=CompileOptions(activation_bits=4))
    x, y = torch.tensor(task.train.x[:BATCH]), torch.tensor(task.train.y[:BATCH])
    contestants = {"plain torch": plain(x, y)}
    contestants |= {kind: nvmc(kind, task, x, y) for kind in METHODS}
    contestants["gaussian, 4-bit activations"] = nvmc("gaussian", four, x, y)
    medians = interleaved(contestants, REPEATS, time.process_time)
    base, own = medians["plain torch"], medians["erm"]
    rows = [
        [name, f"{1e3 * each / STEPS:.1f} ms", f"{each / base:.2f}", f"{each / own:.2f}"]
        for name, each in medians.items()
    ]
    head = ["", "per step", "to plain", "to `erm`"]
    figures(__file__, "steps", table(head, rows))
    print(f"aim: a step of noise injection at most {AIM} x plain")


if __name__ == "__main__":
    main()
