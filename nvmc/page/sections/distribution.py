"""How the values of the chips are spread."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from nvmc.page.blocks import Block, Chart, Choice, DataTable
from nvmc.page.charts import (
    BLUE,
    MARK,
    RED,
    Spec,
    domain_of,
    lines,
    metric_axis,
    shown,
    tooltip,
)
from nvmc.page.report import Population, Report
from nvmc.page.values import Unit, counted
from nvmc.report.histogram import bar_edges

__all__ = ["distribution"]

MARKS = [RED, "#c05a0a", "#1f7a5c", "#8a3fb0"]
"""KPP, mean, ideal chip and goal: seen on the bars, and told apart."""
MAX_POINTS = 400
"""Of a line; of more values some are left out."""


def distribution(report: Report) -> Iterator[Block]:
    """A histogram; for several populations their shares below each value too; all chips."""
    unit, found = report.unit, report.populations
    yield _histogram(found, unit)
    if len(found) > 1:
        yield _shares(found, unit)
    yield _chips(found, unit)


def _known(one: Population) -> Any:
    """Values in the unit they are written in, without those of dropped chips."""
    return one.values[~np.isnan(one.values)]


def _images(found: tuple[Population, ...], unit: Unit) -> int | None:
    """Images that values are shares of; None where they are any real numbers."""
    return max(one.description.images for one in found) if unit.counts else None


def _edges(found: tuple[Population, ...], unit: Unit) -> Any:
    """Edges of bars for all of them."""
    low, high = (end(one.ideal for one in found) for end in (min, max))
    values = [np.array([low, high]), *map(_known, found)]
    return bar_edges(values, low, _images(found, unit), unit.bounds)


def _histogram(found: tuple[Population, ...], unit: Unit) -> Chart:
    edges = _edges(found, unit)
    bars = _bars(found, unit, edges)
    one_only = {"filter": "datum.i == chosen" if len(found) > 1 else "true"}
    goal = next((one.reached.goal for one in found if one.reached is not None), None)
    first, last = (unit.scale * float(edge) for edge in (edges[0], edges[-1]))
    at = None if goal is None else unit.scale * goal
    near = at is not None and _is_near(at, first, last)
    domain = _within(domain_of([first, last, at if near else None], 0.02), unit)
    names = ["KPP", "mean", "ideal chip", *(["goal"] if near else [])]
    look = {"domain": names, "range": MARKS[: len(names)]}
    dash = {"domain": names, "range": [[1, 0], [6, 3], [2, 2], [12, 4]][: len(names)]}
    spec: Spec = {
        "layer": [
            {
                "data": {"values": bars},
                "transform": [one_only],
                "mark": {"type": "bar", "color": BLUE, "opacity": 0.45, "binSpacing": 1},
                "encoding": {
                    "x": metric_axis(unit, scale={"domain": list(domain)}, bin={"binned": True}),
                    "x2": {"field": "high"},
                    "y": {
                        "field": "chips",
                        "type": "quantitative",
                        "title": "chips",
                        "axis": {"tickMinStep": 1},
                        "scale": {"nice": True},
                    },
                    "tooltip": tooltip(**{"from": unit.axis, "chips": "chips"}),
                },
            },
            {
                "data": {"values": _marks(found, unit, near)},
                "transform": [one_only],
                "mark": {"type": "rule", "strokeWidth": 2.5},
                "encoding": {
                    "x": {"field": "x", "type": "quantitative"},
                    "color": {
                        "field": "name",
                        "type": "nominal",
                        "scale": look,
                        "legend": {"orient": "top", "title": None, "symbolType": "stroke", **MARK},
                    },
                    "strokeDash": {"field": "name", "type": "nominal", "scale": dash},
                    "tooltip": tooltip(name="", value=unit.name),
                },
            },
        ],
    }
    rows = [(bar["label"], bar["from"], f"{bar['chips']}") for bar in bars]
    table = DataTable.of("histogram", "Chips by value", ("chips of", unit.axis, "chips"), rows)
    labels = tuple(one.label for one in found)
    choices = (Choice("Chips of", "chosen", labels),) if len(found) > 1 else ()
    summary = "; ".join(_said(one, unit) for one in found)
    if goal is not None and not near:
        summary += f". The goal of {unit.asked(goal)} lies outside of the chart"
    return Chart("histogram", "How many chips have which value", summary, spec, table, choices, 280)


def _within(domain: tuple[float, float], unit: Unit) -> tuple[float, float]:
    """The axis, which ends where values do."""
    low, high = (unit.scale * bound for bound in unit.bounds)
    return max(domain[0], low), min(domain[1], high)


def _bars(found: tuple[Population, ...], unit: Unit, edges: Any) -> list[Spec]:
    bars: list[Spec] = []
    images = _images(found, unit)
    for i, one in enumerate(found):
        counts, _ = np.histogram(_known(one), edges)
        bars += [
            {
                "i": i,
                "label": one.label,
                "x": unit.scale * float(edges[bar]),
                "high": unit.scale * float(edges[bar + 1]),
                "chips": int(count),
                "from": _held(float(edges[bar]), float(edges[bar + 1]), images, unit),
            }
            for bar, count in enumerate(counts)
            if count
        ]
    return bars


def _held(low: float, high: float, images: int | None, unit: Unit) -> str:
    """The values that a bar stands for, from the least to the greatest that there can be."""
    if images is not None:
        slack = 1e-6  # of an image: edges lie half of one off values, or on one
        low = math.ceil(low * images - slack) / images
        high = math.floor(high * images + slack) / images
    texts = dict.fromkeys((unit.bare(low), unit.bare(high)))
    return " to ".join(texts)


def _is_near(goal: float, first: float, last: float) -> bool:
    """Whether the goal can be drawn without squeezing the bars."""
    span = last - first
    return first - span <= goal <= last + span


def _marks(found: tuple[Population, ...], unit: Unit, with_goal: bool) -> list[Spec]:
    """The lines of a histogram."""
    marks: list[Spec] = []
    for i, one in enumerate(found):
        values = {"KPP": one.kpp.value, "mean": one.summary.mean, "ideal chip": one.ideal}
        if with_goal and one.reached is not None:
            values["goal"] = one.reached.goal
        marks += [
            {"i": i, "name": name, "x": unit.scale * value, "value": unit.text(value)}
            for name, value in values.items()
        ]
    return marks


def _said(one: Population, unit: Unit) -> str:
    values = _known(one)
    ends = f"{unit.bare(float(values.min()))} to {unit.text(float(values.max()))}"
    chips, mean = counted(len(values), "chip"), unit.text(one.summary.mean)
    return f"{one.label}: {chips} from {ends}, mean {mean}"


def _shares(found: tuple[Population, ...], unit: Unit) -> Chart:
    """The share of chips at or below each value, a line for each population."""
    labels = [one.label for one in found]
    points: list[Spec] = []
    for i, one in enumerate(found):
        values, counts = np.unique(_known(one), return_counts=True)
        below = np.cumsum(counts) / counts.sum()
        kept = np.unique(np.linspace(0, len(values) - 1, MAX_POINTS).astype(int))
        values, below = values[kept], below[kept]
        start = [(float(values[0]), 0.0)]
        points += [
            {
                "i": i,
                "label": one.label,
                "x": unit.scale * value,
                "share": 100 * share,
                "value": unit.text(value),
                "text": f"{100 * share:.1f} %",
            }
            for value, share in [*start, *zip(values.tolist(), below.tolist(), strict=True)]
        ]
    spec: Spec = {
        "data": {"values": points},
        "transform": [shown()],
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2.5},
        "encoding": {
            "x": metric_axis(unit),
            "y": {"field": "share", "type": "quantitative", "title": "chips at or below [%]"},
            **lines(labels),
            "tooltip": tooltip(label="chips of", value=unit.name, text="chips at or below"),
        },
    }
    rows = [(p["label"], p["value"], p["text"]) for p in points]
    columns = ("chips of", unit.axis, "chips at or below")
    table = DataTable.of("shares", "Share of chips at or below each value", columns, rows)
    choices = (Choice("Show", "shown", tuple(labels), several=True),)
    return Chart(
        "shares",
        "Share of chips at or below each value",
        "A line further to the right is better."
        if not unit.less_is_better
        else "A line further to the left is better.",
        spec,
        table,
        choices,
        300,
    )


def _chips(found: tuple[Population, ...], unit: Unit) -> DataTable:
    """Every chip."""
    rows = [
        {"chips_of": one.label, "chip": one.description.first + chip, unit.name: value}
        for one in found
        for chip, value in enumerate(one.values.tolist())
    ]
    lines = [
        (str(row["chips_of"]), str(row["chip"]), "dropped" if math.isnan(v) else unit.bare(v))
        for row in rows
        for v in [float(row[unit.name])]
    ]
    known: list[dict[str, Any]] = [
        {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
        for row in rows
    ]
    return DataTable.of("chips", "Every chip", ("chips of", "chip", unit.axis), lines, known)
