"""What a chip costs: energy, time and area, each with its band."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from nvmc.cost.result import Cost, Figure
from nvmc.page.blocks import Block, Chart, DataTable, Heading, Paragraph
from nvmc.page.charts import GREY, Spec, tooltip
from nvmc.page.report import Report
from nvmc.report.component_looks import component_colours

__all__ = ["cost"]

PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
MOST = 40
"""Layers that are drawn: those of most energy."""


def cost(report: Report) -> Iterator[Block]:
    """For each network and hardware: figures, layers by component, what is assumed; or why not."""
    costs = report.of(Cost)
    for number, one in enumerate(costs, 1):
        name = f"{_network(one)} on {one.hardware}"
        if len(costs) > 1:
            yield Heading(name)
        yield Paragraph(
            f"{name} ({one.node_nm:g} nm), for one inference; {one.drives}. Each "
            "estimate has the band within which published chips agree with the hardware."
        )
        yield from _outside(one)
        yield _figures(one, name, number)
        yield _layers(one, name, number)
        yield _components(one, name, number)
        if one.assumptions:
            yield Paragraph(f"Assumed: {' '.join(one.assumptions)}")
    for sentence in report.uncosted:
        yield Paragraph(sentence, "note")


def _network(one: Cost) -> str:
    return Path(one.network).name.removesuffix(".nvmc")


def _outside(one: Cost) -> Iterator[Block]:
    """Which estimates lie outside of their bands."""
    for dimension, band in one.bands.items():
        if not band.low <= 1 <= band.high:
            way = "more" if band.low > 1 else "less"
            yield Paragraph(
                f"Estimates of {dimension} lie outside of their band: every published chip takes "
                f"{way} {dimension} than {one.hardware} says. Trust the band, not the estimate.",
                "note",
            )


def _figure_texts(figure: Figure, unit: str) -> tuple[str, str]:
    """A figure and its band in one prefix: `0.484 µJ`, `0.06 to 3.6`."""
    scale, prefix = 1.0, ""
    if unit in ("J", "s"):
        size = abs(figure.value) or 1.0
        scale, prefix = next((p for p in PREFIXES if size >= p[0]), PREFIXES[-1])
    low, high = (_decimal(end / scale, 2) for end in (figure.low, figure.high))
    return f"{_decimal(figure.value / scale, 3)} {prefix}{unit}", f"{low} to {high}"


def _decimal(value: float, digits: int) -> str:
    """A number to so many significant digits, never with an exponent: `0.000071`, `1,200,000`."""
    rounded = float(f"{value:.{digits}g}")
    if not rounded:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    text = f"{rounded:,.{places}f}"
    return text.rstrip("0").rstrip(".") if places else text


def _figures(one: Cost, name: str, number: int) -> DataTable:
    many = "layers as a pipeline" if one.scheduled is None else "as scheduled"
    told: list[tuple[str, Figure, str]] = [
        ("energy per inference", one.energy, "J"),
        ("latency of one inference", one.latency, "s"),
        (f"throughput, {many}", one.throughput, "inferences/s"),
        ("area", one.area_mm2, "mm²"),
        ("operations per energy", one.tops_per_w, "TOPS/W"),
        (f"operations per time and area, {many}", one.tops_per_mm2, "TOPS/mm²"),
        ("peak, all tiles full", one.peak.tops, "TOPS"),
        ("peak per watt, cells and converters", one.peak.tops_per_w, "TOPS/W"),
        ("peak per area, cells and converters", one.peak.tops_per_mm2, "TOPS/mm²"),
    ]
    lines = [(what, *_figure_texts(figure, unit)) for what, figure, unit in told]
    rows = [
        {
            "network": _network(one),
            "hardware": one.hardware,
            "quantity": what,
            "unit": unit,
            **vars(figure),
        }
        for what, figure, unit in told
    ]
    columns = ("", "estimate", "band")
    return DataTable.of(
        f"cost-{number}", f"Cost of a chip: {name}", columns, lines, rows, open=True
    )


def _layers(one: Cost, name: str, number: int) -> Chart:
    """Energy of each layer, by component."""
    ranked = sorted(one.layers, key=lambda layer: -layer.energy.value)[:MOST]
    labelled = list(zip(one.labels, one.layers, strict=True))
    kept = [(label, layer) for label, layer in labelled if layer in ranked]
    colours = component_colours([part.name for part in one.components])
    whole = one.energy.value or 1.0
    scale, prefix = next((p for p in PREFIXES if whole >= p[0]), PREFIXES[-1])
    data = [
        {
            "name": label,
            "part": part,
            "stacked": stacked,
            "value": layer.components.get(part, 0.0) / scale,
            "text": f"{layer.components.get(part, 0.0) / scale:.3g} {prefix}J",
        }
        for label, layer in kept
        for stacked, part in enumerate(colours)
        if layer.components.get(part)
    ]
    look = {"domain": list(colours), "range": list(colours.values())}
    spec: Spec = {
        "data": {"values": data},
        "mark": {"type": "bar", "stroke": GREY, "strokeWidth": 1},
        "encoding": {
            "x": {"field": "value", "type": "quantitative",
                  "title": f"energy per inference [{prefix}J]"},
            "y": {"field": "name", "type": "nominal", "sort": None, "title": None,
                  "axis": {"labelLimit": 150}},
            "color": {"field": "part", "type": "nominal", "scale": look, "sort": list(colours),
                      "legend": {"orient": "top", "title": None, "columns": 3,
                                 "symbolStrokeColor": GREY, "symbolStrokeWidth": 1}},
            "order": {"field": "stacked", "sort": "ascending"},
            "tooltip": tooltip(name="layer", part="component", text="energy"),
        },
    }  # fmt: skip
    lines = [
        (
            label,
            f"{layer.tiles:,}",
            *_figure_texts(layer.energy, "J"),
            *_figure_texts(layer.time, "s"),
        )
        for label, layer in labelled
    ]
    columns = ("layer", "tiles", "energy", "band", "time", "band")
    rows = [{**row, "network": _network(one)} for row in one.rows()]
    table = DataTable.of(f"layers-{number}", f"Cost of each layer: {name}", columns, lines, rows)
    first, most = max(labelled, key=lambda pair: pair[1].energy.value)
    summary = (
        f"{first} takes the most energy, {100 * most.energy.value / whole:.0f} % of "
        f"{_figure_texts(one.energy, 'J')[0]} per inference."
    )
    title = f"Energy of each layer by component: {name}"
    return Chart(f"energy-{number}", title, summary, spec, table, height=40 + 26 * len(kept))


def _components(one: Cost, name: str, number: int) -> DataTable:
    ranked = sorted(one.components, key=lambda part: -part.energy.value)
    lines = [
        (
            part.name,
            *_figure_texts(part.energy, "J"),
            _share(part.energy, one.energy),
            *_figure_texts(part.area_mm2, "mm²"),
            _share(part.area_mm2, one.area_mm2),
        )
        for part in ranked
    ]
    rows = [
        {
            "component": part.name,
            **{f"energy_{key}_j": value for key, value in vars(part.energy).items()},
            **{f"area_{key}_mm2": value for key, value in vars(part.area_mm2).items()},
        }
        for part in ranked
    ]
    columns = ("component", "energy", "band", "share", "area", "band", "share")
    return DataTable.of(
        f"components-{number}", f"Cost of each component: {name}", columns, lines, rows
    )


def _share(part: Figure, whole: Figure) -> str:
    return f"{100 * part.value / whole.value:.0f} %" if whole.value else "–"
