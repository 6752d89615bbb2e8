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
from nvmc.cli.values import bare_text, bound_text, ends_text, in_percent, short_of
from nvmc.compiled.artifact import Compiled
from nvmc.evaluation.description import as_cells
from nvmc.evaluation.parameters import PARAMETERS, Value, label_of, parse_values
from nvmc.evaluation.sweep import Point, Sweep, point_count, sweep
from nvmc.hardware.devices import Device
from nvmc.metrics import find_metric
from nvmc.report.curves import Axis, Curve, draw_curves
from nvmc.report.table import check_file, write_csv

__all__ = ["sweep_command"]

MAX_TICKS = 12
"""Values along an axis up to which each is written there."""

F = TypeVar("F", bound=Callable[..., Any])


def _parameter_options(command: F) -> F:
    for name, parameter in reversed(PARAMETERS.items()):
        command = click.option(f"--{name}", metavar="VALUES", help=parameter.help)(command)
    return command


@click.command("sweep")
@click.argument("compiled", required=False, type=click.Path(path_type=Path))
@_parameter_options
@click.option("--runs", default=300, show_default=True, help="Chips per point.")
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
    figure: Path | None,
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
    parameters may have several values; one with a single value is set for all points.
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
    _note_bits(network, values)
    if csv_file is not None:
        write_csv(csv_file, _point_rows(result))
    if chips_csv is not None:
        write_csv(chips_csv, _chip_rows(result))
    if figure is not None:
        _draw(figure, result)
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
    kpp = result.points[0].kpp
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
        "on these images",
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
    console.print(said)
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
    for point in result.points:
        kpp, summary = point.kpp, point.summary
        yield {
            **_place(point),
            "ideal": point.ideal,
            "mean": summary.mean,
            "std": summary.std,
            "min": summary.min,
            "max": summary.max,
            "k": kpp.k,
            "kpp": kpp.value,
            "kpp_is_worst": str(kpp.is_worst).lower(),
            "kpp_low": kpp.interval.low,
            "kpp_high": kpp.interval.high,
            "kpp_covers": kpp.covers,
            "kpp_low_chips_alone": kpp.chips_alone.low,
            "kpp_high_chips_alone": kpp.chips_alone.high,
            "confidence": kpp.confidence,
            **_reached(point),
            **{f"elsewhere_{key}": number for key, number in point.elsewhere.to_json().items()},
            **_facts(point),
        }


def _reached(point: Point) -> dict[str, float | None]:
    """The columns of the yield at a goal; none without one."""
    found = point.reached
    if found is None:
        return {}
    ends = {"yield_low": found.low, "yield_high": found.high}
    return {"goal": found.goal, "yield": found.value, **ends}


def _chip_rows(result: Sweep) -> Iterator[dict[str, str | int | float | None]]:
    for point in result.points:
        for chip, value in enumerate(point.values.tolist()):
            yield {**_place(point), "chip": chip, result.metric: value, **_facts(point)}


def _facts(point: Point) -> dict[str, str | int | float | None]:
    """What a point is of, but for the columns that `_place` has."""
    facts, placed = as_cells(point.description.to_json()), _place(point)
    return {key: value for key, value in facts.items() if key not in placed}


def _place(point: Point) -> dict[str, str | int | float | None]:
    """The parameters' columns; `none` where a parameter is switched off."""
    return {
        PARAMETERS[name].column: "none" if value.number is None else value.number
        for name, value in point.at.items()
    }


def _draw(path: Path, result: Sweep) -> None:
    first, *second = result.axes
    curves, device = result.curves(), _device(result)
    draw_curves(
        path,
        heading(result.shared),
        short_of(result.metric),
        _axis(first, [point.at[first] for point in curves[0]], device),
        [_curve(curve, second[0] if second else None) for curve in curves],
        label_of(second[0], device) if second else "",
        percent=in_percent(result.metric),
    )


def _axis(name: str, values: list[Value], device: Device) -> Axis:
    """To scale, or evenly spaced where a value has no place on the scale (`none`, log of 0)."""
    label, logarithmic = label_of(name, device), PARAMETERS[name].logarithmic
    numbers = [v.number for v in values if v.number is not None and (v.number or not logarithmic)]
    texts = [value.text for value in values]
    if len(numbers) < len(values):
        return Axis(label, range(len(values)), texts)
    return Axis(label, numbers, texts if len(texts) <= MAX_TICKS else None, logarithmic)


def _curve(points: list[Point], name: str | None) -> Curve:
    return Curve(
        points[0].at[name].text if name is not None else "",
        [point.summary.mean for point in points],
        [point.kpp for point in points],
        [point.ideal for point in points],
    )
