"""`nvmc targets`: the targets that come with nvmc."""

from __future__ import annotations

from collections.abc import Iterator

import click
from rich.table import Table

from nvmc.cli.console import out, print_json
from nvmc.cli.suggest import Group
from nvmc.hardware.devices import Settings, TargetFile, read_target, target_names
from nvmc.hardware.devices.settings import stated_texts

__all__ = ["targets_command"]


@click.group("targets", cls=Group, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def targets_command(context: click.Context, as_json: bool) -> None:
    """List the targets that come with nvmc; `nvmc targets show NAME` for one.

    A file of your own works wherever a name does: `nvmc compile --target ./mine.toml`.
    """
    if context.invoked_subcommand is None:
        _list(as_json)


@targets_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def _list_command(as_json: bool) -> None:
    """List the targets that come with nvmc."""
    _list(as_json)


@targets_command.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def _show(name: str, as_json: bool) -> None:
    """Show one target: a name or a .toml file."""
    file = read_target(name)
    file.target()  # complains of settings that do not fit
    if as_json:
        print_json(_json(file))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for key, value in _facts(file):
        table.add_row(key, value)
    out().print(table)


def _list(as_json: bool) -> None:
    files = [read_target(name) for name in target_names()]
    if as_json:
        print_json({"targets": [_json(file) for file in files]})
        return
    table = Table(box=None, pad_edge=False)
    for column in ("target", "device", "what it is"):
        table.add_column(column, no_wrap=column != "what it is")
    for file in files:
        table.add_row(file.name, file.device, file.title)
    out().print(table)


def _json(file: TargetFile) -> dict[str, object]:
    return file.model_dump(mode="json", exclude_none=True)


def _facts(file: TargetFile) -> Iterator[tuple[str, str]]:
    yield "target", f"{file.name}: {file.title}" if file.title else file.name
    if file.source:
        yield "source", file.source
    yield "device", file.device
    yield from _settings(file)
    for layer in file.layers:
        own = [*([] if layer.device is None else [f"device {layer.device}"])]
        own += [f"{name} {value}" for name, value in _settings(layer)]
        yield f"layers {layer.match}", ", ".join(own) or "as all"
    for number, text in enumerate(file.left_out):
        yield "" if number else "not modelled", text


def _settings(stated: Settings) -> Iterator[tuple[str, str]]:
    for name, text in stated_texts(stated):
        yield name.replace("_", " "), text
