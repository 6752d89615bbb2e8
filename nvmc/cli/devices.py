"""`nvmc devices`: the device library."""

from __future__ import annotations

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
    for column in ("device", "levels", "sigma", "noise", "what it is"):
        table.add_column(column, no_wrap=column != "what it is")
    for d in devices:
        levels = "any" if d.levels == "continuous" else str(d.levels)
        sigma = "-" if d.sigma is None else f"{d.sigma:g}"
        table.add_row(d.name, levels, sigma, ", ".join(s.type for s in d.noise) or "none", d.title)
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
        ("clip", "yes" if device.clip else "no"),
        ("weight bits", str(defaults.weight_bits)),
        ("cell bits", "-" if defaults.cell_bits is None else str(defaults.cell_bits)),
        ("encoding", defaults.encoding),
    ]
    if device.sigma_range is not None:
        low, high = device.sigma_range
        facts.insert(4, ("sigma range", f"{low:g} to {high:g}"))
    for source in device.noise:
        options = source.model_dump(exclude={"type"}, exclude_none=True)
        facts.append(
            ("noise", f"{source.type} " + " ".join(f"{k}={_plain(v)}" for k, v in options.items()))
        )
    return facts


def _plain(value: object) -> str:
    return ";".join(f"{v:g}" for v in value) if isinstance(value, tuple) else str(value)  # pyright: ignore
