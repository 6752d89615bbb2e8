"""`nvmc uncertainty`: do chips know when they do not know?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from nvmc.cli.console import (
    count,
    note,
    note_data,
    note_kept,
    note_range,
    out,
    print_json,
    progress,
)
from nvmc.cli.heading import heading
from nvmc.cli.running import opened, run_options
from nvmc.data import load_data
from nvmc.data.items import item_of
from nvmc.data.shifts import KINDS, Shift, shifts_for
from nvmc.errors import OptionError
from nvmc.evaluation.captions import title_of
from nvmc.evaluation.doubts import Row
from nvmc.evaluation.uncertainty import Measures, Uncertainty, uncertainty
from nvmc.evaluation.value_uncertainty import ValueUncertainty, value_shifts, value_uncertainty
from nvmc.report.figure import Sheet
from nvmc.report.uncertainty_plot import Line, Panel, draw_uncertainty

__all__ = ["uncertainty_command"]

LABELS = {"rotation": "rotation [degrees]", "noise": "noise [share of the range]"}


@click.command("uncertainty")
@click.argument("compiled", required=False, type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    metavar="SPEC",
    help="Images with labels or values, as for `nvmc simulate`.",
)
@click.option(
    "--mc-passes",
    type=int,
    metavar="T",
    help="Stochastic passes.  [default: 10; 1 where the network has no random layers]",
)
@click.option("--runs", default=20, show_default=True, help="Number of chips.")
@click.option(
    "--shift",
    "shifts",
    multiple=True,
    type=click.Choice(KINDS),
    help="Kind of shift of the data. May be repeated.  [default: all that the data allow]",
)
@run_options("device", "sigma", "noise", "time", "temperature", "seed", "fidelity", "limit")
@run_options("output", "class-axis", "batch-axis", "batch", "jobs")
@run_options("max-memory", "figure", "json")
def uncertainty_command(
    compiled: Path | None,
    data: str,
    shifts: tuple[str, ...],
    device: str | None,
    sigma: float | None,
    noise: tuple[str, ...],
    limit: int | None,
    figure: Sheet | None,
    as_json: bool,
    runs: int,
    **options: Any,
) -> None:
    """Measure calibration, and how well unusual images are detected, on data and shifted data."""
    network = opened(compiled)
    dataset = load_data(data, limit=limit)
    dataset = dataset.for_network([entry.name for entry in network.manifest.inputs])
    valued = dataset.targets is not None
    if valued and figure is not None:
        raise OptionError("the uncertainty of values has no figure yet; leave --figure out")
    if valued:
        rows = len(value_shifts(dataset, shifts or None))
    else:
        rows = len(shifts_for(dataset.x, shifts or None, dataset.y))
    with progress("chips", runs * rows, shown=not as_json) as advance:
        result: Uncertainty | ValueUncertainty = (value_uncertainty if valued else uncertainty)(
            network,
            data=dataset,
            limit=limit,
            runs=runs,
            device=device,
            noise=noise,
            sigma=sigma,
            shifts=shifts or None,
            on_chip=advance,
            **options,
        )
    setup = result.description.setup
    note_kept(setup.target, device=device, sigma=sigma, noise=noise)
    note_range(setup.target.device, [setup.sigma])
    note_data(result.description.to_json())
    if figure is not None and isinstance(result, Uncertainty):
        draw_uncertainty(figure, title_of([result.description]), _panels(result))
    if as_json:
        print_json(result.to_json())
    elif isinstance(result, ValueUncertainty):
        _print_values(result, str(network.folder), newest=compiled is None)
    else:
        _print(result, str(network.folder), newest=compiled is None)


def _begun(
    result: Uncertainty | ValueUncertainty, folder: str, newest: bool, titles: Sequence[str]
) -> Table:
    """A table without rows yet; what the result is of is printed."""
    name = f"{folder}{' (the newest here)' if newest else ''}"
    for line in heading(result.description.to_json(), name):
        out().print(line)
    table = Table(box=None, pad_edge=False)
    table.add_column(f"{item_of(result.description.data)}s", no_wrap=True)
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _print_values(result: ValueUncertainty, folder: str, newest: bool) -> None:
    console, item = out(), item_of(result.description.data)
    titles = ("RMSE", "NLL", "in 90 %", "miscalibrated", "deviation", "over passes")
    table = _begun(result, folder, newest, titles)
    for row in result.rows:
        shares = [
            _spread(100 * row.values(name), ".1f") for name in ("coverage", "calibration_error")
        ]
        numbers = {n: _spread(row.values(n), ".4g") for n in ("rmse", "nll", "deviation", "spread")}
        table.add_row(
            _shown(row.shift),
            numbers["rmse"],
            numbers["nll"],
            *shares,
            numbers["deviation"],
            numbers["spread"],
        )
    console.print(table)
    console.print(
        f"\nA prediction is normal: its variance is that over passes, plus {result.noise:.4g} "
        f"squared, the likeliest noise on {count(result.calibrated, item)} run on the "
        "ideal chip; chips are judged on the others. In 90 %: values within their 90 % intervals; "
        "miscalibrated: the mean distance of 19 intervals' coverage from what they claim (both "
        "%). NLL is nats, RMSE, deviation and spread over passes are in the values' unit; ± is the "
        "standard deviation over chips."
    )


def _spread(values: NDArray[np.float64], form: str) -> str:
    """Mean ± standard deviation over chips."""
    own = f"{values.mean():{form}}"
    return own if len(values) < 2 else f"{own} ± {values.std(ddof=1):{form}}"


def _shown(shift: Shift) -> str:
    """How images were shifted, in a table."""
    names = {
        "none": "unshifted",
        "rotation": f"turned {shift.strength:g}°",
        "noise": f"noise {shift.strength:g}",
    }
    return names[shift.kind]


def _print(result: Uncertainty, folder: str, newest: bool) -> None:
    console, item = out(), item_of(result.description.data)
    titles = ("accuracy", "NLL", "variance", "ECE", "detected", "predicted")
    table = _begun(result, folder, newest, titles)
    for row in result.rows:
        table.add_row(*_cells(row))
    console.print(table)
    if result.description.mc_passes is None:
        note(
            "the network has no random layers: one pass, no variance; docs/uncertainty.md "
            "says how to make one that does"
        )
    console.print(
        "\nAccuracy, calibration error (ECE) and detected are %, NLL is nats; ± is the standard "
        f"deviation over chips. Detected: {item}s whose NLL is above the chip's mean on "
        "unshifted ones (there: false alarms); predicted: by the NLL of the predicted class, "
        "which needs no labels."
    )


def _cells(row: Row[Measures]) -> list[str]:
    return [
        _shown(row.shift),
        _share(row, "accuracy"),
        _number(row, "nll"),
        f"{row.mean('variance'):.3f}",
        f"{100 * row.mean('calibration_error'):.1f}",
        _share(row, "detected"),
        _share(row, "detected_predicted"),
    ]


def _share(row: Row[Measures], name: str) -> str:
    std = row.std(name)
    return f"{100 * row.mean(name):.1f}" + ("" if std is None else f" ± {100 * std:.1f}")


def _number(row: Row[Measures], name: str) -> str:
    std = row.std(name)
    return f"{row.mean(name):.2f}" + ("" if std is None else f" ± {std:.2f}")


def _panels(result: Uncertainty) -> list[Panel]:
    panels: list[Panel] = []
    for kind in KINDS:
        rows = [row for row in result.rows if row.shift.kind in ("none", kind)]
        if len(rows) > 1:
            names = ("accuracy", "detected", "detected_predicted", "nll", "variance")
            lines = {name: _line(rows, name) for name in names}
            panels.append(Panel(LABELS[kind], [row.shift.strength for row in rows], **lines))
    return panels


def _line(rows: list[Row[Measures]], name: str) -> Line:
    return Line([row.mean(name) for row in rows], [row.std(name) or 0.0 for row in rows])
