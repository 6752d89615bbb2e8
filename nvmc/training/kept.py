"""What a checkpoint's tensors must be like, and how they get into a run that goes on.

A run that goes on has all the tensors that a checkpoint can hold before the file is opened: its
networks, and the state of its optimisers, which a step without gradients and without a rate makes.
A file must have the same names, shapes and types, with values that can be; it is copied into them.
So no size, no type and no key of a file decides what is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nvmc.errors import OptionError

__all__ = [
    "ANY",
    "Entry",
    "Misfit",
    "begin_state",
    "check_tensors",
    "fill",
    "forget_absent",
    "optimizer_entries",
    "optimizer_tensors",
    "prefixed",
]


ANY = (-math.inf, math.inf)
_COUNTED = 1 << 24
"""Where torch's count of steps stays, which is in float32."""


class Misfit(OptionError):
    """A checkpoint does not fit the run; says which entry, what was found, what was expected."""


@dataclass(frozen=True)
class Entry:
    """One tensor of a run, as a checkpoint must have it.

    Attributes:
        live: The tensor itself, whose shape and type count.
        limits: Least and greatest value.
        optional: It may be absent together with all others whose names differ in the last part.
    """

    live: Tensor
    limits: tuple[float, float] = ANY
    optional: bool = False


def prefixed(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The same under longer names."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def begin_state(optimizer: torch.optim.Optimizer) -> None:
    """Make an optimiser's state where there is none; its parameters stay as they are."""
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    for parameter in _parameters(optimizer):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state as it is, by number of the parameter and name."""
    return {
        f"{number}.{name}": value
        for number, parameter in enumerate(_parameters(optimizer))
        for name, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def optimizer_entries(optimizer: torch.optim.Optimizer, steps: int) -> dict[str, Entry]:
    """What a checkpoint may have of an optimiser after so many steps.

    A parameter that no gradient reached has no state, and before the first step none has.
    """
    if not steps:
        return {}
    found: dict[str, Entry] = {}
    counted = min(steps, _COUNTED)
    for name, live in optimizer_tensors(optimizer).items():
        if name.endswith(".step"):
            found[name] = Entry(live, (counted, counted), optional=True)
        else:
            limits = (0, math.inf) if name.endswith("_sq") else ANY
            found[name] = Entry(live, limits, optional=True)
    return found


def check_tensors(found: Mapping[str, Tensor], entries: Mapping[str, Entry]) -> None:
    """Complain where a file's tensors are not those of the run.

    Raises:
        Misfit: One is missing, unknown, or has another shape, type or value than it can have.
    """
    for name in found:
        if name not in entries:
            raise Misfit(f"tensor {name[:200]!r} is unknown; expected only what this run has")
    present = {name.rpartition(".")[0] for name in found}
    for name, entry in entries.items():
        if name in found:
            _check(name, found[name], entry)
        elif not entry.optional or name.rpartition(".")[0] in present:
            raise Misfit(f"tensor {name!r} is missing; expected {_form(entry.live)}")


def fill(entries: Mapping[str, Entry], found: Mapping[str, Tensor]) -> None:
    """Copy checked tensors into those of the run."""
    with torch.no_grad():
        for name, tensor in found.items():
            entries[name].live.copy_(tensor)


def forget_absent(optimizer: torch.optim.Optimizer, names: Iterable[str]) -> None:
    """Drop the state of parameters of which the file has none; `names` as `optimizer_tensors`."""
    known = {name.partition(".")[0] for name in names}
    for number, parameter in enumerate(_parameters(optimizer)):
        if str(number) not in known:
            optimizer.state.pop(parameter, None)


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _check(name: str, found: Tensor, entry: Entry) -> None:
    live = entry.live
    if found.dtype != live.dtype or found.shape != live.shape:
        raise Misfit(f"tensor {name!r} is {_form(found)}; expected {_form(live)}")
    if not found.numel() or found.dtype == torch.bool:
        return
    if found.is_floating_point() and not bool(found.isfinite().all()):
        if bool(live.isfinite().all()):
            raise Misfit(f"tensor {name!r} has values that are not finite")
        return
    low, high = float(found.min()), float(found.max())
    least, greatest = entry.limits
    if low < least or high > greatest:
        wanted = f"{least:g}" if least == greatest else f"them from {least:g} to {greatest:g}"
        raise Misfit(f"tensor {name!r} has values from {low:g} to {high:g}; expected {wanted}")


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
