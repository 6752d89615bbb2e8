"""Noise injection: every step sees another chip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from nvmc.training.draws import TorchDraw
from nvmc.training.method import Method
from nvmc.training.replica import Replica
from nvmc.training.run import Run
from nvmc.training.task import Task

__all__ = ["NoiseInjection"]


class NoiseInjection(Method):
    """The device's own noise in every forward pass, gradients to the clean weights.

    On devices with Gaussian programming errors this is Gaussian noise injection (TRICE, Alg. 1 and
    the baseline of Table I; He et al., DAC 2019); on any other it is that device's noise.

    Attributes:
        sigma: Strength in training; None for the strength that chips are judged at.
    """

    kind: ClassVar[str] = "gaussian"
    title: ClassVar[str] = "noise injection: the device's own noise in every step (He, DAC 2019)"

    sigma: float | None = None

    def check(self, task: Task) -> None:
        """Complain where the device has no such noise.

        Raises:
            OptionError: A source's strength is missing.
        """
        device, *others = task.target.devices
        device.sources(self._sigma(task))
        for other in others:
            other.sources()

    def weights(
        self, run: Run, replica: Replica, generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """The weights of a fresh chip."""
        return replica.crossbars.sampled(self._sigma(run.task), TorchDraw(generator))

    def _sigma(self, task: Task) -> float | None:
        return task.sigma if self.sigma is None else self.sigma
