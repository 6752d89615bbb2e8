"""From a run to its checkpoint and back: what is kept, and how it is compared with the run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from nvmc.errors import OptionError, TrainingError
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
    optimizer_entries,
    optimizer_tensors,
    prefixed,
)
from nvmc.training.method import Method
from nvmc.training.optimizers import Pace, pace_after
from nvmc.training.outcome import Epoch
from nvmc.training.run import Run

__all__ = ["Found", "read_run", "write_run"]

_BEST = "best"
_HEADER = (1 << 20, 1 << 10, 1 << 14)
"""Most bytes of a header: for what is always there, for each tensor and for each epoch."""
_ROUNDING = 1e-9
"""Of rates, as a share of the highest: another torch may round them otherwise."""
_RANGES = dict.fromkeys(("circuit.inputs", "circuit.currents", "activations.reach"), (0, math.inf))
"""Ranges of converters, which no file makes negative."""

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
        TrainingError: The method says other steps than it took, so no run could go on from it.
    """
    taken = tuple(replica.pace.steps for replica in run.replicas)
    if (said := method.steps_taken(run, len(epochs))) != taken:
        raise TrainingError(
            f"method {method.kind!r} took {list(taken)} steps in {len(epochs)} epochs, but its "
            f"steps_taken says {list(said)}; override steps_taken"
        )
    progress = _Progress[method.keeps](
        epochs=tuple(epochs),
        replicas=tuple(replica.pace for replica in run.replicas),
        threads=torch.get_num_threads(),
        method=method.state(run),
    )
    tensors = {**_live(run, method), **prefixed(_BEST, best)}
    save_checkpoint(path, identity, Checkpoint(json.dumps(progress.model_dump()), tensors))


def read_run(path: Path, identity: Mapping[str, str], run: Run, method: Method) -> Found:
    """Bring a run to where its checkpoint is.

    Nothing is copied into the run before all of the file is known to fit.

    Raises:
        OptionError: There is no checkpoint of this run, or it does not fit.
    """
    for optimizer in _optimizers(run, method).values():
        begin_state(optimizer)
    tensors = [*_live(run, method).values(), *method.evaluated(run).tensors().values()]
    fixed, each, epoch = _HEADER
    header = fixed + each * len(tensors) + epoch * run.task.settings.epochs
    most = sum(tensor.nbytes for tensor in tensors)
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
    done = len(progress.epochs)
    method.restore(run, progress.method, done)
    paces = _paces(progress, run, method)
    entries = _entries(run, method, done, paces)
    best = prefixed(_BEST, method.evaluated(run).tensors()) if _kept(progress, run) else {}
    limits = prefixed(_BEST, {**_RANGES, **method.limits(run)})
    kept = {name: Entry(live, limits.get(name, ANY)) for name, live in best.items()}
    check_tensors(content.tensors, {**entries, **kept})
    for replica, pace in zip(run.replicas, paces, strict=True):
        replica.go_on_at(pace)
        replica.version += 1
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


def _live(run: Run, method: Method) -> dict[str, Tensor]:
    """All tensors of a run but the weights that are kept, by their names in a checkpoint."""
    found: dict[str, Tensor] = prefixed("method", method.tensors(run))
    for number, replica in enumerate(run.replicas):
        found |= prefixed(f"replicas.{number}", replica.tensors())
    for prefix, optimizer in _optimizers(run, method).items():
        found |= prefixed(prefix, optimizer_tensors(optimizer))
    return found


def _entries(run: Run, method: Method, done: int, paces: Sequence[Pace]) -> dict[str, Entry]:
    """What `_live` must be like after `done` epochs."""
    limits, entries = {**_RANGES, **method.limits(run)}, dict[str, Entry]()
    for number, replica in enumerate(run.replicas):
        for name, live in replica.tensors().items():
            entry = Entry(live, limits.get(name, ANY))
            entries[f"replicas.{number}.{name}"] = entry
    for name, live in method.tensors(run).items():
        entries[f"method.{name}"] = Entry(live)
    steps = [pace.steps for pace in paces]
    for at, (prefix, optimizer) in enumerate(_optimizers(run, method).items()):
        taken = steps[at] if at < len(steps) else done * run.steps_of_epoch
        entries |= prefixed(prefix, optimizer_entries(optimizer, taken))
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


def _paces(progress: _Progress[Any], run: Run, method: Method) -> list[Pace]:
    """How far the replicas are, which follows from the epochs; the file has to say the same."""
    found, expected = len(progress.replicas), len(run.replicas)
    if found != expected:
        raise Misfit(f"it has {found} replicas; expected {expected}")
    settings, total = run.task.settings, method.steps_of_schedule(run)
    steps = method.steps_taken(run, len(progress.epochs))
    after = {number: pace_after(number, settings, total) for number in set(steps)}
    paces = [after[number] for number in steps]
    for number, (pace, due) in enumerate(zip(progress.replicas, paces, strict=True)):
        where = f"replicas.{number}"
        if pace.steps != due.steps:
            raise Misfit(f"{where}.steps is {pace.steps}; expected {due.steps}")
        if not math.isclose(pace.rate, due.rate, abs_tol=_ROUNDING * settings.highest_rate):
            raise Misfit(f"{where}.rate is {pace.rate}; expected {due.rate}")
        if not math.isclose(pace.momentum, due.momentum, abs_tol=_ROUNDING):
            raise Misfit(f"{where}.momentum is {pace.momentum}; expected {due.momentum}")
    return paces
