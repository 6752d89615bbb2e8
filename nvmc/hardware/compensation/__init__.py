"""Compensations: what chips do themselves against their own noise. `COMPENSATIONS` names all.

`select`, `verify` and `drift` know a chip's cells only and belong to the chip (`CompensatedChip`).
Which cells `verify` writes again follows from the network and images (`nvmc.evaluation.marking`).
`batchnorm` and `affine` are fitted to images that each chip runs (`nvmc.evaluation.tuning`). A new
one is a class in a file here and a row of the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from nvmc.errors import OptionError, unknown
from nvmc.hardware.chip import Chip
from nvmc.hardware.compensation.affine import Affine
from nvmc.hardware.compensation.base import Compensation, Corrected, Needs
from nvmc.hardware.compensation.batchnorm import BatchNorm
from nvmc.hardware.compensation.chip import CompensatedChip
from nvmc.hardware.compensation.drift import Drift
from nvmc.hardware.compensation.marks import Marks
from nvmc.hardware.compensation.select import Select
from nvmc.hardware.compensation.verify import Verify
from nvmc.hardware.devices import Device
from nvmc.hardware.options import pairs, problem, value_of

__all__ = [
    "COMPENSATIONS",
    "Affine",
    "BatchNorm",
    "CompensatedChip",
    "Compensation",
    "Corrected",
    "Drift",
    "Marks",
    "Needs",
    "Select",
    "Verify",
    "as_compensations",
    "compensated",
    "marked",
    "settled",
]

COMPENSATIONS: dict[str, type[Compensation]] = {
    kind.model_fields["type"].default: kind for kind in (Select, Verify, Drift, BatchNorm, Affine)
}
"""Type, as people write it -> compensation, in the order in which they act: the cells that are
used, which of them are written again, their factor, and then the statistics and the columns, each
layer before those behind it."""


def as_compensations(given: Iterable[Compensation | str]) -> tuple[Compensation, ...]:
    """Compensations, or texts as behind `--compensate`, in the order in which they act.

    A text names one or several: `drift`, `drift,affine:images=64,fit=moments`. An option without
    a name before it belongs to the compensation before it.

    Raises:
        OptionError: There is no such compensation or option, or one is given twice.
    """
    found: dict[str, Compensation] = {}
    for one in (part for item in given for part in _parts(item)):
        if one.type in found:
            raise OptionError(f"--compensate: {one.type!r} is given twice; give it once")
        found[one.type] = one
    return tuple(found[kind] for kind in COMPENSATIONS if kind in found)


def _parts(item: Compensation | str) -> list[Compensation]:
    if isinstance(item, Compensation):
        return [item]
    texts: list[str] = []
    for part in item.split(","):
        if texts and "=" in part and ":" not in part:
            texts[-1] += f",{part}" if ":" in texts[-1] else f":{part}"
        else:
            texts.append(part)
    return [_parsed(text.strip()) for text in texts]


def _parsed(text: str) -> Compensation:
    where = f"--compensate {text!r}"
    kind, _, rest = text.partition(":")
    if kind not in COMPENSATIONS:
        raise OptionError(f"--compensate: {unknown('compensation', kind, COMPENSATIONS)}")
    given = pairs(where, rest.split(","), "affine:images=64")
    options: dict[str, Any] = {key: value_of(value) for key, value in given.items()}
    if "type" in options:
        raise OptionError(f"{where}: 'type' is given twice; give it once")
    try:
        return COMPENSATIONS[kind].model_validate(options)
    except ValidationError as error:
        raise OptionError(f"{where}: {problem(error, COMPENSATIONS[kind])}") from error


def settled(given: Iterable[Compensation], devices: Sequence[Device]) -> tuple[Compensation, ...]:
    """Compensations for chips of a device, or of several.

    Raises:
        OptionError: One of them can do nothing on any device, or would be another on each.
    """
    return tuple(_settled(one, devices) for one in given)


def _settled(one: Compensation, devices: Sequence[Device]) -> Compensation:
    found: dict[Compensation, str] = {}
    refused: list[OptionError] = []
    for device in devices:
        try:
            found.setdefault(one.settled(device), device.name)
        except OptionError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    if len(found) > 1:
        told = " and ".join(
            f"{noise!r} on {name!r}" for noise, name in ((_told(k), v) for k, v in found.items())
        )
        raise OptionError(
            f"--compensate {one.type}: layers have devices of their own, for which it would be "
            f"{told}; say it with the option itself"
        )
    return next(iter(found))


def _told(one: Compensation) -> str:
    """As people write it."""
    options = one.model_dump(exclude_none=True, exclude={"type"})
    return f"{one.type}:" + ",".join(f"{key}={value:g}" for key, value in options.items())


def compensated(chip: Chip, compensate: Iterable[Compensation]) -> Chip:
    """The chip with those of the compensations that are its own; itself without any."""
    own = tuple(one for one in compensate if not one.calibrated)
    return CompensatedChip.within(chip, own) if own else chip


def marked(chip: Chip, marks: Marks | None) -> Chip:
    """The chip that knows which of its cells it verifies; itself where it verifies none."""
    if marks is None or not isinstance(chip, CompensatedChip):
        return chip
    return replace(chip, marks=marks)
