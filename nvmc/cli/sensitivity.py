"""`nvmc sensitivity`: which layer, slice and noise source costs how much."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from nvmc.cli.console import (
    count,
    note,
    note_range,
    out,
    percent,
    print_json,
    print_metric,
    progress,
)
from nvmc.cli.running import chosen_executor, opened, run_options, target_of
from nvmc.evaluation.parameters import Setup, parse_time
from nvmc.evaluation.sensitivity import (
    Difference,
    Sensitivity,
    population_count,
    row_of,
    sensitivity,
)
from nvmc.report.table import check_file, write_csv
from nvmc.statistics import percentile_index

__all__ = ["sensitivity_command"]

HEADINGS = {
    "layer": "layer (array)",
    "slice": "slice (0: least significant)",
    "source": "noise source",
}


@click.command("sensitivity")
@click.argument("compiled", required=False, type=click.Path(path_type=Path))
@click.option("--runs", default=100, show_default=True, help="Chips a population.")
@run_options("data", "device", "sigma", "noise", "time", "percentile", "seed", "fidelity")
@run_options("limit", "output", "batch", "jobs", "workers", "accelerator")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write a row a part.")
@run_options("json")
def sensitivity_command(
    compiled: Path | None,
    device: str | None,
    sigma: float | None,
    noise: tuple[str, ...],
    age: str | None,
    csv_file: Path | None,
    as_json: bool,
    runs: int,
    jobs: int | None,
    workers: str | None,
    accelerator: str,
    **options: Any,
) -> None:
    """Which layer, slice and noise source of a compiled network costs how much KPP.

    Each part's noise is taken out alone (everything else noisy) and left in alone (everything
    else ideal), on the same chips.
    """
    if csv_file is not None:
        check_file(csv_file)
    network = opened(compiled)
    target = target_of(network, device, noise)
    setup = Setup(target, sigma, None if age is None else parse_time(age))
    total = runs * population_count(network, setup)
    with (
        chosen_executor(jobs, workers, accelerator) as executor,
        progress("chips", total, shown=not as_json) as advance,
    ):
        result = sensitivity(
            network,
            setup,
            runs=runs,
            jobs=jobs,
            executor=executor,
            on_chip=lambda chip, value: advance(),
            **options,
        )
    note_range(target.device, [sigma])
    if csv_file is not None:
        write_csv(csv_file, map(row_of, result.costs))
    if as_json:
        print_json(result.to_json())
    else:
        _print(result, str(network.folder), newest=compiled is None)


def _print(result: Sensitivity, folder: str, newest: bool) -> None:
    console = out()
    setup, kpp = result.setup, result.kpp
    sigma = setup.target.device.sigma if setup.sigma is None else setup.sigma
    console.print(
        f"{folder}{' (the newest here)' if newest else ''}: {setup.target.device.name}"
        f"{'' if sigma is None else f', sigma {sigma:g}'}, {count(result.runs, 'chip')} on "
        f"{count(result.images, 'image')} ({result.data})"
    )
    print_metric(result.metric)
    console.print(
        f"ideal {percent(result.ideal)}, mean {percent(result.mean)}, KPP (k = {kpp.k:g}) "
        f"{percent(kpp.value)}"
    )
    for kind, heading in HEADINGS.items():
        if any(cost.part.kind == kind for cost in result.costs):
            console.print()
            console.print(_table(result, kind, heading))
    if percentile_index(result.runs, kpp.k) == 0:
        note(
            f"the KPP of {count(result.runs, 'chip')} is the worst one's; give more --runs, or a "
            "greater --percentile, for surer differences"
        )
    console.print(
        "\nKPP in %: without the part's noise and what that wins; with it alone and what that "
        "costs. ± is one standard error of the difference (paired bootstrap)."
    )


def _table(result: Sensitivity, kind: str, heading: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(heading, overflow="ellipsis", no_wrap=True, max_width=28, min_width=28)
    for column in ("without", "wins", "alone", "costs"):
        table.add_column(column, justify="right", no_wrap=True, min_width=8)
    for cost in result.costs:
        if cost.part.kind == kind:
            table.add_row(
                cost.part.name,
                f"{100 * cost.kpp_without:.2f}",
                _difference(cost.cost),
                f"{100 * cost.kpp_alone:.2f}",
                _difference(cost.cost_alone),
            )
    return table


def _difference(difference: Difference) -> str:
    return f"{100 * difference.kpp:.2f} ± {100 * difference.kpp_error:.2f}"
