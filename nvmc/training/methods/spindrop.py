"""Dropout that stays on at inference, as magnetic cells can draw it."""

from __future__ import annotations

from typing import ClassVar

import onnx_ir as ir
from pydantic import Field

from nvmc.errors import TrainingError
from nvmc.passes.insert_dropout import InsertDropout
from nvmc.training.method import Method
from nvmc.training.run import Run
from nvmc.training.task import Task

__all__ = ["Spindrop"]


class Spindrop(Method):
    """A Bayesian network by Monte Carlo dropout behind every layer's activation but the last's.

    Each neuron is dropped by itself. KPPs in training are those of the network that drops
    nothing, which costs one pass; the mean of stochastic passes is `nvmc simulate --mc-passes`.

    Source: Ahmed et al., SpinDrop, IEEE JETCAS 13, 150-164, 2023, of which only the abstract was
    at hand; so `p` defaults to the rate of `invnorm`, with which it is to be compared. The paper's
    networks are binary; here the weights are what the target holds.

    Attributes:
        p: Probability that a neuron is dropped.
        active: Whether the written network drops at inference too (Bayesian inference).
    """

    kind: ClassVar[str] = "spindrop"
    title: ClassVar[str] = "Monte Carlo dropout of neurons (Ahmed et al., SpinDrop, JETCAS 2023)"
    spatial: ClassVar[bool] = False

    p: float = Field(0.3, ge=0, lt=1)
    active: bool = True

    def prepare(self, model: ir.Model, task: Task) -> None:
        """Insert dropout that drops in training only as yet.

        Raises:
            TrainingError: No layer has another behind it.
        """
        self._inserting(task, active=False)(model)
        if self.p and not any(node.op_type == "Dropout" for node in model.graph):
            raise TrainingError(
                "no layer of the network has another behind it, so dropout has no place; use "
                "another method"
            )

    def finish(self, run: Run, model: ir.Model) -> None:
        """Let the network drop at inference, where that is wanted."""
        if self.active:
            self._inserting(run.task, active=True)(model)

    def _inserting(self, task: Task, active: bool) -> InsertDropout:
        seed = task.settings.seed
        return InsertDropout(rate=self.p, active=active, seed=seed, spatial=self.spatial)
