"""The loop that all methods share: epochs, KPPs, the best weights, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from nvmc.errors import TrainingError
from nvmc.training.checkpoint import load_checkpoint, save_checkpoint
from nvmc.training.method import Method
from nvmc.training.outcome import Epoch
from nvmc.training.replica import Replica, copied
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
        self._weights: list[Any] = []
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
        accelerator = self._run.task.settings.accelerator
        state = load_checkpoint(self._checkpoint, self._identity, accelerator)
        for replica, part in zip(self._run.replicas, state["replicas"], strict=True):
            replica.load_state_dict(part)
        self._method.restore(self._run, state["method"])
        self.epochs = [Epoch(**row) for row in state["epochs"]]
        self.kept, self._best, self._since = state["kept"], state["best"], state["since"]
        self._weights, self.stopped = state["weights"], state["stopped"]
        torch.set_num_threads(state.get("threads", torch.get_num_threads()))  # it rounds with them

    def train(self, on_epoch: Callable[[Epoch], None] | None = None) -> Replica:
        """Run the remaining epochs; the replica with the weights that are kept.

        Raises:
            TrainingError: The loss is no finite number any more.
        """
        total = self._run.task.settings.epochs
        while len(self.epochs) < total and not self.stopped:
            epoch = self._epoch(len(self.epochs), last=len(self.epochs) + 1 == total)
            self.epochs.append(epoch)
            self._save()
            if on_epoch is not None:
                on_epoch(epoch)
        replica = self._method.evaluated(self._run)
        if self._weights:
            replica.load_modules(self._weights)
        return replica

    def _epoch(self, number: int, last: bool) -> Epoch:
        settings = self._run.task.settings
        started = time.perf_counter()
        loss = self._method.epoch(self._run, number)
        if loss != loss or loss in (float("inf"), float("-inf")):
            raise TrainingError(
                f"the loss is {loss} in epoch {number + 1}; train with a lower learning rate, or "
                "with less noise"
            )
        due = bool(settings.every) and (number + 1) % settings.every == 0
        kpp = self._judged(number + 1) if due or last else None
        best = kpp is not None and kpp == self._best
        return Epoch(number + 1, loss, kpp, best, time.perf_counter() - started)

    def _judged(self, number: int) -> float:
        """The KPP now; keeps the weights where it is the best."""
        settings = self._run.task.settings
        replica = self._method.evaluated(self._run)
        kpp = self._run.kpp(replica)
        better = kpp >= self._best
        self._since = 0 if kpp > self._best else self._since + 1
        if better or settings.keep == "last":
            self._best = max(kpp, self._best)
            self._weights, self.kept = copied(replica.modules_state()), number
        self.stopped = 0 < settings.patience <= self._since
        return kpp

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        state: dict[str, Any] = {
            "replicas": [replica.state_dict() for replica in self._run.replicas],
            "method": self._method.state(self._run),
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "kept": self.kept,
            "best": self._best,
            "since": self._since,
            "weights": self._weights,
            "stopped": self.stopped,
            "threads": torch.get_num_threads(),
        }
        save_checkpoint(self._checkpoint, self._identity, state)
