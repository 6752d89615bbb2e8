"""`nvmc export`: a compiled network, or one chip of it, as another tool reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nvmc.cli.console import memory_option, note, note_kept, out
from nvmc.cli.running import opened, run_options
from nvmc.export.kinds import KINDS
from nvmc.export.network import export_network
from nvmc.export.request import parse_range

__all__ = ["export_command"]

_KINDS = "\n\n\b\n" + "\n".join(f"  {kind.name:12} {kind.writes}" for kind in KINDS.values())


def _range(context: click.Context, option: click.Parameter, text: str | None) -> Any:
    """Two conductances; an error before anything is read."""
    del context, option
    return None if text is None else parse_range(text)


@click.command("export", help=f"Write a compiled network in the format of another tool.{_KINDS}")
@click.argument("compiled", required=False, type=click.Path(path_type=Path))
@click.option("--to", "kind", required=True, metavar="KIND", help="One of the kinds above.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder to write; an existing folder is replaced only if it is an export.",
)
@click.option("--chip", type=int, metavar="K", help="Number of the chip.  [default: ideal cells]")
@run_options("seed", "device", "noise", "sigma", "time", "temperature")
@click.option(
    "--opset",
    type=int,
    metavar="N",
    help="onnx: opset of the operators.  [default: the lowest possible]",
)
@click.option(
    "--array",
    multiple=True,
    metavar="NAME",
    help="Write only the tiles of this array. May be repeated.",
)
@click.option(
    "--range-us",
    callback=_range,
    metavar="LOW,HIGH",
    help="Conductance of level 0 and of the highest level, if the device does not state them.",
)
@click.option(
    "--volts",
    metavar="V|FILE",
    help=(
        "spice: voltage of all word lines, or an NPZ with volts for the rows of each array.  "
        "[default: the read voltage, or 1]"
    ),
)
@click.option(
    "--data",
    metavar="SPEC",
    help="neurosim: data, whose first image is traced.  [default: seeded inputs]",
)
@click.option(
    "--placement",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="schedule: a file of nvmc place, with the cores of the tiles.",
)
@memory_option
def export_command(
    compiled: Path | None,
    kind: str,
    output: Path,
    chip: int | None,
    seed: int,
    device: str | None,
    noise: tuple[str, ...],
    sigma: float | None,
    **options: Any,
) -> None:
    """Write KIND into a folder."""
    network = opened(compiled)
    written = export_network(
        network,
        kind,
        output,
        chip=chip,
        seed=seed,
        device=device,
        noise=noise,
        sigma=sigma,
        **options,
    )
    for line in written.lines:
        out().print(f"Wrote {line} to {output}")
    note_kept(network.manifest.target, device=device, sigma=sigma)
    for assumption in written.assumptions:
        note(assumption[0].upper() + assumption[1:])
