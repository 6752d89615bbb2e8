"""Hardware-aware training: noise, a limited range and averaged weights; the default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from nvmc.errors import OptionError
from nvmc.torchgraph.tensors import Inputs
from nvmc.training.draws import TorchDraw
from nvmc.training.methods.gaussian import NoiseInjection
from nvmc.training.replica import Replica
from nvmc.training.run import Run
from nvmc.training.task import Task

__all__ = ["HardwareAware"]

LIVE, AVERAGE = 0, 1
RISES = 8
"""Steps in which noise grows: the spreads of each are computed once."""


class HardwareAware(NoiseInjection):
    """Noise that grows, weights clipped to a few of their standard deviations, and their average.

    A network learns faster without noise, and its ideal chip is better then; what it needs of noise
    it learns in the second half (docs/methods/hwa.md has the ablation).

    Attributes:
        sigma: Strength in training; None for `strength` times that which chips are judged at.
        strength: Noise in training over noise of the chips.
        rise: Share of the run in which noise grows from nothing to that strength.
        distilled: Share of the loss that is the distance to the teacher, where there is one.
        average: Share of the run's steps that the average of the weights reaches back; 0 keeps the
            weights of the last step.
    """

    kind: ClassVar[str] = "hwa"
    title: ClassVar[str] = "hardware-aware: noise, clipped weights, averaged weights"
    replicas: ClassVar[int] = 2
    defaults: ClassVar[Mapping[str, float | None]] = {"clip": 1.5, "rate": 6e-3}
    taught: ClassVar[bool] = True

    strength: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    rise: Annotated[float, Field(ge=0, le=1)] = 0.5
    average: Annotated[float, Field(ge=0, lt=1)] = 0.05
    distilled: Annotated[float, Field(ge=0, le=1)] = 0.5

    def check(self, task: Task) -> None:
        """Complain of a share of the loss that has no teacher.

        Raises:
            OptionError: There is such.
        """
        super().check(task)
        if task.teacher is None and "distilled" in self.model_fields_set and self.distilled:
            raise OptionError(
                f"method {self.kind!r}: distilled is {self.distilled:g}, but there is no teacher; "
                "give --teacher MODEL, or leave distilled out"
            )

    def step(
        self, run: Run, replica: Replica, x: Inputs, y: Tensor, generator: torch.Generator
    ) -> Tensor:
        """See `Method.step`; the average follows."""
        loss = super().step(run, replica, x, y, generator)
        steps = self.average * replica.steps
        run.replicas[AVERAGE].follow(replica, 1 / max(1.0, steps))
        return loss

    def weights(
        self, run: Run, replica: Replica, generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """The weights of a fresh chip, whose noise is still growing."""
        sigma = self._sigma(run.task)
        if sigma is not None:
            sigma *= self._share(replica.pace.steps / replica.steps)
        return replica.crossbars.sampled(sigma, TorchDraw(generator))

    def _share(self, done: float) -> float:
        """How much of the noise there is at that share of the run, in steps of an eighth."""
        if done >= self.rise:
            return 1.0
        return math.floor(RISES * done / self.rise) / RISES

    def loss(
        self, run: Run, replica: Replica, x: Inputs, y: Tensor, generator: torch.Generator
    ) -> Tensor:
        """See `Method.loss`; with a teacher, part of it is how far its outputs are."""
        scores = replica(x, self.weights(run, replica, generator), generator)
        own = run.criterion(scores, y)
        if run.teacher is None:
            return own
        return torch.lerp(own, run.teacher.loss(scores, x, run.probable), self.distilled)

    def steps_taken(self, run: Run, done: int) -> tuple[int, ...]:
        """Those of the network that trains; the average takes none of its own."""
        return (done * run.steps_of_epoch, 0)

    def evaluated(self, run: Run) -> Replica:
        """The average."""
        return run.replicas[AVERAGE]

    def summary(self, run: Run) -> dict[str, Any]:
        """The strength of the noise in training."""
        sigma = self._sigma(run.task)
        return {} if sigma is None else {"training_sigma": sigma}

    def _sigma(self, task: Task) -> float | None:
        if self.sigma is not None or task.strength is None:
            return super()._sigma(task)
        return self.strength * task.strength
