"""When and on what the ranges of converters are found anew in the course of training."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from nvmc.data import Dataset
from nvmc.runtime.calibration import CONVERTER_IMAGES
from nvmc.torchgraph.tensors import Inputs, taken
from nvmc.training.circuit.circuit import Circuit
from nvmc.training.task import Task

__all__ = ["calibrate", "converter_images", "is_due"]

EVERY = 64
"""Steps from one calibration to the next; at the beginning, after 1, 2, 4, 8 … steps."""
BATCH = 128
"""Images of a forward pass."""


def is_due(step: int) -> bool:
    """Whether ranges are found anew before the step of that number."""
    return step % EVERY == 0 or (step < EVERY and step & (step - 1) == 0)


def converter_images(task: Task) -> Dataset:
    """The images that `nvmc compile` would calibrate converters on."""
    return task.calibration_images.of(slice(CONVERTER_IMAGES))


def calibrate(circuit: Circuit, images: Inputs, forward: Callable[[Inputs], object]) -> None:
    """Find the ranges as `nvmc.runtime.ranges.calibrate_converters` does: inputs, then currents.

    Args:
        circuit: Whose ranges.
        images: The calibration images.
        forward: Runs some of them on the ideal chip.
    """
    count = len(images) if isinstance(images, Tensor) else len(next(iter(images.values())))
    currents = any(part.periphery.adc_calibrated for part in circuit.target.variants)
    with circuit.calibrated() as begin:
        for of_currents in (False, True) if currents else (False,):
            begin(of_currents).expect(count / min(BATCH, max(1, count)))
            for first in range(0, count, BATCH):
                forward(taken(images, slice(first, first + BATCH)))
