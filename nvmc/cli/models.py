"""`nvmc models`: the networks of the papers, and files of them."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from nvmc.cli.console import out, print_json
from nvmc.cli.suggest import Group
from nvmc.errors import OptionError
from nvmc.models import NETWORKS, PREFIX, ZOO, Network
from nvmc.models.library import export_model, is_trained, pretrained_of

__all__ = ["models_command"]


@click.group("models", cls=Group, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def models_command(context: click.Context, as_json: bool) -> None:
    """List the networks of the papers; `nvmc models export NAME` writes one.

    Trained ones also go by `zoo:NAME` wherever a model file does: `nvmc compile zoo:lenet5-mnist`.
    """
    if context.invoked_subcommand is None:
        _list_all(as_json)


@models_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def _list(as_json: bool) -> None:
    """List the networks of the papers."""
    _list_all(as_json)


@models_command.command("export")
@click.argument("name")
@click.option("-o", "--output", required=True, type=Path, help="ONNX file to write.")
@click.option("--pretrained", is_flag=True, help="With trained weights, if nvmc has them.")
@click.option("--seed", type=click.IntRange(0), help="Seed of the random weights.  [default: 0]")
@click.option("--shape", metavar="CxRxC", help="Another shape of one input, as in 3x64x64.")
def _export(name: str, output: Path, pretrained: bool, seed: int | None, shape: str | None) -> None:
    """Write a network as ONNX: with random weights, or trained ones."""
    sizes = None if shape is None else _sizes(shape)
    path = export_model(name, output, pretrained=pretrained, seed=seed, shape=sizes)
    console = out()
    if pretrained or is_trained(name):
        shipped = name.removeprefix(PREFIX)
        trained = shipped if shipped in ZOO else pretrained_of(name)
        console.print(f"{trained}: {ZOO[trained].stated}", soft_wrap=True)
    else:
        console.print(f"{name}: random weights, seed {seed or 0}; not trained", soft_wrap=True)
    console.print(f"Wrote {path}", soft_wrap=True)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split("x"))
    except ValueError as error:
        raise OptionError(f"--shape {text!r} is no shape; expected one such as 3x64x64") from error


def _list_all(as_json: bool) -> None:
    if as_json:
        print_json({"models": [_as_json(network) for network in NETWORKS.values()]})
        return
    console = out()
    console.print(_network_table())
    console.print("multiply-adds: of the weights, for one input")
    console.print("`nvmc models export NAME -o FILE.onnx` writes one with random weights.")
    console.print()
    console.print(_trained_table())
    console.print("A trained name stands for a file: `nvmc compile zoo:lenet5-digits`.")


def _network_table() -> Table:
    """Every network: a name that `nvmc models export` takes, and its size."""
    table = Table(box=None, pad_edge=False)
    for column in ("network", "parameters", "multiply-adds", "input", "paper"):
        right = "right" if column in ("parameters", "multiply-adds") else "left"
        table.add_column(column, justify=right, no_wrap=column != "paper")
    for network in NETWORKS.values():
        table.add_row(
            network.name,
            _short(network.parameters),
            _short(network.multiply_adds),
            "x".join(map(str, network.shape)),
            "; ".join(f"{paper} {place}" for paper, place in network.papers),
        )
    return table


def _trained_table() -> Table:
    """Every trained file, by the name to type, and how good it is."""
    table = Table(box=None, pad_edge=False)
    table.add_column("trained", no_wrap=True)
    table.add_column("how good it is")
    for network in NETWORKS.values():
        for name in network.pretrained:
            table.add_row(f"{PREFIX}{name}", ZOO[name].stated)
    return table


def _short(number: int) -> str:
    """Three digits with k, M or G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def _as_json(network: Network) -> dict[str, object]:
    return {
        "name": network.name,
        "title": network.title,
        "input": list(network.shape),
        "outputs": list(network.outputs),
        "data": network.data,
        "parameters": network.parameters,
        "multiply_adds": network.multiply_adds,
        "papers": [{"paper": paper, "place": place} for paper, place in network.papers],
        "pretrained": {name: ZOO[name].as_json() for name in network.pretrained},
    }
