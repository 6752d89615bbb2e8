"""Training noise of a law of its own, which need not be the device's (TRICE, Alg. 1)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from nvmc.errors import OptionError
from nvmc.training.gaussians import Law
from nvmc.training.method import Method
from nvmc.training.replica import Replica
from nvmc.training.run import Run
from nvmc.training.task import Task

__all__ = ["FixedInjected", "Injected", "Strength", "device_sigma"]

Strength = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Threshold = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def device_sigma(task: Task, kind: str) -> float:
    """The sigma_d that chips are judged at, in the device's units.

    Raises:
        OptionError: The device has no noise with a sigma, or nobody stated it.
    """
    device = task.target.device
    if not device.needs_sigma:
        raise OptionError(
            f"method {kind!r} scales its noise by the device's sigma, but device {device.name!r} "
            "has none; use method 'gaussian', which injects the device's own noise, or a device "
            "such as rram4"
        )
    if task.strength is None:
        raise OptionError(
            f"method {kind!r} needs the device's sigma, and device {device.name!r} states none; "
            "give --sigma"
        )
    return task.strength


class Injected(Method):
    """Noise of one law in every step; a subclass names the law and its strength.

    A weight's noise is a draw of the law times the weight's standard deviation over chips of
    strength sigma_t: a Gaussian at sigma_t = sigma_d mirrors the device (TRICE, Eq. 14). One draw
    per weight, not one per cell; for Gaussians that is the same. Gradients, taken at the noisy
    point, go to the clean weight (Alg. 1, line 6).

    Attributes:
        th: Where the law is cut, in units of sigma_t.
    """

    th: Threshold = 2.0

    @abstractmethod
    def noise(self) -> Law:
        """The law, in units of sigma_t."""

    @abstractmethod
    def strength(self, run: Run, replica: Replica) -> float:
        """sigma_t of this replica in this epoch, in the unit of the device's sigma."""

    def check(self, task: Task) -> None:
        """See `Method.check` and `device_sigma`."""
        device_sigma(task, self.kind)

    def begin(self, run: Run) -> None:
        """Find out before the first step whether the device's noise has a closed form."""
        run.replicas[0].crossbars.spread(device_sigma(run.task, self.kind))

    def weights(
        self, run: Run, replica: Replica, generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """The ideal chip's weights plus noise, by name."""
        law, sigma_t = self.noise(), self.strength(run, replica)
        return replica.crossbars.injected(sigma_t, lambda shape: law.sample(shape, generator))


class FixedInjected(Injected):
    """Noise of one law and one strength from the first step to the last.

    Attributes:
        sigma_t: Strength, in the unit of the device's sigma; None for that sigma itself.
    """

    sigma_t: Strength | None = None

    def strength(self, run: Run, replica: Replica) -> float:
        """See `Injected.strength`."""
        return device_sigma(run.task, self.kind) if self.sigma_t is None else self.sigma_t
