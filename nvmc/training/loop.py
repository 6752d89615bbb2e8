"""The loop that all methods share: epochs, KPPs, the best weights, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from nvmc.errors import TrainingError
from nvmc.training.method import Method
from nvmc.training.outcome import Epoch
from nvmc.training.replica import Replica, copied
from nvmc.training.resuming import read_run, write_run
from nvmc.training.run import Run

__all__ = ["Loop"]


class Loop:
    """A run from its first epoch, or from a checkpoint, to its last.

    Args:
        run: The networks and the data.
        method: How they are trained.
        checkpoint: File that every epoch is kept in; None keeps nothing.
        identity: What decides the run's numbers, for the checkpoint.

    Attributes:
        epochs: The epochs so far.
        kept: Number of the epoch whose weights are kept.
        stopped: Whether training stopped early.
    """

    def __init__(
        self, run: Run, method: Method, checkpoint: Path | None, identity: Mapping[str, str]
    ) -> None:
        self._run = run
        self._method = method
        self._checkpoint = checkpoint
        self._identity = identity
        self._weights: dict[str, Tensor] = {}
        self._best = float("-inf")
        self._since = 0
        self.epochs: list[Epoch] = []
        self.kept = 0
        self.stopped = False

    def resume(self) -> None:
        """Go back to the end of the last epoch in the checkpoint.

        Raises:
            OptionError: There is no checkpoint of this run.
        """
        if self._checkpoint is None:
            return
        found = read_run(self._checkpoint, self._identity, self._run, self._method)
        self.epochs, self._weights = list(found.epochs), dict(found.best)
        for epoch in found.epochs:
            if epoch.kpp is not None:
                self._count(epoch.epoch, epoch.kpp)
        torch.set_num_threads(found.threads)  # it rounds with them

    def train(self, on_epoch: Callable[[Epoch], None] | None = None) -> Replica:
        """Run the remaining epochs; the replica with the weights that are kept.

        Raises:
            TrainingError: The loss is no finite number any more.
        """
        total = self._run.task.settings.epochs
        while len(self.epochs) < total and not self.stopped:
            epoch = self._epoch(len(self.epochs))
            self.epochs.append(epoch)
            if self._checkpoint is not None:
                write_run(
                    self._checkpoint,
                    self._identity,
                    self._run,
                    self._method,
                    self.epochs,
                    self._weights,
                )
            if on_epoch is not None:
                on_epoch(epoch)
        replica = self._method.evaluated(self._run)
        if self._weights:
            replica.load_tensors(self._weights)
        return replica

    def _epoch(self, number: int) -> Epoch:
        started = time.perf_counter()
        loss = self._method.epoch(self._run, number)
        if loss != loss or loss in (float("inf"), float("-inf")):
            raise TrainingError(
                f"the loss is {loss} in epoch {number + 1}; train with a lower learning rate, or "
                "with less noise"
            )
        kpp = self._judged(number + 1) if self._run.task.settings.judges(number + 1) else None
        best = kpp is not None and kpp == self._best
        return Epoch(number + 1, loss, kpp, best, time.perf_counter() - started)

    def _judged(self, number: int) -> float:
        """The KPP now; keeps the weights where it is the best."""
        replica = self._method.evaluated(self._run)
        kpp = self._run.kpp(replica)
        if self._count(number, kpp):
            self._weights = copied(replica.tensors())
        return kpp

    def _count(self, number: int, kpp: float) -> bool:
        """Note the KPP of an epoch; whether its weights are to be kept."""
        settings = self._run.task.settings
        taken = kpp >= self._best or settings.keep == "last"
        self._since = 0 if kpp > self._best else self._since + 1
        if taken:
            self._best, self.kept = max(kpp, self._best), number
        self.stopped = 0 < settings.patience <= self._since
        return taken
