"""What charts have in common: colours, dashes, axes of a metric, and intervals with open ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nvmc.page.values import Unit
from nvmc.statistics import Ends

__all__ = [
    "BLUE",
    "COLOURS",
    "DASHES",
    "GREY",
    "MARK",
    "RED",
    "Spec",
    "domain_of",
    "interval_row",
    "intervals",
    "lines",
    "metric_axis",
    "over",
    "rule",
    "shown",
    "tooltip",
]

Spec = dict[str, Any]

BLUE, RED, GREY = "#3b82c4", "#d1495b", "#8a8f98"
COLOURS = (
    *(BLUE, "#d9772b", "#3a9d7c", "#a66bb5", "#b8962e", "#5aa9c9", RED, GREY),
    *("#7d8f2e", "#9c6b53"),
)
"""Seen on white and on black (contrast 3 or more), and told apart by the colour-blind."""
DASHES: tuple[tuple[int, ...], ...] = ((1, 0), (7, 3), (2, 2), (8, 2, 2, 2))
"""Lines are told apart without colour, too; they repeat behind the last."""


def metric_axis(unit: Unit, channel: str = "x", **more: Any) -> Spec:
    """The encoding of a value; fields hold values that are scaled already."""
    room = {"padding": 16} if channel == "y" else {}  # for the arrows of open ends
    scale = {"zero": False, "nice": False, **room, **more.pop("scale", {})}
    axis = {"tickCount": 8, **more.pop("axis", {})}
    told = {"field": channel, "type": "quantitative", "title": unit.axis}
    return {**told, "scale": scale, "axis": axis, **more}


def domain_of(values: Iterable[float | None], margin: float = 0.04) -> tuple[float, float]:
    """A range in which all values lie, with some room beside them."""
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    room = margin * (high - low) or 0.01 * max(1.0, abs(high))
    return low - room, high + room


def shown(param: str = "shown", field: str = "i") -> Spec:
    """The filter of what a reader chose to see: a `Choice` of several."""
    return {"filter": f"indexof({param}, datum.{field}) >= 0"}


def lines(labels: Sequence[str]) -> Spec:
    """Channels that tell lines apart: a colour and a dash for each label, and one legend above."""
    place = {"orient": "top", "title": None, "labelLimit": 220, "columns": 2}
    told: Spec = {
        "field": "label",
        "type": "nominal",
        "legend": {**place, "symbolType": "stroke", **MARK},
    }
    each = range(len(labels))
    colours = [COLOURS[i % len(COLOURS)] for i in each]
    dashes = [DASHES[i % len(DASHES)] for i in each]
    return {
        "color": {**told, "scale": {"domain": list(labels), "range": colours}},
        "strokeDash": {**told, "scale": {"domain": list(labels), "range": dashes}},
    }


def tooltip(**fields: str) -> list[Spec]:
    """What is shown where the pointer is: title by field; numbers come as texts."""
    return [{"field": field, "type": "nominal", "title": title} for field, title in fields.items()]


def rule(value: float, colour: str, label: str, dash: Sequence[int] = (1, 0)) -> Spec:
    """A vertical line at a value, with its name in the tooltip."""
    return {
        "data": {"values": [{"x": value, "name": label}]},
        "mark": {"type": "rule", "color": colour, "strokeWidth": 2, "strokeDash": list(dash)},
        "encoding": {
            "x": {"field": "x", "type": "quantitative"},
            "tooltip": {"field": "name", "type": "nominal"},
        },
    }


def interval_row(ends: Ends, unit: Unit, domain: tuple[float, float]) -> Spec:
    """An interval as data; an open end lies at the edge of the chart and is marked."""
    inset = 0.012 * (domain[1] - domain[0])
    low = domain[0] + inset if ends.low is None else unit.scale * ends.low
    high = domain[1] - inset if ends.high is None else unit.scale * ends.high
    return {
        "low": low,
        "high": high,
        "open_low": ends.low is None,
        "open_high": ends.high is None,
        "ends": unit.ends(ends),
    }


def over(item: str) -> tuple[str, str]:
    """What the wide and the narrow interval of a population cover, where images are `item`s."""
    return f"chips and {item}s", "chips alone"


def intervals(domain: tuple[float, float], unit: Unit, item: str) -> list[Spec]:
    """The layers that draw rows of `interval_row` as bars, with arrows at open ends.

    Args:
        domain: From where to where the axis goes.
        unit: Of the values.
        item: What one of the images is called.
    """
    axis = metric_axis(unit, "low", scale={"domain": list(domain)}, axis={"grid": True})
    row = {"field": "label", "type": "nominal", "title": None, "sort": None}
    lane = {"field": "kind", "type": "nominal", "sort": list(over(item))}
    bars: list[Spec] = [
        {
            "transform": [{"filter": f"datum.thick == {thick}"}],
            "mark": {"type": "rule", "color": BLUE, "strokeWidth": 9 if thick else 3},
            "encoding": {
                "x": axis,
                "x2": {"field": "high"},
                "y": row,
                "yOffset": lane,
                "tooltip": tooltip(label="chips of", kind="95 % interval over", ends="from, to"),
            },
        }
        for thick in (1, 0)
    ]
    return [*bars, *(_arrow(side, row, lane) for side in ("low", "high"))]


MARK: Spec = {"symbolSize": 400, "symbolStrokeWidth": 2.5}
"""Of a legend: strokes long enough to tell dashes apart."""


def _arrow(side: str, row: Spec, lane: Spec) -> Spec:
    turned = "triangle-left" if side == "low" else "triangle-right"
    return {
        "transform": [{"filter": f"datum.open_{side}"}],
        "mark": {"type": "point", "shape": turned, "size": 130, "filled": True, "color": BLUE},
        "encoding": {
            "x": {"field": side, "type": "quantitative"},
            "y": row,
            "yOffset": lane,
            "tooltip": {"value": "open: more chips are needed for this end"},
        },
    }
