"""`nvmc hardware`: the hardware that `nvmc cost` knows, and files of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from nvmc.cli.console import out, print_json
from nvmc.cli.suggest import Group
from nvmc.compiled.artifact import replacing_file
from nvmc.cost.band import Band, bands, judges, ratios
from nvmc.cost.components import Component
from nvmc.cost.hardware import Hardware, hardware_names, load_hardware
from nvmc.cost.macros import DIMENSIONS, parse_macros
from nvmc.cost.mesh import Mesh
from nvmc.cost.quantity import Quantity
from nvmc.errors import OptionError

__all__ = ["band_text", "hardware_command"]


@click.group("hardware", cls=Group, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def hardware_command(context: click.Context, as_json: bool) -> None:
    """List the hardware that comes with nvmc; `nvmc hardware show NAME` for one.

    A file of your own works wherever a name does: `--hardware ./mine.toml`.
    """
    if context.invoked_subcommand is None:
        _list_all(as_json)


@hardware_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def _list(as_json: bool) -> None:
    """List the hardware that comes with nvmc."""
    _list_all(as_json)


def _list_all(as_json: bool) -> None:
    known = [load_hardware(name) for name in hardware_names()]
    if as_json:
        print_json({"hardware": [_as_json(one) for one in known]})
        return
    table = Table(box=None, pad_edge=False)
    for column in ("hardware", "energy", "what it is"):
        table.add_column(column, no_wrap=column != "what it is")
    for one in known:
        table.add_row(one.name, band_text(bands(one)["energy"]), one.title)
    out().print(table)
    out().print(
        "energy: within these factors of published macros that it was not calibrated on",
        soft_wrap=True,
    )


@hardware_command.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def _show(name: str, as_json: bool) -> None:
    """Show one hardware with its constants, their sources and its bands: a name or a .toml file."""
    hardware = load_hardware(name)
    if as_json:
        print_json(_as_json(hardware))
        return
    console = out()
    console.print(f"{hardware.name}: {hardware.title}")
    console.print(f"source: {hardware.source}")
    console.print(f"node: {hardware.node.value:g} {hardware.node.unit} ({hardware.node.source})")
    calibration = hardware.calibration
    factors = ", ".join(f"{key} x{getattr(calibration, key):.4g}" for key in DIMENSIONS)
    console.print(f"calibrated on: {', '.join(calibration.macros) or 'nothing'} ({factors})")
    for dimension, band in bands(hardware).items():
        console.print(
            f"band of {dimension}: {band_text(band)}, from {band.chips} chips; one more lies in it "
            f"with probability {band.coverage:.2f}"
        )
    sections = {} if hardware.mesh is None else {"mesh": hardware.mesh}
    for section, part in {**hardware.components, **sections}.items():
        console.print(f"\n[{section}]")
        for line in _lines(part):
            console.print(line)
    _print_macros(hardware)


@hardware_command.command("fit")
@click.argument("macro", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="The hardware file."
)
@click.option(
    "--base",
    default="generic",
    show_default=True,
    metavar="NAME|FILE",
    help="Hardware whose components are taken.",
)
@click.option("--name", help="Name of the hardware.  [default: the output's, without .toml]")
@click.option("--title", help="What it is, in one line.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def _fit(
    macro: Path, output: Path, base: str, name: str | None, title: str | None, as_json: bool
) -> None:
    """Make a hardware file that meets a macro's published numbers.

    MACRO is a TOML file with one [[macro]] for each operating point, as in docs/cost.md.
    """
    from nvmc.cost.fit import fit_hardware, hardware_text
    from nvmc.cost.hardware import parse_hardware
    from nvmc.errors import HardwareError

    if output.suffix != ".toml":
        raise OptionError(f"output is {str(output)!r}; expected the name of a .toml file")
    try:
        content = macro.read_bytes()
    except OSError as error:
        raise HardwareError(
            f"cannot read macro file {str(macro)!r}: {error.strerror or error}; give the path of a "
            "TOML file with [[macro]]"
        ) from error
    points = parse_macros(content, str(macro))
    fitted = fit_hardware(points, load_hardware(base), name or output.stem, title)
    text = hardware_text(fitted)
    hardware = parse_hardware(text.encode(), str(output))
    with replacing_file(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    if as_json:
        print_json(_as_json(hardware))
        return
    for dimension, band in bands(hardware).items():
        found = getattr(hardware.calibration, dimension)
        out().print(f"{dimension}: factor {found:.4g} on {base}; holds within {band_text(band)}")
    out().print(f"Wrote {output}", soft_wrap=True)


def band_text(band: Band) -> str:
    """`x0.14 to x15`."""
    return f"x{band.low:.2g} to x{band.high:.3g}"


def _as_json(hardware: Hardware) -> dict[str, Any]:
    content = hardware.model_dump(mode="json", exclude_none=True)
    content["bands"] = {
        name: {**vars(band), "coverage": band.coverage} for name, band in bands(hardware).items()
    }
    return content


def _lines(part: Component | Mesh) -> list[str]:
    lines: list[str] = []
    for key in type(part).model_fields:
        value: Any = getattr(part, key)
        if isinstance(value, Quantity):
            lines.append(f"  {key} = {value.value:g} {value.unit}: {value.source}")
        elif value is not None:
            lines.append(f"  {key} = {value}")
    return lines


def _print_macros(hardware: Hardware) -> None:
    """Published over ours, macro by macro."""
    table = Table(box=None, pad_edge=False, title="Published over ours", title_justify="left")
    for column in ("macro", "cell", *DIMENSIONS, "used for"):
        table.add_column(column, no_wrap=True)
    found = {d: {r.macro.name: r for r in ratios(hardware, d)} for d in DIMENSIONS}
    for name, first in found["energy"].items():
        values = [f"{found[d][name].value:.3g}" if name in found[d] else "-" for d in DIMENSIONS]
        used = "calibration" if first.calibrated else "band" if judges(first) else "-"
        table.add_row(name, first.macro.cell, *values, used)
    out().print()
    out().print(table)
