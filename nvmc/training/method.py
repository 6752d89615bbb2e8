"""What a training method is: the steps it may take another way than plain training does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import onnx_ir as ir
import torch
from pydantic import ConfigDict
from torch import Tensor

from nvmc.hardware.devices.laws import Strict
from nvmc.hardware.options import CheckedModel
from nvmc.torchgraph.tensors import Inputs
from nvmc.training.replica import Replica
from nvmc.training.task import Task

if TYPE_CHECKING:
    from nvmc.training.run import Run

__all__ = ["Method", "Nothing"]


class Nothing(Strict, frozen=True):
    """The state of a method that has none of its own."""


class Method(CheckedModel):
    """Plain training on the weights that cells can hold; the base of every method.

    A method is a class in a file of its own in `nvmc.training.methods` and a row of its table. Its
    fields are its options. It overrides the smallest of these steps that makes the difference.
    Random numbers come from the generators it is given, never from torch's global one.

    Attributes:
        kind: What users type after `--method`.
        title: One line for people, with the paper.
        replicas: Networks trained side by side.
        keeps: The type of `state`: a pydantic model whose fields say which values can be.
        defaults: What `clip` and `rate` of the settings are where they are `auto`.
        taught: Whether it takes a teacher.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: ClassVar[str]
    title: ClassVar[str]
    replicas: ClassVar[int] = 1
    keeps: ClassVar[type[Strict]] = Nothing
    defaults: ClassVar[Mapping[str, float | None]] = {"clip": None, "rate": 1e-3}
    taught: ClassVar[bool] = False

    def check(self, task: Task) -> None:
        """Complain before anything starts.

        Raises:
            NvmcError: The method cannot do this task.
        """

    def prepare(self, model: ir.Model, task: Task) -> None:
        """Change the network before it is read, in place: what is inserted stays in the file."""

    def begin(self, run: Run) -> None:
        """Make the method's own state in `run.memory`, once there are replicas."""

    def epoch(self, run: Run, epoch: int) -> float:
        """Train for one epoch; the mean loss."""
        return self.pass_over(run, run.replicas[0], epoch)

    def pass_over(self, run: Run, replica: Replica, epoch: int) -> float:
        """One pass of `replica` over the training images; the mean loss."""
        generator = run.generator("noise", epoch, run.replicas.index(replica))
        replica.train()
        losses = [self.step(run, replica, x, y, generator) for x, y in run.batches(epoch)]
        return float(torch.stack(losses).mean())

    def step(
        self, run: Run, replica: Replica, x: Inputs, y: Tensor, generator: torch.Generator
    ) -> Tensor:
        """One step of the optimiser on images (N, ...) and labels (N, ...); the loss, detached."""
        loss = self.loss(run, replica, x, y, generator)
        replica.update(loss)
        return loss.detach()

    def loss(
        self, run: Run, replica: Replica, x: Inputs, y: Tensor, generator: torch.Generator
    ) -> Tensor:
        """What a step descends."""
        weights = self.weights(run, replica, generator)
        return run.criterion(replica(x, weights, generator), y)

    def weights(
        self, run: Run, replica: Replica, generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """What the crossbars compute with in this step, by name: the ideal chip's weights."""
        return replica.crossbars.quantized()

    def evaluated(self, run: Run) -> Replica:
        """The replica that is judged and kept."""
        return run.replicas[0]

    def finish(self, run: Run, model: ir.Model) -> None:
        """Change the finished network, in place, before it is written."""

    def summary(self, run: Run) -> dict[str, Any]:
        """What the method found, for people and for `--json`: plain numbers, texts and lists."""
        return {}

    def state(self, run: Run) -> Strict:
        """What resuming needs beyond the replicas, without tensors; of type `keeps`."""
        return Nothing()

    def restore(self, run: Run, state: Any, done: int) -> None:
        """Put back what `state` gave.

        `begin` has been called. The state comes from a file that anybody may have written: it has
        the type `keeps`, and what else must hold between its values is checked here.

        Args:
            run: The run that goes on.
            state: Of type `keeps`.
            done: Epochs before.

        Raises:
            Misfit: No run of this method has such a state after so many epochs.
        """

    def steps_taken(self, run: Run, done: int) -> tuple[int, ...]:
        """Steps that each replica's optimiser and schedule have behind them after `done` epochs.

        `restore` has been called. A checkpoint must have these numbers.
        """
        return (done * run.steps_of_epoch,) * len(run.replicas)

    def steps_of_schedule(self, run: Run) -> int:
        """Steps of the schedule that replicas are in."""
        return run.replicas[0].steps

    def tensors(self, run: Run) -> Mapping[str, Tensor]:
        """Tensors of the method's own, by name; a resumed run's are overwritten in place."""
        return {}

    def optimizers(self, run: Run) -> Mapping[str, torch.optim.Optimizer]:
        """Optimisers of the method's own, by name, whose state is kept; not their rates.

        Each takes a step with every batch.
        """
        return {}

    def limits(self, run: Run) -> Mapping[str, tuple[float, float]]:
        """Least and greatest value of the replicas' tensors (`Replica.tensors`) that have such."""
        return {}
