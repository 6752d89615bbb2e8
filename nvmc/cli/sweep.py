"""`nvmc sweep`: curves over one or two parameters, the same chips at every point."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.table import Table

from nvmc.cli.codes import note_other_bits
from nvmc.cli.console import (
    count,
    limits_text,
    note_data,
    note_kept,
    note_percentile,
    note_range,
    out,
    print_json,
    print_metric,
    progress,
    worst_text,
)
from nvmc.cli.goals import goal_option, yield_text
from nvmc.cli.heading import heading, needs_text
from nvmc.cli.running import chosen_executor, opened, run_options
from nvmc.cli.stored import checked_text, opened_store
from nvmc.compiled.artifact import Compiled
from nvmc.data.items import in_items
from nvmc.evaluation.description import as_cells
from nvmc.evaluation.parameters import PARAMETERS, Value, parse_values
from nvmc.evaluation.sweep import Point, Sweep, point_count, sweep
from nvmc.evaluation.tabulated import place_of, point_rows
from nvmc.hardware.devices import Device
from nvmc.metrics import find_metric
from nvmc.metrics.values import bare_text, bound_text, ends_text, in_percent, short_of
from nvmc.report.figure import Sheet
from nvmc.report.table import check_file, write_csv

__all__ = ["sweep_command"]

F = TypeVar("F", bound=Callable[..., Any])


def _parameter_options(command: F) -> F:
    for name, parameter in reversed(PARAMETERS.items()):
        command = click.option(f"--{name}", metavar="VALUES", help=parameter.help)(command)
    return command


@click.command("sweep")
@click.argument("compiled", required=False, type=click.Path(path_type=Path))
@_parameter_options
@click.option("--runs", default=300, show_default=True, help="Number of chips per point.")
@run_options("data", "device", "noise", "compensate", "calibration-data")
@run_options("percentile", "seed", "fidelity", "limit", "output")
@run_options("class-axis", "batch-axis", "metric")
@goal_option
@run_options("batch", "mc-passes", "jobs", "workers", "accelerator", "store")
@run_options("trust-store", "no-store")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write a row per point.")
@click.option("--chips-csv", type=click.Path(path_type=Path), help="Write a row per chip.")
@run_options("max-memory", "figure", "json")
def sweep_command(
    compiled: Path | None,
    device: str | None,
    noise: tuple[str, ...],
    csv_file: Path | None,
    chips_csv: Path | None,
    figure: Sheet | None,
    as_json: bool,
    runs: int,
    jobs: int | None,
    workers: str | None,
    accelerator: str,
    store: Path | None,
    trust_store: bool,
    no_store: bool,
    **options: Any,
) -> None:
    """Curves of a compiled network over parameters, with the same chips at every point.

    VALUES is one value, a list (0.1,0.2) or a range FIRST:LAST:STEP (0:0.4:0.05). One or two
    parameters may have several values; a parameter with a single value has it at all points.
    """
    given = {name: options.pop(name.replace("-", "_")) for name in PARAMETERS}
    values = {n: parse_values(n, text) for n, text in given.items() if text is not None}
    for file in filter(None, (csv_file, chips_csv)):
        check_file(file)
    network = opened(compiled)
    with (
        chosen_executor(jobs, workers, accelerator) as executor,
        opened_store(network, store, no_store, trust_store) as kept,
        progress("chips", runs * point_count(values), shown=not as_json) as advance,
    ):
        result = sweep(
            network,
            values,
            runs=runs,
            device=device,
            noise=noise,
            jobs=jobs,
            executor=executor,
            store=kept,
            on_chip=lambda chip, value: advance(),
            **options,
        )
    _notes(result, values, device, noise)
    note_percentile(result.points[0].kpp.k)
    note_data(result.shared)
    _note_bits(network, values)
    if csv_file is not None:
        write_csv(csv_file, _point_rows(result))
    if chips_csv is not None:
        write_csv(chips_csv, _chip_rows(result))
    if figure is not None:
        result.figure(figure)
    if as_json:
        print_json(result.to_json())
    else:
        _print(result, str(network.folder), newest=compiled is None)
    if kept is not None:
        kept.check()


def _note_bits(network: Compiled, values: Mapping[str, list[Value]]) -> None:
    """Say where ranges were found for other bits of a converter than those that are tried."""
    for converter in ("adc", "dac"):
        bits = [value.number for value in values.get(f"{converter}-bits", ())]
        note_other_bits(network.manifest.target.periphery, converter, bits)


def _notes(
    result: Sweep, values: Mapping[str, list[Value]], device: str | None, noise: tuple[str, ...]
) -> None:
    """What the user should know of the options beside the result."""
    swept: dict[str, Any] = {name.replace("-", "_"): found for name, found in values.items()}
    swept.pop("time", None)  # the age of all cells
    note_kept(result.points[0].description.setup.target, device=device, noise=noise, **swept)
    note_range(_device(result), [value.number for value in values.get("sigma", ())])


def _print(result: Sweep, folder: str, newest: bool) -> None:
    console = out()
    for line in heading(result.shared, f"{folder}{' (the newest here)' if newest else ''}"):
        console.print(line)
    print_metric(result.metric, random=result.points[0].description.data_sha256 is None)
    kpp, data = result.points[0].kpp, result.points[0].description.data
    table = Table(box=None, pad_edge=True, padding=(0, 1, 0, 0))
    own = [f"its {kpp.confidence:.0%} interval"] if kpp.covers == "chips and images" else []
    metric = result.metric
    found = find_metric(metric)
    known = [f"its {found.quantity}"] if found is not None and found.quantity else []
    reached = result.points[0].reached
    goal = [] if reached is None else [f"reach {bound_text(metric, reached.goal)}"]
    titles = (
        "ideal",
        "mean",
        "std",
        "worst",
        f"KPP {kpp.k:g}",
        *known,
        *own,
        in_items("on these images", data),
        *goal,
    )
    for title in (*result.axes, *titles):
        table.add_column(title, justify="right", no_wrap=True)
    for i, curve in enumerate(result.curves()):
        if i:
            table.add_row()
        for point in curve:
            table.add_row(*_cells(point, result.axes, metric))
    console.print(table)
    console.print(f"Values are {short_of(metric)}{' in %' * in_percent(metric)}.")
    said = "The interval is for all chips and images like these, the other for these."
    if not own:
        said = "The interval is for all chips on these images; it covers no others."
    console.print(in_items(said, data))
    missing = next(filter(None, (limits_text(p.kpp.interval) for p in result.points)), "")
    if missing:
        console.print(f"{missing.capitalize()}.")
    if kpp.is_worst:
        console.print(f"The KPP of {count(kpp.runs, 'run')} is {worst_text(kpp)}.")
    for one in result.points[0].compensation:
        console.print(f"{one.by.type} needs {needs_text(one)}.")
    if result.elsewhere.chips:
        others = count(result.elsewhere.chips, "chip")
        console.print(f"From elsewhere: {others}, {checked_text(result.elsewhere)}.")


def _device(result: Sweep) -> Device:
    return result.points[0].description.setup.target.device


def _cells(point: Point, axes: tuple[str, ...], metric: str) -> list[str]:
    kpp, summary, known = point.kpp, point.summary, find_metric(metric)
    values = (point.ideal, summary.mean, summary.std, summary.worst, kpp.value)
    quantity = known is not None and known.quantity
    both = [ends_text(metric, kpp.interval)] if kpp.covers == "chips and images" else []
    return [
        *(point.at[name].text for name in axes),
        *("-" if value is None else bare_text(metric, value) for value in values),
        *([f"{known.quantity_of(kpp.value):.4g}"] if known is not None and quantity else []),
        *both,
        ends_text(metric, kpp.chips_alone),
        *([] if point.reached is None else [yield_text(point.reached)]),
    ]


def _point_rows(result: Sweep) -> Iterator[dict[str, str | int | float | None]]:
    for point, row in zip(result.points, point_rows(result), strict=True):
        yield {
            **row,
            **{f"elsewhere_{key}": number for key, number in point.elsewhere.to_json().items()},
            **_facts(point),
        }


def _chip_rows(result: Sweep) -> Iterator[dict[str, str | int | float | None]]:
    for point in result.points:
        for chip, value in enumerate(point.values.tolist()):
            yield {**place_of(point), "chip": chip, result.metric: value, **_facts(point)}


def _facts(point: Point) -> dict[str, str | int | float | None]:
    """What a point is of, but for the columns that `place_of` has."""
    facts, placed = as_cells(point.description.to_json()), place_of(point)
    return {key: value for key, value in facts.items() if key not in placed}
