"""Results as figures: what each hands to its picture in `nvmc.report`, and the lines above it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nvmc.data.items import item_of
from nvmc.evaluation.captions import title_of
from nvmc.evaluation.description import in_common
from nvmc.evaluation.parameters import PARAMETERS, Value, duration_text, label_of
from nvmc.evaluation.sensitivity_words import GAIN, KINDS_OF_PARTS, LOSS
from nvmc.hardware.devices import Device
from nvmc.metrics import find_metric
from nvmc.metrics.values import in_percent, short_of
from nvmc.report.curves import Axis, Curve, draw_curves
from nvmc.report.figure import Sheet, as_sheet
from nvmc.report.histogram import Sample, draw_histogram
from nvmc.report.overlay import Overlaid, draw_overlay
from nvmc.report.sensitivity_picture import Bar, draw_sensitivity

if TYPE_CHECKING:
    from nvmc.evaluation.comparison import Comparison
    from nvmc.evaluation.result import Simulation
    from nvmc.evaluation.sensitivity import Sensitivity
    from nvmc.evaluation.sweep import Point, Sweep

__all__ = [
    "draw_comparison",
    "draw_sensitivities",
    "draw_simulation",
    "draw_sweep",
]

MAX_TICKS = 12
"""Values along an axis up to which each is written there."""


def draw_simulation(result: Simulation, sheet: Sheet) -> None:
    """A histogram for each time; see `draw_histogram`."""
    known, described = find_metric(result.metric), result.description
    several = ("time",) if len(result.times) > 1 else ()
    labels = ["" if at.time_s is None else duration_text(at.time_s) for at in result.times]
    draw_histogram(
        as_sheet(sheet, about=described.to_json()),
        title_of([described], without=several),
        short_of(result.metric),
        result.ideal,
        described.images if known is not None and known.counts else None,
        [
            Sample(label if len(labels) > 1 else "", at.values, at.kpp, at.summary)
            for label, at in zip(labels, result.times, strict=True)
        ],
        percent=in_percent(result.metric),
        item=item_of(described.data),
        bounds=(0.0, 1.0) if known is None else known.range,
    )


def draw_sweep(result: Sweep, sheet: Sheet) -> None:
    """Curves over the first axis, one for each value of the second; see `draw_curves`."""
    sheet = as_sheet(sheet, about=result.shared)
    first, *second = result.axes
    curves, device = result.curves(), result.points[0].description.setup.target.device
    draw_curves(
        sheet,
        title_of([point.description for point in result.points]),
        short_of(result.metric),
        _axis(first, [point.at[first] for point in curves[0]], device),
        [_curve(curve, second[0] if second else None) for curve in curves],
        label_of(second[0], device) if second else "",
        percent=in_percent(result.metric),
        item=item_of(result.points[0].description.data),
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


def draw_comparison(result: Comparison, sheet: Sheet) -> None:
    """The spread of each network's chips, and their KPPs; see `draw_overlay`."""
    told: list[Any] = [one.description for one in result.networks]
    sheet = as_sheet(sheet, about=in_common(told))
    draw_overlay(
        sheet,
        title_of(told, [one.label for one in result.networks]),
        short_of(result.metric),
        [Overlaid(one.label, one.values, one.kpp) for one in result.networks],
        percent=in_percent(result.metric),
        item=item_of(told[0].data),
    )


def draw_sensitivities(result: Sensitivity, sheet: Sheet) -> None:
    """What the noise of each part costs; see `draw_sensitivity`."""
    described = result.description
    sheet = as_sheet(sheet, about=described.to_json())
    bars = [
        Bar(
            one.part.kind,
            one.part.name,
            (one.cost.kpp, one.cost.kpp_error),
            (one.cost_alone.kpp, one.cost_alone.kpp_error),
        )
        for one in result.costs
    ]
    percent = in_percent(described.metric)
    unit = "percentage points" if percent else short_of(described.metric)
    what = f"change of the KPP (k = {result.kpp.k:g}) of {short_of(described.metric)} [{unit}]"
    draw_sensitivity(
        sheet,
        title_of([described]),
        what,
        bars,
        100.0 if percent else 1.0,
        KINDS_OF_PARTS,
        (GAIN, LOSS),
    )
