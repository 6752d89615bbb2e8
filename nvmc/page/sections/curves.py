"""KPP and mean over a setting, the same chips at every point."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from nvmc.evaluation.captions import name_of
from nvmc.evaluation.parameters import PARAMETERS, duration_text, label_of
from nvmc.evaluation.sweep import Point, Sweep
from nvmc.page.blocks import Block, Chart, Choice, DataTable
from nvmc.page.charts import RED, Spec, lines, metric_axis, shown, tooltip
from nvmc.page.report import Report
from nvmc.page.values import Unit, share_text

__all__ = ["curves"]

WIDTHS = {"KPP": 3.0, "mean": 1.2}
"""How thick lines are, in pixels."""
MOST_TICKS = 12
"""Values up to which each has a tick of its own."""


def curves(report: Report) -> Iterator[Block]:
    """A chart for each parameter, or pair of parameters, with a curve for each network."""
    groups: dict[tuple[str, ...], list[Sweep]] = {}
    for one in report.of(Sweep):
        groups.setdefault(one.axes, []).append(one)
    for number, (axes, sweeps) in enumerate(groups.items(), 1):
        yield _chart(axes, sweeps, report.unit, number)


def _labelled(sweeps: list[Sweep]) -> list[tuple[str, list[Point]]]:
    """Each curve with what sets it apart: network, device, value of the second axis."""
    found: list[tuple[tuple[str, ...], list[Point]]] = []
    for swept in sweeps:
        for points in swept.curves():
            told = points[0].description
            second = swept.axes[1:]
            value = [f"{name} {points[0].at[name].text}" for name in second]
            found.append(((name_of(told), told.setup.target.device.name, *value), points))
    telling = [i for i in range(len(found[0][0])) if len({words[i] for words, _ in found}) > 1]
    named = [(", ".join(words[i] for i in telling) or words[0], p) for words, p in found]
    labels = [label for label, _ in named]
    return [
        (f"{label} ({n})" if labels.count(label) > 1 else label, points)
        for n, (label, points) in enumerate(named, 1)
    ]


def _chart(axes: tuple[str, ...], sweeps: list[Sweep], unit: Unit, number: int) -> Chart:
    labelled, name = _labelled(sweeps), axes[0]
    labels = [label for label, _ in labelled]
    rows = [
        _row(i, label, point, name, unit)
        for i, (label, points) in enumerate(labelled)
        for point in points
    ]
    device = sweeps[0].points[0].description.setup.target.device
    title = label_of(name, device)
    scale = all(row["number"] is not None for row in rows)
    logarithmic = PARAMETERS[name].logarithmic and all(row["number"] for row in rows)
    kind: Spec = {"field": "text", "type": "ordinal", "sort": None, "axis": {"labelAngle": 0}}
    if scale:
        kind = {"field": "number", "type": "quantitative"}
        kind["scale"] = {
            "padding": 14,
            **({"type": "log", "nice": False} if logarithmic else {"zero": False}),
        }
    values = sorted({row["number"] for row in rows}) if scale else []
    x = {**kind, "title": title}
    if 0 < len(values) <= MOST_TICKS:
        labels_of = {"labelExpr": _durations(values)} if name == "time" else {}
        x["axis"] = {"values": values, **labels_of}
    look = lines(labels)
    colour = look["color"]
    told = tooltip(label="chips of", text=title, kpp_text="KPP", ends="95 % interval",
                   mean_text="mean", yield_text="yield at goal")  # fmt: skip
    value = metric_axis(unit, "y", field="kpp")
    known = [row for row in rows if row["low"] is not None or row["high"] is not None]
    closed = [row for row in rows if row["low"] is not None and row["high"] is not None]
    goal = next((p.reached.goal for _, ps in labelled for p in ps if p.reached is not None), None)
    spec: Spec = {
        "data": {"values": rows},
        "transform": [shown()] if len(labels) > 1 else [],
        "layer": [
            *([_band(x, colour, value)] if known else []),
            *(
                _line(x, {**value, "field": "mean" if name == "mean" else "kpp"}, look, name)
                for name in WIDTHS
            ),
            {
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
                "encoding": {"x": x, "y": value, "color": colour, "tooltip": told},
            },
            *([] if len(closed) == len(rows) else [_open_end(x, colour, value)]),
            *_goal(goal, rows, value, unit),
        ],
    }
    choices = (Choice("Show", "shown", tuple(labels), several=True),) if len(labels) > 1 else ()
    chart = f"curve-{number}"
    summary = "; ".join(_said(label, points, name, unit) for label, points in labelled)
    heading = f"KPP (thick, with its interval) and mean (thin) over {title}"
    heading += "" if goal is None else f"; dashed: the goal of {unit.asked(goal)}"
    return Chart(chart, heading, summary, spec, _table(labelled, axes, unit, chart), choices, 320)


def _durations(values: Sequence[float]) -> str:
    """The expression for the labels of times in seconds: `1 h`, `1 d`."""
    texts = {str(int(value)): duration_text(value) for value in values if value == int(value)}
    return f"{json.dumps(texts)}[datum.value] || format(datum.value, '~g')"


def _line(x: Spec, value: Spec, look: Spec, name: str) -> Spec:
    """The KPP or the mean; the legend says which by how thick it is."""
    scale = {"domain": list(WIDTHS), "range": list(WIDTHS.values())}
    legend = {"orient": "top", "title": None, "symbolType": "stroke", "symbolSize": 300}
    wide: Spec = {"datum": name, "type": "nominal", "scale": scale, "legend": legend}
    return {"mark": {"type": "line"}, "encoding": {"x": x, "y": value, **look, "strokeWidth": wide}}


def _goal(goal: float | None, rows: Sequence[Spec], value: Spec, unit: Unit) -> list[Spec]:
    """A dashed line at the goal, where it does not squeeze the curves."""
    if goal is None:
        return []
    at, drawn = unit.scale * goal, [row[name] for row in rows for name in ("from", "to", "mean")]
    span = max(drawn) - min(drawn) or 0.1 * abs(at)
    if not min(drawn) - span <= at <= max(drawn) + span:
        return []
    return [
        {
            "data": {"values": [{"kpp": at, "name": f"goal: {unit.asked(goal)}"}]},
            "mark": {"type": "rule", "color": RED, "strokeWidth": 2, "strokeDash": [4, 3]},
            "encoding": {"y": value, "tooltip": {"field": "name", "type": "nominal"}},
        }
    ]


def _band(x: Spec, colour: Spec, value: Spec) -> Spec:
    """The interval; where an end is open, the part from the KPP to the other end."""
    return {
        "transform": [{"filter": "isValid(datum.low) || isValid(datum.high)"}],
        "mark": {"type": "rule", "strokeWidth": 1.5},
        "encoding": {
            "x": x,
            "y": {**value, "field": "from"},
            "y2": {"field": "to"},
            "color": colour,
        },
    }


def _open_end(x: Spec, colour: Spec, value: Spec) -> Spec:
    """An arrow down or up where an interval is open, from the KPP on."""
    return {
        "transform": [
            {"filter": "!isValid(datum.low) || !isValid(datum.high)"},
            {"calculate": "isValid(datum.low) ? 'up' : 'down'", "as": "way"},
        ],
        "mark": {"type": "point", "filled": True, "size": 70, "yOffset": 9, "opacity": 1},
        "encoding": {
            "x": x,
            "y": value,
            "color": colour,
            "shape": {
                "field": "way",
                "type": "nominal",
                "scale": {"domain": ["down", "up"], "range": ["triangle-down", "triangle-up"]},
                "legend": None,
            },
            "tooltip": {"value": "open end: more chips are needed"},
        },
    }


def _row(i: int, label: str, point: Point, name: str, unit: Unit) -> Spec:
    kpp, at = point.kpp, point.at[name]
    low, high = kpp.interval.low, kpp.interval.high
    return {
        "i": i,
        "label": label,
        "number": at.number,
        "text": at.text,
        "kpp": unit.scale * kpp.value,
        "mean": unit.scale * point.summary.mean,
        "low": None if low is None else unit.scale * low,
        "high": None if high is None else unit.scale * high,
        "from": unit.scale * (kpp.value if low is None else low),
        "to": unit.scale * (kpp.value if high is None else high),
        "kpp_text": unit.text(kpp.value),
        "mean_text": unit.text(point.summary.mean),
        "ends": unit.ends(kpp.interval),
        "yield_text": _yield(point),
    }


def _yield(point: Point) -> str:
    found = point.reached
    if found is None:
        return "no goal given"
    value = "not known" if found.value is None else share_text(found.value)
    return f"{value} ({share_text(found.low)} to {share_text(found.high)})"


def _said(label: str, points: list[Point], name: str, unit: Unit) -> str:
    first, last = points[0], points[-1]
    return (
        f"{label}: KPP {unit.text(first.kpp.value)} at {name} {first.at[name].text}, "
        f"{unit.text(last.kpp.value)} at {last.at[name].text}"
    )


def _table(
    labelled: list[tuple[str, list[Point]]], axes: tuple[str, ...], unit: Unit, chart: str
) -> DataTable:
    columns = ("chips of", *axes, "mean", "worst", "KPP", "interval", "yield at goal")
    lines: list[tuple[str, ...]] = []
    rows: list[dict[str, str | int | float | None]] = []
    for label, points in labelled:
        for point in points:
            kpp, told = point.kpp, point.description
            at = [point.at[name] for name in axes]
            values = (point.summary.mean, point.summary.worst, kpp.value)
            texts = [unit.bare(value) for value in values]
            lines.append(
                (label, *(v.text for v in at), *texts, unit.ends(kpp.interval), _yield(point))
            )
            rows.append(
                {
                    "chips_of": label,
                    "network": name_of(told),
                    **{PARAMETERS[n].column: point.at[n].number for n in axes},
                    "mean": point.summary.mean,
                    "worst": point.summary.worst,
                    "k": kpp.k,
                    "kpp": kpp.value,
                    "kpp_low": kpp.interval.low,
                    "kpp_high": kpp.interval.high,
                    "kpp_covers": kpp.covers,
                    "kpp_low_chips_alone": kpp.chips_alone.low,
                    "kpp_high_chips_alone": kpp.chips_alone.high,
                    "yield": None if point.reached is None else point.reached.value,
                }
            )
    return DataTable.of(f"{chart}-points", "Points of the curves", columns, lines, rows)
