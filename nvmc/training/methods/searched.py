"""One number per layer, found by Bayesian optimisation while the weights are trained."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import onnx_ir as ir
import torch
from pydantic import Field
from torch import Tensor

from nvmc.errors import OptionError, TrainingError
from nvmc.hardware.devices.laws import Strict
from nvmc.torchgraph.tensors import Inputs, taken
from nvmc.training.draws import TorchDraw
from nvmc.training.kept import Misfit
from nvmc.training.method import Method
from nvmc.training.methods.gaussian import NoiseInjection
from nvmc.training.replica import Replica
from nvmc.training.run import Run
from nvmc.training.search import Acquisition, Search, Trial
from nvmc.training.task import Task

__all__ = ["Searched", "Trials", "strengths"]

Count = Annotated[int, Field(ge=1, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NOISE = 1e-2
"""Noise of a trial, as a share of the variance of all: the order of batches and of dropout."""
BUFFER = "searched"
IMAGES = 1024
"""Most images at once when the objective is taken."""


class Trials(Strict, frozen=True):
    """What a checkpoint keeps of a `Searched` method."""

    trials: tuple[Trial, ...]


class Searched(Method):
    """A disturbance behind every layer but the last; its strengths are searched for.

    After every `interval` epochs of gradient descent the objective

        u(a, W) = -(1/T) sum_t loss(chip t of the network with weights W)          (Eq. 4)

    is taken on held-out images, the Gaussian process learns the trial (strengths a, u), and the
    next strengths are tried on the same weights, which train on (Alg. 1). Nothing is disturbed
    when the objective is taken: the disturbance is part of the training, not of the chip. The T
    chips are the same for all trials, so trials differ by what was trained, not by luck.

    The paper's line 8 values all earlier strengths again at the newest weights. With the
    disturbance off, u does not depend on them, and with it on, no disturbance is always best; so a
    trial keeps the value that the weights had at its end.

    The first replica trains; the second holds the weights and strengths of the best trial so far.

    Source: Ye et al., BayesFT, DAC 2021, Eq. 4 and Alg. 1.

    Attributes:
        interval: Epochs of a trial (E).
        samples: Chips that the objective is taken over (T).
        acquisition: Where to look next: greatest posterior `mean` (Alg. 1, line 9) or `ei`.
        initial: Uniform trials before the Gaussian process is asked.
        objective: `loss` (Eq. 4), or `accuracy`, which outliers of the loss do not rule. Where
            there are no classes, both are the loss.
        sigma: Strength of the chips' noise in the objective; None for what chips are judged at.
        inject: Whether gradient descent sees that noise too (Alg. 1, line 6).
        carry: Whether a trial trains on where the one before stopped (Alg. 1). Without, every
            trial starts from the weights that came in, with a learning-rate schedule of its own,
            as the released code does.
    """

    replicas: ClassVar[int] = 2
    keeps: ClassVar[type[Strict]] = Trials
    what: ClassVar[str]
    """What one number is, in the plural, for the summary."""

    interval: Count = 5
    samples: Count = 10
    acquisition: Acquisition = "mean"
    initial: Count = 5
    objective: Literal["accuracy", "loss"] = "accuracy"
    sigma: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    inject: bool = False
    carry: bool = True

    @property
    @abstractmethod
    def highest(self) -> float:
        """The greatest strength that is tried; the least is 0."""

    @abstractmethod
    def sites(self, model: ir.Model) -> dict[str, str]:
        """The values that are disturbed, by the name of the layer they come from."""

    @abstractmethod
    def disturbed(self, x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """The value `x` (N, ...) as training sees it; `strength` is above 0."""

    def check(self, task: Task) -> None:
        """See `Method.check`.

        Raises:
            OptionError: Nobody states the noise's strength, a source needs to know its tile, or
                without `carry` the last trial would be cut short.
        """
        NoiseInjection(sigma=self.sigma).check(task)
        epochs = task.settings.epochs
        if not self.carry and epochs % self.interval:
            raise OptionError(
                f"{epochs} epochs are no whole number of trials of {self.interval}; give a "
                "multiple, or carry the weights on"
            )

    def begin(self, run: Run) -> None:
        """Start the search.

        Raises:
            TrainingError: The network has no layer that another follows.
        """
        sites = self.sites(run.model)
        if not sites:
            raise TrainingError(
                f"method {self.kind!r} sets something behind every layer but the last, and the "
                "network has only one layer; use another method"
            )
        run.memory["sites"] = sites
        run.memory["search"] = search = self._search(run)
        for replica in run.replicas:
            _add_buffer(replica, search.ask())
        if not self.carry:
            steps = self.steps_of_schedule(run)
            fresh = Replica(run.model, run.task, steps, run.replicas[0].scores)
            _add_buffer(fresh, search.ask())
            run.memory["fresh"] = fresh
            run.replicas[0].copy_from(fresh)

    def epoch(self, run: Run, epoch: int) -> float:
        """One pass; a trial ends with every `interval`-th, and with the last."""
        loss = self.pass_over(run, run.replicas[0], epoch)
        if (epoch + 1) % self.interval == 0 or epoch + 1 == run.task.settings.epochs:
            self._end_trial(run)
        return loss

    def loss(
        self, run: Run, replica: Replica, x: Inputs, y: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The criterion of the disturbed network."""
        weights = self.weights(run, replica, generator)
        taps = {
            value: partial(self.disturbed, strength=strength, generator=generator)
            for value, strength in zip(
                run.memory["sites"].values(), strengths(replica), strict=True
            )
            if strength > 0
        }
        return run.criterion(replica(x, weights, generator, taps), y)

    def weights(
        self, run: Run, replica: Replica, generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """The ideal chip's weights, or with `inject` a fresh chip's."""
        return self._chip(run, replica, generator) if self.inject else replica.crossbars.quantized()

    def evaluated(self, run: Run) -> Replica:
        """The best trial's network; before there is one, the one that trains."""
        return run.replicas[1 if run.memory["search"].trials else 0]

    def value(self, run: Run, replica: Replica) -> float:
        """The objective u of Eq. 4: larger is better.

        Cost: `samples` passes over the held-out images.
        """
        replica.train(False)
        x, y = run.validation()
        with torch.no_grad():
            found = [self._value_of_chip(run, replica, x, y, t) for t in range(self.samples)]
        return float(torch.stack(found).mean())

    def summary(self, run: Run) -> dict[str, Any]:
        """The strengths of the network that is kept, and all trials."""
        search: Search = run.memory["search"]
        best = search.best
        return {
            self.what: self._named(run, strengths(self.evaluated(run))),
            "objective": self.objective if run.task.classes else "loss",
            "best": None if best is None else _finite(best.value),
            "trials": [
                {self.what: self._named(run, trial.point), "value": _finite(trial.value)}
                for trial in search.trials
            ],
        }

    def state(self, run: Run) -> Trials:
        """All trials; the strengths are kept with the replicas."""
        return Trials(trials=run.memory["search"].trials)

    def restore(self, run: Run, state: Trials, done: int) -> None:
        """Tell a new search the old trials; see `Method.restore`."""
        ended, rest = divmod(done, self.interval)
        ended += 1 if rest and done == run.task.settings.epochs else 0
        if len(state.trials) != ended:
            raise Misfit(f"it has {len(state.trials)} trials; expected {ended}")
        try:
            run.memory["search"] = self._search(run, list(state.trials))
        except OptionError as error:
            raise Misfit(str(error)) from error

    def steps_taken(self, run: Run, done: int) -> tuple[int, ...]:
        """Those of the trial, or with `carry` of all, and those at the end of the best trial."""
        best, kept = None, 0
        for number, trial in enumerate(run.memory["search"].trials, start=1):
            if best is None or trial.value > best:
                kept = number
                best = trial.value if math.isfinite(trial.value) else best
        epochs = (done, min(kept * self.interval, done))
        if not self.carry:
            epochs = (done % self.interval, self.interval if kept else 0)
        return tuple(number * run.steps_of_epoch for number in epochs)

    def steps_of_schedule(self, run: Run) -> int:
        """Without `carry`, those of one trial."""
        whole = run.replicas[0].steps
        return whole if self.carry else run.steps_of_epoch * self.interval

    def limits(self, run: Run) -> Mapping[str, tuple[float, float]]:
        """The strengths lie where they are searched for."""
        return {f"graph.{BUFFER}": (0.0, self.highest)}

    def _search(self, run: Run, trials: list[Trial] | None = None) -> Search:
        return Search(
            [(0.0, self.highest)] * len(run.memory["sites"]),
            seed=run.task.settings.seed,
            acquisition=self.acquisition,
            initial=self.initial,
            noise=NOISE,
            trials=trials or (),
        )

    def _end_trial(self, run: Run) -> None:
        search: Search = run.memory["search"]
        training, kept = run.replicas
        best = search.best
        value = self.value(run, training)
        search.tell(strengths(training), value)
        if best is None or value > best.value:
            kept.copy_from(training)
        if not self.carry:
            training.copy_from(run.memory["fresh"])
        training.graph.get_buffer(BUFFER).copy_(torch.tensor(search.ask(), dtype=torch.float64))

    def _value_of_chip(self, run: Run, replica: Replica, x: Inputs, y: Tensor, t: int) -> Tensor:
        generator = run.generator("objective", t)
        weights = self._chip(run, replica, generator)
        parts = [slice(first, first + IMAGES) for first in range(0, len(y), IMAGES)]
        scored = [(replica(taken(x, part), weights, generator), y[part]) for part in parts]
        if self.objective == "accuracy" and run.task.classes:
            return torch.cat([run.right(s, y).flatten() for s, y in scored]).double().mean()
        total = sum(run.criterion(s, y).double() * len(y) for s, y in scored)
        return -torch.as_tensor(total) / len(y)

    def _chip(self, run: Run, replica: Replica, generator: torch.Generator) -> dict[str, Tensor]:
        sources = run.task.target.device.sources(self._sigma(run.task))
        return replica.crossbars.programmed(sources, TorchDraw(generator))

    def _sigma(self, task: Task) -> float | None:
        return task.sigma if self.sigma is None else self.sigma

    def _named(self, run: Run, numbers: tuple[float, ...]) -> dict[str, float]:
        return dict(zip(run.memory["sites"], numbers, strict=True))


def _add_buffer(replica: Replica, numbers: tuple[float, ...]) -> None:
    replica.graph.register_buffer(BUFFER, torch.tensor(numbers, dtype=torch.float64))


def strengths(replica: Replica) -> tuple[float, ...]:
    """The strengths that a replica's weights were trained with last, layer by layer.

    They are a buffer of its graph, like running statistics: wherever weights are copied, kept or
    written to a checkpoint, their strengths go with them.
    """
    return tuple(map(float, replica.graph.get_buffer(BUFFER)))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
