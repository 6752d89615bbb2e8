"""From a run to its checkpoint and back: what is kept, and how it is held against the run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from nvmc.errors import OptionError
from nvmc.hardware.devices.laws import Strict
from nvmc.hardware.options import problem
from nvmc.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from nvmc.training.kept import (
    ANY,
    Entry,
    Misfit,
    begin_state,
    check_tensors,
    fill,
    forget_absent,
    nbytes,
    optimizer_entries,
    prefixed,
)
from nvmc.training.method import Method
from nvmc.training.outcome import Epoch
from nvmc.training.replica import Pace
from nvmc.training.run import Run

__all__ = ["Found", "read_run", "write_run"]

_BEST = "best"
_HEADER = (1 << 20, 1 << 10, 1 << 14)
"""Most bytes of a header: for what is always there, for each tensor and for each epoch."""
_ULP = 1 + 1e-9
"""A schedule's highest rate, rounded."""

_State = TypeVar("_State", bound=Strict)


class _Progress(Strict, Generic[_State], frozen=True):
    """The JSON of a checkpoint; its values are checked where they have a range of their own.

    Attributes:
        epochs: All so far.
        replicas: How far each is.
        threads: Of torch.
        method: The method's own.
    """

    epochs: Annotated[tuple[Epoch, ...], Field(min_length=1)]
    replicas: tuple[Pace, ...]
    threads: Annotated[int, Field(ge=1, le=1024)]
    method: _State


@dataclass(frozen=True)
class Found:
    """What the loop goes on with; networks, optimisers and the method have theirs already.

    Attributes:
        epochs: All so far.
        best: The weights that are kept.
        threads: Of torch.
    """

    epochs: tuple[Epoch, ...]
    best: Mapping[str, Tensor]
    threads: int


def write_run(
    path: Path,
    identity: Mapping[str, str],
    run: Run,
    method: Method,
    epochs: Sequence[Epoch],
    best: Mapping[str, Tensor],
) -> None:
    """Write a checkpoint of a run at the end of an epoch.

    Raises:
        ArtifactError: The file cannot be written.
    """
    progress = _Progress[method.keeps](
        epochs=tuple(epochs),
        replicas=tuple(replica.pace for replica in run.replicas),
        threads=torch.get_num_threads(),
        method=method.state(run),
    )
    tensors = {name: entry.live for name, entry in _entries(run, method, 0).items()}
    tensors |= prefixed(_BEST, best)
    save_checkpoint(path, identity, Checkpoint(json.dumps(progress.model_dump()), tensors))


def read_run(path: Path, identity: Mapping[str, str], run: Run, method: Method) -> Found:
    """Bring a run to where its checkpoint is.

    Nothing is copied into the run before all of the file is known to fit.

    Raises:
        OptionError: There is no checkpoint of this run, or it does not fit.
    """
    for optimizer in _optimizers(run, method).values():
        begin_state(optimizer)
    entries = _entries(run, method, 0)
    weights = prefixed(_BEST, method.evaluated(run).tensors())
    fixed, each, epoch = _HEADER
    header = fixed + each * (len(entries) + len(weights)) + epoch * run.task.settings.epochs
    most = nbytes(entries.values()) + sum(weight.nbytes for weight in weights.values())
    content = load_checkpoint(path, identity, header, most)
    try:
        return _taken(content, run, method)
    except Misfit as error:
        raise OptionError(
            f"{str(path)!r} does not fit this run: {error}; remove it and start anew"
        ) from error


def _taken(content: Checkpoint, run: Run, method: Method) -> Found:
    progress = _progress_of(content.state, method)
    _check_epochs(progress.epochs, run)
    _check_paces(progress, run)
    done = len(progress.epochs)
    entries = _entries(run, method, done * run.steps_of_epoch)
    best = prefixed(_BEST, method.evaluated(run).tensors()) if _kept(progress, run) else {}
    limits = prefixed(_BEST, method.limits(run))
    kept = {name: Entry(live, limits.get(name, ANY)) for name, live in best.items()}
    check_tensors(content.tensors, {**entries, **kept})
    for replica, pace in zip(run.replicas, progress.replicas, strict=True):
        replica.go_on_at(pace)
        replica.version += 1
    method.restore(run, progress.method, done)
    own = {name: value for name, value in content.tensors.items() if name in entries}
    fill(entries, own)
    for prefix, optimizer in _optimizers(run, method).items():
        there = (n.removeprefix(f"{prefix}.") for n in own if n.startswith(f"{prefix}."))
        forget_absent(optimizer, there)
    left = {name.removeprefix(f"{_BEST}."): content.tensors[name] for name in kept}
    return Found(progress.epochs, left, progress.threads)


def _optimizers(run: Run, method: Method) -> dict[str, torch.optim.Optimizer]:
    found = {f"replicas.{i}.optimizer": one.optimizer for i, one in enumerate(run.replicas)}
    return {**found, **prefixed("method", method.optimizers(run))}


def _entries(run: Run, method: Method, steps: int) -> dict[str, Entry]:
    """All tensors of a run but the weights that are kept, by their names in a checkpoint."""
    limits, entries = method.limits(run), dict[str, Entry]()
    for number, replica in enumerate(run.replicas):
        for name, live in replica.tensors().items():
            entry = Entry(live, limits.get(name, ANY))
            entries[f"replicas.{number}.{name}"] = entry
    for name, live in method.tensors(run).items():
        entries[f"method.{name}"] = Entry(live)
    for prefix, optimizer in _optimizers(run, method).items():
        entries |= prefixed(prefix, optimizer_entries(optimizer, steps))
    return entries


def _progress_of(text: str, method: Method) -> _Progress[Any]:
    model = _Progress[method.keeps]
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise Misfit(problem(error, model)) from error


def _kept(progress: _Progress[Any], run: Run) -> bool:
    """Whether some epoch's weights are kept; those of a KPP that is no number are not."""
    last = run.task.settings.keep == "last"
    kpps = [epoch.kpp for epoch in progress.epochs if epoch.kpp is not None]
    return any(last or kpp == kpp for kpp in kpps)


def _check_epochs(epochs: Sequence[Epoch], run: Run) -> None:
    settings = run.task.settings
    if len(epochs) > settings.epochs:
        raise Misfit(f"it has {len(epochs)} epochs; expected at most {settings.epochs}")
    for number, epoch in enumerate(epochs, start=1):
        where = f"epochs.{number - 1}"
        if epoch.epoch != number:
            raise Misfit(f"{where}.epoch is {epoch.epoch}; expected {number}")
        for key, value in (("loss", epoch.loss), ("seconds", epoch.seconds)):
            if not -float("inf") < value < float("inf"):
                raise Misfit(f"{where}.{key} is {value}; expected a finite number")
        if (epoch.kpp is not None) != settings.judges(number):
            wanted = "a number" if settings.judges(number) else "null"
            raise Misfit(f"{where}.kpp is {epoch.kpp}; expected {wanted}")


def _check_paces(progress: _Progress[Any], run: Run) -> None:
    found, expected = len(progress.replicas), len(run.replicas)
    if found != expected:
        raise Misfit(f"it has {found} replicas; expected {expected}")
    most = len(progress.epochs) * run.steps_of_epoch
    rate = run.task.settings.highest_rate
    for number, pace in enumerate(progress.replicas):
        if pace.steps > most:
            raise Misfit(f"replicas.{number}.steps is {pace.steps}; expected at most {most}")
        if pace.rate > rate * _ULP:
            raise Misfit(f"replicas.{number}.rate is {pace.rate}; expected at most {rate}")
