"""`nvmc compare`: networks, or devices, on the same chips."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from nvmc.cli.console import (
    count,
    note,
    note_data,
    note_kept,
    note_percentile,
    note_range,
    out,
    print_json,
    progress,
)
from nvmc.cli.heading import heading
from nvmc.cli.running import chosen_executor, compared_options, opened, run_options
from nvmc.cli.stored import checked_text, opened_stores
from nvmc.evaluation.compare import RUNS, compare
from nvmc.evaluation.comparison import Comparison
from nvmc.report.figure import Sheet
from nvmc.tables import KINDS, render

__all__ = ["compare_command"]


@click.command("compare")
@click.argument("compiled", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--runs", default=RUNS, show_default=True, help="Number of chips for each.")
@compared_options
@click.option("--first", default=0, show_default=True, help="Number of the first chip.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(KINDS),
    default="text",
    show_default=True,
    help="Format of the table; formats other than text print only the table.",
)
@run_options("figure", "json")
def compare_command(
    compiled: tuple[Path, ...],
    devices: tuple[str, ...],
    noise: tuple[str, ...],
    jobs: int | None,
    workers: str | None,
    accelerator: str,
    store: Path | None,
    trust_store: bool,
    no_store: bool,
    kind: str,
    figure: Sheet | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare compiled networks, or one on several devices, on the same chips.

    Each is compared with the first, chip by chip: difference of the KPPs, of the means, and the
    share of chips on which it is better, each with an interval.
    """
    networks = [opened(path) for path in compiled]
    each = networks if len(networks) > 1 else networks * len(devices)
    with ExitStack() as stack:
        executor = stack.enter_context(chosen_executor(jobs, workers, accelerator))
        stores = opened_stores(stack, networks, store, no_store, trust_store)
        kept = [stores[str(network.folder)] for network in each] if stores else []
        advance = stack.enter_context(
            progress("chips", options["runs"] * len(each), shown=not as_json)
        )
        result = compare(
            *networks,
            devices=devices,
            noise=noise,
            jobs=jobs,
            executor=executor,
            stores=kept,
            on_chip=lambda chip, value: advance(),
            **options,
        )
    _notes(result, device=devices[0] if devices else None, sigma=options["sigma"], noise=noise)
    if figure is not None:
        result.figure(figure)
    if as_json:
        print_json(result.to_json())
    elif kind == "text":
        _print(result)
    else:
        click.echo(result.table(kind), nl=False)
    for one in stores.values():
        one.check()


def _notes(result: Comparison, **given: Any) -> None:
    """What the user should know beside the result."""
    for one in result.networks:
        setup = one.description.setup
        note_kept(setup.target, **given)
        note_range(setup.target.device, [setup.sigma])
    note_percentile(result.networks[0].kpp.k)
    note_data(result.shared)
    for one in result.networks[1:]:
        if one.against is not None and not one.against.layers:
            note(
                f"{one.label!r} has no array of the name and shape of one of "
                f"{result.networks[0].label!r}: their chips have numbers in common, but no cells"
            )


def _print(result: Comparison) -> None:
    console = out()
    for line in heading(result.shared, "; ".join(one.label for one in result.networks)):
        console.print(line)
    for label, words in result.own_words.items():
        if words:
            console.print(f"{label}: {', '.join(words)}")
    console.print()
    table = render(replace(result.shown(), caption=""))  # the heading says what it is of
    console.print(table, end="", soft_wrap=True, highlight=False, markup=False)
    for line in _said(result):
        console.print(line)


def _said(result: Comparison) -> list[str]:
    """What the table's figures are, and which chips others had found, in sentences."""
    said = list(result.notes)
    for one in result.networks:
        if one.elsewhere.chips:
            others = count(one.elsewhere.chips, "chip")
            said.append(f"{one.label} from elsewhere: {others}, {checked_text(one.elsewhere)}.")
    return said
