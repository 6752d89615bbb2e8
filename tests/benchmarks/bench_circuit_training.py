"""What the circuit in the loop costs over a plain step: multiples, medians of interleaved repeats.

Plain is a step of noise injection behind an ideal periphery; one thread, time of the processor.
Usage: python tests/benchmarks/bench_circuit_training.py [--docs]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from bench_training import BATCH, STEPS, nvmc
from figures import figures, parser, table
from measure import interleaved
from torch import Tensor

from nvmc.hardware.devices import Periphery, Target, load_device
from nvmc.torchgraph.repeatable import repeatable
from nvmc.training import Settings, make_task

REPEATS = 15
CALIBRATED: dict[str, Any] = {"adc_bits": 6, "adc_range": "calibrated"}
"""Of the worst case of a tile, 6 bits leave nothing of most currents, and a dead network is slow:
its gradients are denormal numbers."""
PERIPHERIES: dict[str, dict[str, Any]] = {
    "ideal": {},
    "8-bit DAC": {"dac_bits": 8},
    "8-bit DAC, calibrated": {"dac_bits": 8, "dac_range": "calibrated"},
    "8-bit DAC, 6-bit ADC": {**CALIBRATED, "dac_bits": 8},
    "8-bit DAC, 6-bit ADC, both calibrated": {
        **CALIBRATED,
        "dac_bits": 8,
        "dac_range": "calibrated",
    },
    "bit-serial 4-bit DAC, 6-bit ADC": {
        **CALIBRATED,
        "dac_bits": 4,
        "dac_mode": "bit-serial",
    },
}


def steps_of(model: str, periphery: dict[str, Any], x: Tensor, y: Tensor) -> Callable[[], object]:
    """Steps of noise injection behind a periphery."""
    target = Target.of(load_device("rram4"), periphery=Periphery.model_validate(periphery))
    settings = Settings(epochs=10_000, batch=BATCH)
    task = make_task("digits", target, sigma=0.2, settings=settings)
    return nvmc("gaussian", task, x, y, model)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--model", default="zoo:lenet5-digits")
    options.add_argument("--repeats", type=int, default=REPEATS)
    given = options.parse_args()
    torch.set_num_threads(1)
    data = make_task("digits", Target.of(load_device("rram4"))).train
    x, y = torch.tensor(data.x[:BATCH]), torch.tensor(data.y[:BATCH])
    contestants = {
        name: steps_of(given.model, periphery, x, y) for name, periphery in PERIPHERIES.items()
    }
    with repeatable(warn_only=False):
        # Up to the calibration after 32 steps; the next is after 64.
        for steps in contestants.values():
            for _ in range(33 // STEPS + 1):
                steps()
        medians = interleaved(contestants, given.repeats, time.process_time)
    rows = [
        [name, f"{1e3 * seconds / STEPS:.1f} ms", f"{seconds / medians['ideal']:.2f}"]
        for name, seconds in medians.items()
    ]
    figures(__file__, "steps", table(["periphery", "per step", "to ideal"], rows))
    print("aim: at most 2 with an ADC, 1.25 without")


if __name__ == "__main__":
    main()
