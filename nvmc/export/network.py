"""The pipeline behind `nvmc export`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Unpack

import nvmc
from nvmc.arguments import checked
from nvmc.compiled.artifact import Compiled
from nvmc.errors import OptionError, unknown
from nvmc.evaluation.parameters import Setup
from nvmc.export.folder import check_free, replacing_export, write_export
from nvmc.export.kinds import KINDS, Kind
from nvmc.export.request import ExportOptions, Request, Written
from nvmc.hardware.devices import Device

__all__ = ["export_network"]


@checked
def export_network(
    compiled: Compiled,
    kind: str,
    folder: str | Path,
    *,
    chip: int | None = None,
    seed: int = 0,
    device: Device | str | Path | None = None,
    sigma: float | None = None,
    time_s: float | None = None,
    temperature_c: float | None = None,
    **options: Unpack[ExportOptions],
) -> Written:
    """Write a compiled network, or one chip of it, as another tool reads it (docs/export.md).

    Args:
        compiled: From `open_compiled` or `compile_model`.
        kind: Which tool: a name of `nvmc.export.kinds.KINDS`.
        folder: Where to; made, or replaced where it holds nothing but an export.
        chip: Number of the chip; None for the ideal one, whose cells are on target.
        seed: Population of chips.
        device: Another device than the network was compiled for: one, its name, or its file.
        sigma: Strength of the device's noise instead of its default.
        time_s: Seconds since programming; the device's default for None.
        temperature_c: Of the cells, degrees Celsius; what their noise sources say for None.
        **options: Those that the kind takes; see `ExportOptions`.

    Returns:
        What was written, and what the files leave out.

    Raises:
        OptionError: There is no such kind, it does not take an option, or a chip is out of range.
        ArtifactError: The folder holds other files, or cannot be written.
        ModelError: The network cannot be said in the format.
    """
    chosen = _kind(kind, options)
    _check_chip(chip, {"seed": seed or None, "sigma": sigma, "time": time_s})
    setup = Setup.of(compiled.manifest.target, device, (), sigma, time_s, (), temperature_c)
    request = Request(compiled, setup, chip, seed, options)
    _ = request.chip  # complains of a number that is none
    path = Path(folder)
    check_free(path)
    module, _, name = chosen.writer.partition(":")
    with replacing_export(path) as staged:
        written: Written = getattr(importlib.import_module(module), name)(request, staged)
        write_export(staged, _told(request, chosen, written))
    return written


def _told(request: Request, kind: Kind, written: Written) -> dict[str, Any]:
    """What `export.json` says beside the files."""
    compiled, chip = request.compiled, None
    if request.index is not None:
        chip = {**request.setup.identity(request.seed), "index": request.index}
    return {
        "kind": kind.name,
        "kind_format": kind.format,
        "nvmc": nvmc.__version__,
        "network": {
            "folder": compiled.folder.name,
            "sha256": compiled.network_sha256,
            "source": compiled.manifest.source.model_dump(),
        },
        "chip": chip,
        "device": request.target.device.name,
        "assumptions": list(written.assumptions),
        **written.details,
    }


def _check_chip(chip: int | None, settings: dict[str, Any]) -> None:
    """Complain of what only a chip has, where none is asked for."""
    given = [name for name, value in settings.items() if value is not None]
    if chip is None and given:
        raise OptionError(
            f"--{given[0]} is given without --chip; the ideal chip has no noise: give a chip, or "
            "leave it out"
        )


def _kind(name: str, options: ExportOptions) -> Kind:
    if name not in KINDS:
        raise OptionError(unknown("--to", name, KINDS))
    kind = KINDS[name]
    given: dict[str, Any] = {**options}
    for key, value in given.items():
        if key not in kind.options and value not in (None, ()):
            takes = [other.name for other in KINDS.values() if key in other.options]
            raise OptionError(f"--{key} is not for --to {name}; only {', '.join(takes)} takes it")
    return kind
