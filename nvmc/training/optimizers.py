"""Optimisers and their schedules, as the settings say."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from nvmc.hardware.devices.laws import Strict
from nvmc.training.settings import Settings

__all__ = ["Pace", "optimizer_of", "pace_after", "pace_of", "schedule_of"]


class Pace(Strict, frozen=True):
    """How far a replica is in its schedule.

    Attributes:
        steps: Steps of the optimiser so far.
        rate: Learning rate of the next one.
        momentum: Its momentum, which the one-cycle schedule moves too.
    """

    steps: Annotated[int, Field(ge=0)]
    rate: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    momentum: Annotated[float, Field(ge=0, lt=1)]


def optimizer_of(weights: list[nn.Parameter], settings: Settings) -> torch.optim.Optimizer:
    """The optimiser of these weights."""
    rate, decay = settings.highest_rate, settings.decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            weights, rate, momentum=settings.momentum, weight_decay=decay, fused=True
        )
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(weights, rate, weight_decay=decay, fused=True)


def pace_after(steps: int, settings: Settings, total: int) -> Pace:
    """How far a replica is after `steps` steps of a schedule of `total`.

    The schedule is stepped as in training, so it rounds as there. Cost: some 10 us per step.
    """
    optimizer = optimizer_of([nn.Parameter(torch.zeros(0))], settings)
    schedule = schedule_of(optimizer, settings, total)
    optimizer.step()  # torch warns where a schedule goes first
    for _ in range(steps):
        schedule.step()
    return pace_of(optimizer, schedule)


def pace_of(
    optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler
) -> Pace:
    """How far an optimiser is; of one with betas, momentum is the first."""
    group = optimizer.param_groups[0]
    momentum = group["betas"][0] if "betas" in group else group["momentum"]
    return Pace(steps=schedule.last_epoch, rate=group["lr"], momentum=momentum)


def schedule_of(
    optimizer: torch.optim.Optimizer, settings: Settings, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The schedule of an optimiser's rate, for a run of so many steps."""
    schedulers = torch.optim.lr_scheduler
    match settings.schedule:
        case "cosine":
            return schedulers.CosineAnnealingLR(optimizer, steps)
        case "one-cycle":
            return schedulers.OneCycleLR(optimizer, settings.highest_rate, total_steps=steps)
        case "constant":
            return schedulers.LambdaLR(optimizer, lambda step: 1.0)
