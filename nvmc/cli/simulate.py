"""`nvmc simulate`: the k-th percentile performance of a population of chips."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from nvmc.artifact import find_compiled, open_compiled
from nvmc.cli.console import (
    METRICS,
    count,
    note_range,
    ordinal,
    out,
    passes_text,
    percent,
    print_json,
    progress,
)
from nvmc.cli.stored import opened_store
from nvmc.devices import load_device, parse_noise
from nvmc.parameters import duration_text, parse_values
from nvmc.report.figure import check_picture
from nvmc.report.histogram import Population, draw_histogram
from nvmc.result import Fidelity, Simulation
from nvmc.simulation import simulate

__all__ = ["simulate_command"]


@click.command("simulate")
@click.argument("compiled", required=False, type=click.Path(path_type=Path))
@click.option("--runs", default=300, show_default=True, help="Number of chips.")
@click.option(
    "--data",
    metavar="SPEC",
    help="digits, FILE.npz (x, y), mnist:DIR or cifar10:DIR. Without data, chips are compared "
    "with the ideal chip on seeded inputs.",
)
@click.option("--device", metavar="NAME|FILE", help="Another device than compiled for.")
@click.option("--sigma", type=float, help="Strength of the device's noise.")
@click.option(
    "--noise",
    multiple=True,
    metavar="TYPE:K=V,…",
    help="One more noise source, such as stuck-at:p_low=0.01. May be repeated.",
)
@click.option("--percentile", default=1.0, show_default=True, help="k of the KPP.")
@click.option("--seed", default=0, show_default=True, help="Population of chips.")
@click.option("--jobs", type=int, help="Chips in parallel.  [default: the cores at hand]")
@click.option("--limit", type=int, metavar="N", help="Use the first N images only.")
@click.option("--output", metavar="NAME", help="The output to score.  [default: the first]")
@click.option(
    "--fidelity",
    type=click.Choice(["cells", "circuit"]),
    help="circuit puts DAC, tiles, ADC and read noise in the loop.  "
    "[default: what the target needs]",
)
@click.option(
    "--time",
    metavar="T,…",
    help="Times since programming, such as 1h,1d,30d: the same chips at each.",
)
@click.option("--png", type=click.Path(path_type=Path), help="Write a histogram of the chips.")
@click.option(
    "--batch", type=int, metavar="N", help="Images a run; bounds the memory.  [default: chosen]"
)
@click.option(
    "--mc-passes",
    type=int,
    metavar="T",
    help="Average T passes of a network that drops at inference.  [default: 1]",
)
@click.option(
    "--first", default=0, show_default=True, help="Number of the first chip, for array jobs."
)
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where results are kept.  [default: results.sqlite in the compiled network]",
)
@click.option("--no-store", is_flag=True, help="Keep no results, and look at none.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def simulate_command(
    compiled: Path | None,
    runs: int,
    data: str | None,
    device: str | None,
    sigma: float | None,
    noise: tuple[str, ...],
    percentile: float,
    seed: int,
    jobs: int | None,
    limit: int | None,
    output: str | None,
    fidelity: Fidelity | None,
    time: str | None,
    batch: int | None,
    mc_passes: int | None,
    png: Path | None,
    first: int,
    store: Path | None,
    no_store: bool,
    as_json: bool,
) -> None:
    """Simulate chips of a compiled network; the newest *.nvmc here by default."""
    if png is not None:
        check_picture(png)
    network = find_compiled() if compiled is None else open_compiled(compiled)
    chosen = load_device(device) if device is not None else None
    ages = [] if time is None else parse_values("time", time)
    times = [float(age.number or 0) for age in ages]
    with (
        opened_store(store or network.results_path) as kept,
        progress("chips", runs * max(1, len(times)), shown=not as_json) as advance,
    ):
        result = simulate(
            network,
            runs=runs,
            first=first,
            data=data,
            device=chosen,
            noise=[parse_noise(text) for text in noise],
            sigma=sigma,
            percentile=percentile,
            seed=seed,
            jobs=jobs,
            limit=limit,
            output=output,
            fidelity=fidelity,
            times_s=times,
            batch=batch,
            mc_passes=mc_passes,
            store=None if no_store else kept,
            on_chip=lambda chip, value: advance(),
        )
    note_range(result.target.device, [result.sigma])
    if png is not None:
        _draw(png, result, network.folder.name)
    if as_json:
        print_json(result.to_json())
    else:
        _print(result, str(network.folder), newest=compiled is None)
    kept.check()


def _draw(path: Path, result: Simulation, name: str) -> None:
    sigma = "" if result.sigma is None else f", sigma {result.sigma:g}"
    draw_histogram(
        path,
        f"{name} · {result.target.device.name}{sigma} · {count(len(result.values), 'chip')} on "
        f"{count(result.images, 'image')} ({result.data})",
        result.metric,
        result.ideal,
        None if result.metric == "r2" else result.images,
        [
            Population(
                "" if at.time_s is None else duration_text(at.time_s),
                at.values,
                at.kpp,
                at.summary,
            )
            for at in result.times
        ],
    )


def _print(result: Simulation, folder: str, newest: bool) -> None:
    console = out()
    sigma = "" if result.sigma is None else f", sigma {result.sigma:g}"
    console.print(
        f"{folder}{' (the newest here)' if newest else ''}: {result.target.device.name}{sigma}, "
        f"{count(len(result.values), 'chip')} on {count(result.images, 'image')} "
        f"({result.data}), fidelity {result.fidelity}"
        f"{'' if result.mc_passes is None else ', ' + passes_text(result.mc_passes)}"
    )
    if result.metric != "accuracy":
        console.print(
            f"No labels: values are {METRICS[result.metric]}, not accuracy.", style="yellow"
        )
    table = Table(box=None, show_header=False, pad_edge=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for row in _rows(result):
        table.add_row(*row)
    if len(result.times) > 1:
        console.print(_times(result))
    console.print(table)


def _times(result: Simulation) -> Table:
    """One row a time since programming."""
    table = Table(box=None, pad_edge=True)
    for heading in ("time", "mean", "worst", "KPP", "its interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for at in result.times:
        kpp, summary = at.kpp, at.summary
        table.add_row(
            "" if at.time_s is None else duration_text(at.time_s),
            percent(summary.mean),
            percent(summary.min),
            percent(kpp.value),
            f"{percent(kpp.low)} to {percent(kpp.high)}",
        )
    return table


def _rows(result: Simulation) -> list[tuple[str, str, str]]:
    kpp, summary = result.kpp, result.summary
    spread = "" if summary.std is None else f"± {100 * summary.std:.2f} over chips"
    interval = f"{percent(kpp.low)} to {percent(kpp.high)}"
    closed = kpp.low is not None and kpp.high is not None
    ideal = (f"ideal chip {result.metric}", percent(result.ideal), "")
    if len(result.times) > 1:
        return [ideal, *_effort(result)]
    return [
        ideal,
        ("mean", percent(summary.mean), spread),
        ("worst chip", percent(summary.min), ""),
        (f"{ordinal(kpp.k)} percentile (KPP)", percent(kpp.value), ""),
        (
            f"its {kpp.confidence:.0%} interval",
            interval,
            "" if closed else f"{kpp.runs_needed} runs close it",
        ),
        *_effort(result),
    ]


def _effort(result: Simulation) -> list[tuple[str, str, str]]:
    """The time that it took, and what did not have to be done again."""
    run = len(result.values) * len(result.times) - result.recorded
    pace = f"{result.seconds / run:.2g} s a chip, {result.executor}" if run else ""
    rows = [("time", f"{result.seconds:.1f} s", pace)]
    if result.recorded:
        rows.append(("from the store", count(result.recorded, "chip"), "not run again"))
    return rows
