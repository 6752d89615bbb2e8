"""Whether chips know when they do not know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.data.items import item_of
from nvmc.data.shifts import KINDS, Shift
from nvmc.evaluation.captions import on_device
from nvmc.evaluation.doubts import Row
from nvmc.evaluation.uncertainty import Measures, Uncertainty
from nvmc.evaluation.value_uncertainty import ValueMeasures, ValueUncertainty
from nvmc.page.blocks import Block, Chart, DataTable, Paragraph
from nvmc.page.charts import Spec, lines, tooltip
from nvmc.page.report import Report
from nvmc.page.values import counted

__all__ = ["uncertainty"]

MEASURES = {
    "accuracy": ("accuracy [%]", 100),
    "nll": ("NLL [nats]", 1),
    "variance": ("predictive variance", 1),
    "calibration_error": ("calibration error [%]", 100),
    "detected": ("detected [%]", 100),
    "detected_predicted": ("detected without labels [%]", 100),
}
VALUE_MEASURES = {
    "rmse": ("RMSE", 1),
    "nll": ("NLL [nats]", 1),
    "coverage": ("in 90 % intervals [%]", 100),
    "calibration_error": ("calibration error [%]", 100),
    "deviation": ("predicted deviation", 1),
    "spread": ("spread over passes", 1),
}
DRAWN = ("accuracy", "detected", "detected_predicted")
AXES = {"rotation": "rotation [degrees]", "noise": "noise [share of the range]"}

Rows = Sequence[Row[Measures] | Row[ValueMeasures]]


def uncertainty(report: Report) -> Iterator[Block]:
    """For each network: measures on the images, and on images moved away from them."""
    found = [*report.of(Uncertainty), *report.of(ValueUncertainty)]
    for number, one in enumerate(found, 1):
        told = one.description
        items = f"{item_of(told.data)}s"
        where = f"{on_device(told)}, " if len(found) > 1 else ""
        passes = told.mc_passes
        drawn = (
            "one pass, since the network has no random layers"
            if passes is None
            else f"{passes} passes"
        )
        chips = counted(len(one.rows[0].chips), "chip")
        yield Paragraph(f"{where}{chips}, {drawn}. ± is the standard deviation over chips.")
        if isinstance(one, Uncertainty):
            yield Paragraph(
                f"Detected: {items} whose negative log-likelihood (NLL) is above the chip's mean "
                f"on the {items} as they are (for these: false alarms)."
            )
            yield from _charts(one, number)
            yield _table(one.rows, MEASURES, number, items)
        else:
            yield _table(one.rows, VALUE_MEASURES, number, items)


def _shift(shift: Shift) -> str:
    names = {
        "none": "as they are",
        "rotation": f"turned by {shift.strength:g}°",
        "noise": f"noise {shift.strength:g}",
    }
    return names[shift.kind]


def _spread(values: NDArray[np.float64], scale: float) -> str:
    std = f" ± {scale * values.std(ddof=1):.3g}" if len(values) > 1 else ""
    return f"{scale * values.mean():.4g}{std}"


def _table(
    rows: Rows, measures: Mapping[str, tuple[str, float]], number: int, items: str
) -> DataTable:
    lines = [
        (_shift(row.shift), *(_spread(row.values(n), scale) for n, (_, scale) in measures.items()))
        for row in rows
    ]
    machine: list[dict[str, Any]] = []
    for row in rows:
        cells: dict[str, Any] = {"shift": row.shift.kind, "strength": row.shift.strength}
        for name in measures:
            values = row.values(name)
            cells[name] = float(values.mean())
            cells[f"{name}_std"] = float(values.std(ddof=1)) if len(values) > 1 else None
        machine.append(cells)
    columns = (items, *(title for title, _ in measures.values()))
    title = f"Measures by shift of the {items}"
    return DataTable.of(f"doubts-{number}", title, columns, lines, machine, open=True)


def _charts(one: Uncertainty, number: int) -> Iterator[Chart]:
    for kind in KINDS:
        rows = [row for row in one.rows if row.shift.kind in ("none", kind)]
        if len(rows) > 1:
            yield _chart(rows, kind, number)


def _chart(rows: list[Row[Measures]], kind: str, number: int) -> Chart:
    labels = [_label(name) for name in DRAWN]
    data = [_point(name, row) for name in DRAWN for row in rows]
    x = {"field": "x", "type": "quantitative", "title": AXES[kind], "scale": {"nice": False}}
    look = lines(labels)
    spec: Spec = {
        "data": {"values": data},
        "layer": [
            {
                "mark": {"type": "area", "opacity": 0.18},
                "encoding": {
                    "x": x,
                    "y": {"field": "low", "type": "quantitative", "title": "share of images [%]"},
                    "y2": {"field": "high"},
                    "color": look["color"],
                },
            },
            {
                "mark": {"type": "line", "strokeWidth": 2.5},
                "encoding": {
                    "x": x,
                    "y": {"field": "y", "type": "quantitative"},
                    **look,
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 45},
                "encoding": {
                    "x": x,
                    "y": {"field": "y", "type": "quantitative"},
                    "color": look["color"],
                    "tooltip": tooltip(label="", images="images", text="of the images"),
                },
            },
        ],
    }
    texts = [(str(p["label"]), str(p["images"]), str(p["text"])) for p in data]
    name = f"doubt-{kind}-{number}"
    table = DataTable.of(
        f"{name}-points", f"Shares of images, {kind}", ("", "images", "share"), texts
    )
    first, last = rows[0].mean("accuracy"), rows[-1].mean("accuracy")
    summary = (
        f"Accuracy falls from {100 * first:.1f} % to {100 * last:.1f} %, and "
        f"{100 * rows[-1].mean('detected'):.1f} % of the images moved furthest are detected."
        if last < first
        else f"Accuracy goes from {100 * first:.1f} % to {100 * last:.1f} %."
    )
    return Chart(name, f"Images moved away: {kind}", summary, spec, table, height=280)


def _label(name: str) -> str:
    return MEASURES[name][0].removesuffix(" [%]")


def _point(name: str, row: Row[Measures]) -> Spec:
    values = 100 * row.values(name)
    std = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    mean = float(values.mean())
    return {
        "label": _label(name),
        "x": row.shift.strength,
        "y": mean,
        "low": mean - std,
        "high": mean + std,
        "images": _shift(row.shift),
        "text": _spread(row.values(name), 100) + " %",
    }
