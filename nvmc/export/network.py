"""The pipeline behind `nvmc export`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import nvmc
from nvmc.arguments import checked
from nvmc.compiled.artifact import Compiled
from nvmc.errors import OptionError, unknown
from nvmc.export.folder import check_free, replacing_export, write_export
from nvmc.export.kinds import KINDS, Kind
from nvmc.export.request import ExportOptions, Request, Written
from nvmc.hardware.devices import Device, NoiseSource

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
    noise: Sequence[NoiseSource | str] = (),
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
        noise: More noise sources behind the device's own, or texts as behind `--noise`.
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
    settings = {"sigma": sigma, "time_s": time_s, "temperature_c": temperature_c}
    request = Request.of(compiled, chip, seed, options, device=device, noise=noise, **settings)
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


def _kind(name: str, options: ExportOptions) -> Kind:
    if name not in KINDS:
        raise OptionError(unknown("--to", name, KINDS))
    kind = KINDS[name]
    given: dict[str, Any] = {**options}
    for key, value in given.items():
        if key not in kind.options and value not in (None, ()):
            takes = ", ".join(other.name for other in KINDS.values() if key in other.options)
            option = key.replace("_", "-")
            raise OptionError(f"--{option} is not for --to {name}; only {takes} takes it")
    return kind
