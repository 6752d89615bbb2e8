"""`nvmc devices`: the device library."""

from __future__ import annotations

from typing import Any, cast

import click
from rich.table import Table

from nvmc.cli.console import out, print_json
from nvmc.devices import Device, device_names, load_device

__all__ = ["devices_command"]


@click.group("devices", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def devices_command(context: click.Context, as_json: bool) -> None:
    """List the devices that come with nvmc; `nvmc devices show NAME` for one.

    A file of your own works wherever a name does: `--device ./mine.toml`.
    """
    if context.invoked_subcommand is not None:
        return
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
    if as_json:
        print_json(device.model_dump(mode="json"))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for key, value in _facts(device):
        table.add_row(key, value)
    out().print(table)


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
        facts.append(("conductance", f"{g.min_us:g} to {g.max_us:g} uS{ratio}"))
    if device.time_s is not None:
        facts.append(("time", f"{_seconds(device.time_s)} since programming, unless given"))
    if device.time_limit_s is not None:
        facts.append(("latest time", _seconds(device.time_limit_s)))
    facts += [
        ("clip", {True: "0 to the top level", False: "no"}.get(device.clip, "at zero conductance")),
        ("weight bits", str(defaults.weight_bits)),
        ("cell bits", "-" if defaults.cell_bits is None else str(defaults.cell_bits)),
        ("encoding", defaults.encoding),
    ]
    for source in device.noise:
        options = source.model_dump(exclude={"type"}, exclude_none=True)
        text = " ".join(f"{key}={_plain(value)}" for key, value in options.items())
        facts.append(("noise", f"{source.type} {text}"))
    return facts


_ASKED = {"sigma": "--sigma", "bitflip": "--noise bitflip:p="}


def _seconds(value: float) -> str:
    days = value / 86400
    return f"{value:g} s ({days:g} days)" if days >= 1 else f"{value:g} s"


def _plain(value: Any) -> str:
    """A value of a device file on one line; lists as `--noise` takes them."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        parts = cast(tuple[Any, ...], value)
        return (" | " if any(isinstance(v, dict) for v in parts) else ";").join(map(_plain, parts))
    if isinstance(value, dict):
        fields = cast(dict[str, Any], value)
        return "(" + " ".join(f"{k}={_plain(v)}" for k, v in fields.items() if v is not None) + ")"
    return str(value)
