"""`nvmc inspect`: what passes through the arrays of one chip, and where its errors come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from nvmc.cli.console import count, note, note_data, note_range, out, print_json, progress
from nvmc.cli.heading import heading
from nvmc.cli.running import opened, run_options
from nvmc.compiled.rounding import SEEDED
from nvmc.evaluation.captions import title_of
from nvmc.evaluation.converters import ArrayInspection, Codes
from nvmc.evaluation.description import as_cells
from nvmc.evaluation.distribution import Histogram
from nvmc.evaluation.error_sources import LayerErrors
from nvmc.evaluation.inspection import IMAGES, Inspection, inspect, rows_of
from nvmc.report.figure import Sheet
from nvmc.report.inspection import Bars, Panel, draw_inspection
from nvmc.report.table import check_file, write_csv

__all__ = ["inspect_command"]

SHOWN_SOURCES = 4
"""Most sources of errors that are columns of one table; more are rows."""
BAR_ROWS, BAR_WIDTH = 16, 40
MOST_DRAWN = 8
"""Most arrays in one figure."""


@click.command("inspect")
@click.argument("compiled", required=False, type=click.Path(path_type=Path))
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME",
    help="Show one layer in detail, by the name of its weight or node. May be repeated.",
)
@click.option("--chip", default=0, show_default=True, help="Number of the chip.")
@run_options("data", "device", "sigma", "noise", "time", "temperature", "seed")
@click.option(
    "--limit", type=int, metavar="N", help=f"Use the first N images.  [default: {IMAGES}]"
)
@run_options("output", "class-axis", "batch-axis", "metric")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write a row per array.")
@run_options("max-memory", "figure", "json")
def inspect_command(
    compiled: Path | None,
    layers: tuple[str, ...],
    csv_file: Path | None,
    figure: Sheet | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Inputs, currents and ADC codes of one chip's layers, and their errors by source."""
    if csv_file is not None:
        check_file(csv_file)
    network = opened(compiled)
    images = IMAGES if options["limit"] is None else options["limit"]
    with progress("images", images, shown=not as_json) as advance:
        done = 0

        def tell(now: int) -> None:
            nonlocal done
            for _ in range(now - done):
                advance()
            done = now

        result = inspect(
            network,
            layer=layers,
            on_images=tell,
            **options,
        )
    setup = result.description.setup
    note_range(setup.target.device, [setup.strength])
    note_data(result.description.to_json())
    if csv_file is not None:
        facts = as_cells(result.description.to_json())
        write_csv(csv_file, ({**row, **facts} for row in rows_of(result)))
    if figure is not None:
        title = title_of([result.description])
        draw_inspection(figure, [f"Chip {result.chip} of {title[0]}", title[1]], _panels(result))
    if as_json:
        print_json(result.to_json())
    else:
        _print(result, str(network.folder), compiled is None, closely=bool(layers))


def _heading(result: Inspection, name: str | None = None) -> list[str]:
    return heading(result.description.to_json(), name)


def _print(result: Inspection, folder: str, newest: bool, *, closely: bool) -> None:
    console = out()
    for line in _heading(result, f"{folder}{' (the newest here)' if newest else ''}"):
        console.print(line)
    if result.arrays:
        console.print(_array_table(result))
        for line in _legend(result):
            console.print(line)
    for array in result.arrays if closely else ():
        for line in _bars_of(array):
            console.print(line)
    console.print()
    console.print(_error_table(result))
    console.print(
        "Errors in % of the RMS of the layer's ideal outputs. The sources are switched on one "
        "at a time, on inputs of the ideal chip; they need not add up: rest is together less the "
        "root of their summed squares. Arriving: with the errors of all layers before, too."
    )
    if result.rounding:
        worst = max(result.rounding, key=lambda name: result.rounding[name])
        console.print(
            f"Not in it: rounding weights to codes, up to {_share(result.rounding[worst])} of the "
            f"weights' norm ({worst}), since the ideal chip's weights are rounded."
        )
    if result.description.data_sha256 is None:
        note(
            f"{SEEDED} are random numbers: distributions and errors are those of images only with "
            "--data"
        )


def _legend(result: Inspection) -> Iterator[str]:
    bare = [array.name for array in result.arrays if array.codes is None]
    if len(bare) < len(result.arrays):
        yield "Currents in % of the ADC's range; clipped: conversions below and above it."
    if bare:
        where = "" if len(bare) == len(result.arrays) else f" behind {', '.join(bare)}"
        adds = "`nvmc compile --adc-bits A` adds one."
        if where:
            adds = "adc_bits of its layers in the target file adds one."
        yield (
            f"There is no ADC{where}, so there are no codes: currents are in % of the worst case "
            f"of a tile. {adds}"
        )


def _array_table(result: Inspection) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("array", overflow="fold")
    limited = any(array.limit is not None for array in result.arrays)
    titles = ["inputs", *(["beyond DAC"] if limited else []), "currents", "codes used", "clipped"]
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    for array in result.arrays:
        inputs = f"{array.inputs.low:.3g} … {array.inputs.high:.3g}"
        row = [array.name, inputs]
        if limited:
            row.append("-" if array.limit is None else _share(array.beyond))
        row.append(f"{100 * array.currents.low:.3g} … {100 * array.currents.high:.3g} %")
        row += ["-", "-"] if array.codes is None else _codes_cells(array.codes)
        table.add_row(*row)
    return table


def _codes_cells(codes: Codes) -> list[str]:
    used = f"{codes.used:,} of {codes.available:,}"
    if codes.low < 0:
        return [used, f"{_share(codes.below)} / {_share(codes.above)}"]
    return [used, _share(codes.above)]


def _share(value: float) -> str:
    """A share in percent, exact about nothing and never rounded to it."""
    if value == 0:
        return "0 %"
    return f"{100 * value:.2g} %" if value >= 1e-5 else "<0.001 %"


def _error(value: float) -> str:
    text = f"{100 * value:.2f}"
    if float(text) or value == 0 or value != value:
        return text if value else "0"
    return "<0.01" if value > 0 else ">-0.01"


def _labels(layers: tuple[LayerErrors, ...]) -> list[str]:
    """Layers by their arrays; those that share arrays by their node, too."""
    names = ["+".join(layer.arrays) for layer in layers]
    often = Counter(names)
    pairs = zip(names, layers, strict=True)
    return [f"{name} ({layer.name})" if often[name] > 1 else name for name, layer in pairs]


def _error_table(result: Inspection) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("layer", overflow="fold")
    ends = ("together", "rest", "arriving")
    rows = list(zip(_labels(result.layers), result.layers, strict=True))
    if len(result.sources) <= SHOWN_SOURCES:
        for title in (*result.sources, *ends):
            table.add_column(title, justify="right", no_wrap=True)
        for label, layer in rows:
            table.add_row(label, *(_error(value) for _, value in _errors_of(layer)))
        return table
    table.add_column("source", no_wrap=True)
    table.add_column("error", justify="right", no_wrap=True)
    for label, layer in rows:
        for number, (source, value) in enumerate(_errors_of(layer)):
            table.add_row("" if number else label, source, _error(value))
    return table


def _errors_of(layer: LayerErrors) -> list[tuple[str, float]]:
    ends = [("together", layer.together), ("rest", layer.remainder), ("arriving", layer.arriving)]
    return [*layer.errors.items(), *ends]


def _bars_of(array: ArrayInspection) -> Iterator[str]:
    """The distributions of one array as text."""
    told = f", DAC range {array.limit:.4g}" if array.limit is not None else ""
    yield f"\n{array.name}: inputs ({_zeros(array.inputs)}{told})"
    yield from _bars(array.inputs, 1.0)
    scale = "the ADC's range" if array.codes is not None else "a tile's worst case"
    yield f"\n{array.name}: currents in % of {scale} ({_zeros(array.currents)})"
    yield from _bars(array.currents, 100.0)
    codes = array.codes
    if codes is None:
        return
    seen = f"{codes.lowest} … {codes.highest} of {codes.low} … {codes.high}"
    yield (
        f"\n{array.name}: codes {seen}; {codes.available - codes.used:,} of "
        f"{count(codes.available, 'code')} not seen"
    )
    yield from _bars(codes.spread, 1.0)


def _zeros(histogram: Histogram) -> str:
    return f"{histogram.values:,} values, {_share(histogram.zeros / histogram.values)} zero"


def _bars(histogram: Histogram, factor: float) -> Iterator[str]:
    """A line a bin: its lower edge, a bar, and its share of the values."""
    few = histogram.merged(BAR_ROWS)
    most = max(few.counts)
    for number, held in enumerate(few.counts):
        edge = factor * (few.first + number * few.width)
        bar = "#" * -(-BAR_WIDTH * held // most)
        yield f"{edge:>10.4g} {bar:<{BAR_WIDTH}} {_share(held / few.values):>9}"


def _panels(result: Inspection) -> list[Panel]:
    """What is drawn of each layer: its first array, and its errors."""
    seen = {array.name: array for array in result.arrays}
    panels: list[Panel] = []
    for label, layer in zip(_labels(result.layers), result.layers, strict=True):
        for name in layer.arrays:
            if name in seen:
                array = seen[name]
                errors = {**layer.errors, "together": layer.together}
                bars = (_drawn(array.inputs, 1.0), _drawn(array.currents, 100.0))
                codes = None if array.codes is None else _drawn(array.codes.spread, 1.0)
                panels.append(Panel(label, *bars, codes, errors, array.limit))
    return panels[:MOST_DRAWN]


def _drawn(histogram: Histogram, factor: float) -> Bars:
    few = histogram.merged(64)
    return Bars(factor * few.first, factor * few.width, few.counts)
