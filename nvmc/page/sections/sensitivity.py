"""Which part of the noise costs how much."""

from __future__ import annotations

from collections.abc import Iterator

from nvmc.evaluation.captions import name_of, on_device
from nvmc.evaluation.sensitivity import FEWEST_BELOW, KINDS, PartCost, Sensitivity, row_of
from nvmc.evaluation.sensitivity_words import (
    COLUMNS,
    GAIN,
    KINDS_OF_PARTS,
    LOSS,
    part_cells,
    sensitivity_notes,
)
from nvmc.page.blocks import Block, Chart, Choice, DataTable, Paragraph
from nvmc.page.charts import BLUE, Spec, tooltip
from nvmc.page.report import Report
from nvmc.page.values import Unit, counted
from nvmc.statistics import percentile_index

__all__ = ["sensitivity"]

WHAT = (GAIN, LOSS)
MOST = 30
"""Parts of a kind that are drawn: the dearest."""


def sensitivity(report: Report) -> Iterator[Block]:
    """For each network: what the KPP gains without a part's noise, and loses with it alone."""
    found = report.of(Sensitivity)
    for number, one in enumerate(found, 1):
        where = f"{on_device(one.description)}, " if len(found) > 1 else ""
        yield Paragraph(
            f"{where}{counted(one.kpp.runs, 'chip')}, KPP with k = {one.kpp.k:g}: "
            f"{report.unit.text(one.kpp.value)}. {sensitivity_notes(one)}"
        )
        if percentile_index(one.kpp.runs, one.kpp.k) < FEWEST_BELOW:
            yield Paragraph(
                f"So few chips lie below this KPP that ± may be far too small; {FEWEST_BELOW} or "
                "more make it reliable.",
                "note",
            )
        yield _chart(one, report.unit, number)


def _chart(one: Sensitivity, unit: Unit, number: int) -> Chart:
    kinds = [kind for kind in KINDS if any(cost.part.kind == kind for cost in one.costs)]
    rows: list[Spec] = []
    for i, kind in enumerate(kinds):
        costs = [cost for cost in one.costs if cost.part.kind == kind][:MOST]
        rows += [row for cost in costs for row in _rows(i, cost, unit)]
    points = "percentage points of KPP" if unit.percent else f"KPP [{unit.name}]"
    what = {
        "field": "what",
        "type": "nominal",
        "scale": {"domain": list(WHAT), "range": [BLUE, "#d9772b"]},
        "legend": {"orient": "top", "title": None},
    }
    y = {
        "field": "name",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"labelLimit": 150},
    }
    offset = {"field": "what", "type": "nominal", "sort": list(WHAT)}
    told = tooltip(name="part", what="", text=points)
    spec: Spec = {
        "data": {"values": rows},
        "transform": [{"filter": "datum.i == kind"}],
        "layer": [
            {
                "mark": {"type": "bar"},
                "encoding": {
                    "x": {"field": "value", "type": "quantitative", "title": points},
                    "y": y,
                    "yOffset": offset,
                    "color": what,
                    "tooltip": told,
                },
            },
            {
                "mark": {"type": "rule", "color": "#8a8f98", "strokeWidth": 1.5},
                "encoding": {
                    "x": {"field": "low", "type": "quantitative"},
                    "x2": {"field": "high"},
                    "y": y,
                    "yOffset": offset,
                },
            },
        ],
    }
    most = max(sum(row["i"] == i for row in rows) for i in range(len(kinds)))
    choices = (Choice("Parts", "kind", tuple(KINDS_OF_PARTS[kind] for kind in kinds)),)
    dearest = max(one.costs, key=lambda cost: cost.cost.kpp)
    if dearest.cost.kpp > 0:
        summary = (
            f"The largest gain is that of {dearest.part.kind} {dearest.part.name}: "
            f"{unit.bare(dearest.cost.kpp)} {points}."
        )
    else:
        summary = "No part gains: without the noise of any one of them the KPP is no better."
    title = "What the KPP gains where a part has no noise, and loses where it alone has"
    table = _table(one, unit, number)
    return Chart(f"sensitivity-{number}", title, summary, spec, table, choices, 60 + 16 * most)


def _rows(i: int, cost: PartCost, unit: Unit) -> Iterator[Spec]:
    for what, found in zip(WHAT, (cost.cost, cost.cost_alone), strict=True):
        value, error = unit.scale * found.kpp, unit.scale * found.kpp_error
        yield {
            "i": i,
            "name": cost.part.name,
            "what": what,
            "value": value,
            "low": value - error,
            "high": value + error,
            "text": f"{unit.bare(found.kpp)} ± {unit.bare(found.kpp_error)}",
        }


def _table(one: Sensitivity, unit: Unit, number: int) -> DataTable:
    columns = ("kind", "part", *COLUMNS)
    metric = one.description.metric
    lines = [(c.part.kind, c.part.name, *part_cells(metric, c)) for c in one.costs]
    rows = [{"network": name_of(one.description), **row_of(cost)} for cost in one.costs]
    return DataTable.of(f"parts-{number}", "Parts of the noise", columns, lines, rows)
