"""`nvmc sensitivity`: which layer, slice and noise source costs how much."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from nvmc.cli.console import (
    count,
    note,
    note_data,
    note_kept,
    note_percentile,
    note_range,
    ordinal,
    out,
    print_json,
    print_metric,
    progress,
    quantity_text,
    worst_text,
)
from nvmc.cli.heading import heading
from nvmc.cli.running import chosen_executor, opened, run_options
from nvmc.evaluation.description import as_cells
from nvmc.evaluation.parameters import Setup
from nvmc.evaluation.sensitivity import (
    FEWEST_BELOW,
    Sensitivity,
    population_count,
    row_of,
    sensitivity,
)
from nvmc.evaluation.sensitivity_words import (
    COLUMNS,
    KINDS_OF_PARTS,
    PERCENTILE,
    part_cells,
    sensitivity_notes,
)
from nvmc.metrics import find_metric
from nvmc.metrics.values import value_text
from nvmc.report.figure import Sheet
from nvmc.report.table import check_file, write_csv
from nvmc.statistics import percentile_index

__all__ = ["sensitivity_command"]


@click.command("sensitivity")
@click.argument("compiled", required=False, type=click.Path(path_type=Path))
@click.option("--runs", default=100, show_default=True, help="Number of chips per population.")
@run_options("data", "device", "sigma", "noise", "time", "temperature")
@click.option(
    "--percentile",
    default=PERCENTILE,
    show_default=True,
    help="Share of the worst chips left out, in %; 5: 95 of 100 chips reach the KPP. With 100 "
    "chips, the standard errors are too small for 1, the default of other commands.",
)
@run_options("seed", "fidelity", "limit", "output", "class-axis", "batch-axis", "metric", "batch")
@run_options("jobs", "workers", "accelerator")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write one row per part.")
@run_options("max-memory", "figure", "json")
def sensitivity_command(
    compiled: Path | None,
    device: str | None,
    sigma: float | None,
    noise: tuple[str, ...],
    time_s: float | None,
    temperature_c: float | None,
    csv_file: Path | None,
    figure: Sheet | None,
    as_json: bool,
    runs: int,
    jobs: int | None,
    workers: str | None,
    accelerator: str,
    **options: Any,
) -> None:
    """Measure how much KPP each layer, slice and noise source of a compiled network costs.

    The noise of each part is switched off alone (everything else noisy) and switched on alone
    (everything else ideal), on the same chips.
    """
    if csv_file is not None:
        check_file(csv_file)
    network = opened(compiled)
    cells = network.manifest.target
    setup = Setup.of(cells, device, noise, sigma, time_s, temperature_c=temperature_c)
    total = runs * population_count(network, setup)
    with (
        chosen_executor(jobs, workers, accelerator) as executor,
        progress("chips", total, shown=not as_json) as advance,
    ):
        result = sensitivity(
            network,
            runs=runs,
            device=device,
            noise=noise,
            sigma=sigma,
            time_s=time_s,
            temperature_c=temperature_c,
            jobs=jobs,
            executor=executor,
            on_chip=lambda chip, value: advance(),
            **options,
        )
    note_kept(setup.target, device=device, sigma=sigma, noise=noise)
    note_range(setup.target.device, [sigma])
    note_percentile(result.kpp.k)
    note_data(result.description.to_json())
    if csv_file is not None:
        facts = as_cells(result.description.to_json())
        write_csv(csv_file, ({**row_of(cost), **facts} for cost in result.costs))
    if figure is not None:
        result.figure(figure)
    if as_json:
        print_json(result.to_json())
    else:
        _print(result, str(network.folder), newest=compiled is None)


def _print(result: Sensitivity, folder: str, newest: bool) -> None:
    console = out()
    kpp, facts = result.kpp, result.description.to_json()
    for line in heading(facts, f"{folder}{' (the newest here)' if newest else ''}"):
        console.print(line)
    print_metric(result.description.metric, random=result.description.data_sha256 is None)
    metric = result.description.metric
    told = {"ideal": result.ideal, "mean": result.mean, f"KPP (k = {kpp.k:g})": kpp.value}
    texts = [f"{name} {value_text(metric, value)}" for name, value in told.items()]
    console.print(", ".join(texts))
    known = find_metric(metric)
    if known is not None and known.quantity:
        ideal, kpp_text = quantity_text(metric, result.ideal), quantity_text(metric, kpp.value)
        console.print(f"ideal {ideal}, KPP {kpp_text}")
    for kind, title in KINDS_OF_PARTS.items():
        if any(cost.part.kind == kind for cost in result.costs):
            console.print()
            console.print(_table(result, kind, title))
    below = percentile_index(kpp.runs, kpp.k)
    if below < FEWEST_BELOW:
        low = worst_text(kpp) or f"that of the {ordinal(below + 1)} lowest chip"
        note(
            f"the KPP of {count(kpp.runs, 'run')} is {low}, so ± may be far too small; give more "
            f"--runs, or a greater --percentile: {FEWEST_BELOW} chips or more below the KPP"
        )
    console.print(f"\n{sensitivity_notes(result)}")


def _table(result: Sensitivity, kind: str, title: str) -> Table:
    table, metric = Table(box=None, pad_edge=False), result.description.metric
    table.add_column(title, overflow="ellipsis", no_wrap=True, max_width=28, min_width=28)
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True, min_width=8)
    for cost in result.costs:
        if cost.part.kind == kind:
            table.add_row(cost.part.name, *part_cells(metric, cost))
    return table
