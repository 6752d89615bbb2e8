"""`nvmc devices`: the device library."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import click
from rich.table import Table

from nvmc.cli.console import note, note_scale, out, print_json
from nvmc.cli.figures import figures
from nvmc.cli.suggest import Group
from nvmc.compiled.artifact import replacing_file
from nvmc.errors import OptionError
from nvmc.hardware.devices import Device, device_names, load_device
from nvmc.report.figure import Sheet

__all__ = ["devices_command"]

LAWS = ("auto", "levels", "polynomial")


@click.group("devices", cls=Group, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def devices_command(context: click.Context, as_json: bool) -> None:
    """List the devices that come with nvmc; `nvmc devices show NAME` for one.

    A file of your own works wherever a name does: `--device ./mine.toml`.
    """
    if context.invoked_subcommand is None:
        _list_all(as_json)


@devices_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def _list(context: click.Context, as_json: bool) -> None:
    """List the devices that come with nvmc."""
    _list_all(as_json or bool(context.parent and context.parent.params["as_json"]))


def _list_all(as_json: bool) -> None:
    devices = [load_device(name) for name in device_names()]
    if as_json:
        print_json({"devices": [d.model_dump(mode="json") for d in devices]})
        return
    table = Table(box=None, pad_edge=False)
    for column in ("device", "levels", "sigma", "what it is"):
        table.add_column(column, no_wrap=column != "what it is")
    for d in devices:
        levels = "any" if d.levels == "continuous" else str(d.levels)
        given = "give it" if "sigma" in d.required else "-"
        table.add_row(d.name, levels, given if d.sigma is None else f"{d.sigma:g}", d.title)
    out().print(table)


@devices_command.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def _show(name: str, as_json: bool) -> None:
    """Show one device: a library name or a .toml file."""
    device = load_device(name)
    note_scale(device)
    if as_json:
        print_json(device.model_dump(mode="json"))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for key, value in _facts(device):
        table.add_row(key, value)
    out().print(table)


@devices_command.command("fit")
@click.argument("measured", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="The device file."
)
@click.option("--name", help="Name of the device.  [default: the output's, without .toml]")
@click.option("--title", help="What it is, in one line.")
@click.option(
    "--law",
    type=click.Choice(LAWS),
    default="auto",
    show_default=True,
    help="Spread: a factor per level, or a polynomial in the conductance, of degree 0 to 4.",
)
@figures("Draw the fit.  [default: the output's name with .png, if matplotlib is there]")
@click.option("--no-figure", is_flag=True, help="Draw nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def _fit(
    measured: Path,
    output: Path,
    name: str | None,
    title: str | None,
    law: Any,
    figure: Sheet | None,
    no_figure: bool,
    as_json: bool,
) -> None:
    """Make a device file from measured conductances.

    MEASURED is a CSV file with a header and a reading a line: measured_us, and level or target_us
    (or _s, _ms, _ns: siemens); also time_s, and cell where one cell is read at several times.
    """
    from nvmc.cli.fit_report import fit_json, print_fit
    from nvmc.hardware.devices.reading import parse_device
    from nvmc.hardware.fit.device_file import device_text
    from nvmc.hardware.fit.fitting import fit_device
    from nvmc.hardware.fit.measurements import read_measurements

    if output.suffix != ".toml":
        raise OptionError(f"output is {str(output)!r}; expected the name of a .toml file")
    drawn = None if no_figure else _figure_of(output, figure)
    fit = fit_device(read_measurements(measured), law)
    text = device_text(fit, name or output.stem, title)
    parse_device(text.encode(), str(output))
    if drawn is not None:
        from nvmc.report.fit_picture import draw_fit

        readings = f"{len(fit.standard):,} readings of {measured.name}"
        draw_fit(fit, drawn, f"{name or output.stem}: {readings}")
    with replacing_file(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    if as_json:
        print_json(fit_json(fit, output, None if drawn is None else drawn.path))
        return
    print_fit(fit, out())
    out().print(f"Wrote {output}" + ("" if drawn is None else f" and {drawn.path}"), soft_wrap=True)


def _figure_of(output: Path, asked: Sheet | None) -> Sheet | None:
    """Where to draw; None, with a note, where nobody asked and nothing can be drawn."""
    from nvmc.report.figure import as_sheet, check_figure

    sheet = asked or as_sheet(output.with_suffix(".png"))
    try:
        check_figure(sheet.path)
    except OptionError:
        if asked is not None:
            raise
        note("no figure: matplotlib is not installed (`pip install 'nvmc[report]'`)")
        return None
    return sheet


def _facts(device: Device) -> list[tuple[str, str]]:
    defaults = device.defaults
    facts = [
        ("device", f"{device.name}: {device.title}"),
        ("source", device.source),
        ("levels", str(device.levels)),
        ("sigma", "-" if device.sigma is None else f"{device.sigma:g}"),
    ]
    if device.sigma_range is not None:
        facts.append(("sigma range", "{:g} to {:g}".format(*device.sigma_range)))
    if device.required:
        facts.append(("to be given", ", ".join(_ASKED[need] for need in device.required)))
    if (g := device.conductance) is not None:
        ratio = f", on/off {g.max_us / g.min_us:.3g}" if g.min_us else ""
        facts.append(("conductance", f"{g.min_us:g} to {g.max_us:g} µS{ratio}"))
        if g.levels_us is not None:
            facts.append(("of each level", f"{_plain(g.levels_us)} µS"))
    if device.iv is not None:
        told = _options(device.iv.model_dump(exclude={"law"}, exclude_none=True))
        facts.append(("current", f"{device.iv.law} {told}, with --read-v"))
    if device.time_s is not None:
        facts.append(("time", f"{_seconds(device.time_s)} since programming, unless given"))
    if device.time_limit_s is not None:
        facts.append(("latest time", _seconds(device.time_limit_s)))
    facts += [
        ("clip", _CLIPS[device.clip]),
        ("weight bits", str(defaults.weight_bits or "to be given: --weight-bits")),
        ("cell bits", "-" if defaults.cell_bits is None else str(defaults.cell_bits)),
        ("encoding", defaults.encoding),
    ]
    for source in device.noise:
        options = source.model_dump(exclude={"type"}, exclude_none=True)
        rows = options.pop("table", ())
        facts.append(("noise", f"{source.type} {_options(options)}"))
        facts += [("", f"at {_seconds(row.pop('time_s'))}: {_options(row)}") for row in rows]
    return facts


def _options(options: dict[str, Any]) -> str:
    return " ".join(f"{key}={_plain(value)}" for key, value in options.items())


_CLIPS: dict[bool | str, str] = {
    True: "0 to the top level",
    False: "no",
    "zero": "at zero conductance",
}
_ASKED = {"sigma": "--sigma", "bitflip": "--noise bitflip:p="}


def _seconds(value: float) -> str:
    days = value / 86400
    if days < 1:
        return f"{value:g} s"
    return f"{value:g} s ({days:g} day{'' if days == 1 else 's'})"


def _plain(value: Any) -> str:
    """A value of a device file on one line; lists as `--noise` takes them."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return ";".join(map(_plain, cast(tuple[Any, ...], value)))
    if isinstance(value, dict):
        return f"({_options(cast(dict[str, Any], value))})"
    return str(value)
