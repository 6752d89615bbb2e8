"""Results as figures: what each hands to its picture in `nvmc.report`, and the lines above it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nvmc.data.items import counted_items
from nvmc.evaluation.description import Description, in_common
from nvmc.evaluation.parameters import PARAMETERS, Setup, Value, duration_text, label_of
from nvmc.evaluation.tabulated import name_of
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
    "title_of",
]

MAX_TICKS = 12
"""Values along an axis up to which each is written there."""


def title_of(descriptions: Sequence[Description], name: str | None = None) -> list[str]:
    """Two lines: the network on its cells, and the chips on their data; what all agree in.

    Args:
        descriptions: Of one population or of several.
        name: What to call the networks, instead of the name of the first.
    """
    first = descriptions[0]
    setups = [one.setup for one in descriptions]
    devices = dict.fromkeys(setup.target.device.name for setup in setups)
    cells = [f"{name or name_of(first)} on {' and '.join(devices)}"]
    for told in map(_setup_facts, zip(*map(_facts_of, setups), strict=True)):
        cells += told
    chips = f"{first.runs:,} chip{'' if first.runs == 1 else 's'}, seed {first.seed}"
    items = counted_items(first.images, first.data)
    return [", ".join(cells), f"{chips}; {items} of {first.data}"]


def _facts_of(setup: Setup) -> tuple[str, ...]:
    """What a title may say of a setup, a text each; empty where there is nothing to say."""
    strength, age, periphery = setup.strength, setup.age, setup.target.periphery
    bits = (("DAC", periphery.dac_bits), ("ADC", periphery.adc_bits))
    return (
        "" if strength is None else f"σ = {strength:g}",
        "" if age is None else f"{duration_text(age)} after programming",
        *("" if found is None else f"{found}-bit {kind}" for kind, found in bits),
        *(f"compensated by {one.type}" for one in setup.compensate[:1]),
    )


def _setup_facts(texts: tuple[str, ...]) -> list[str]:
    """A text that is the same in all setups."""
    return [texts[0]] if texts[0] and len(set(texts)) == 1 else []


def draw_simulation(result: Simulation, path: str | Path | Sheet, style: str) -> Path:
    """A histogram for each time; see `draw_histogram`."""
    known, described = find_metric(result.metric), result.description
    sheet = as_sheet(path, style, described.to_json())
    lines = title_of([described])
    if len(result.times) > 1 and described.setup.age is not None:
        age = f", {duration_text(described.setup.age)} after programming"
        lines[0] = lines[0].replace(age, "")
    labels = ["" if at.time_s is None else duration_text(at.time_s) for at in result.times]
    draw_histogram(
        sheet,
        lines,
        short_of(result.metric),
        result.ideal,
        described.images if known is not None and known.counts else None,
        [
            Sample(label if len(labels) > 1 else "", at.values, at.kpp, at.summary)
            for label, at in zip(labels, result.times, strict=True)
        ],
        percent=in_percent(result.metric),
    )
    return sheet.path


def draw_sweep(result: Sweep, path: str | Path | Sheet, style: str) -> Path:
    """Curves over the first axis, one for each value of the second; see `draw_curves`."""
    sheet = as_sheet(path, style, result.shared)
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
    )
    return sheet.path


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


def draw_comparison(result: Comparison, path: str | Path | Sheet, style: str) -> Path:
    """The spread of each network's chips, and their KPPs; see `draw_overlay`."""
    told: list[Any] = [one.description for one in result.networks]
    sheet = as_sheet(path, style, in_common(told))
    names = dict.fromkeys(map(name_of, told))
    draw_overlay(
        sheet,
        title_of(told, " and ".join(names) if len(names) < 4 else f"{len(names)} networks"),
        short_of(result.metric),
        [Overlaid(one.label, one.values, one.kpp) for one in result.networks],
        percent=in_percent(result.metric),
    )
    return sheet.path


def draw_sensitivities(result: Sensitivity, path: str | Path | Sheet, style: str) -> Path:
    """What the noise of each part costs; see `draw_sensitivity`."""
    described = result.description
    sheet = as_sheet(path, style, described.to_json())
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
    draw_sensitivity(sheet, title_of([described]), what, bars, 100.0 if percent else 1.0)
    return sheet.path
