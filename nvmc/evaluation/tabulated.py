"""What results show of themselves: lines, tables for people, and rows for programs.

The types of results call this; numbers of rows are as they are, those of tables rounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nvmc.data.items import item_of
from nvmc.data.shifts import Shift
from nvmc.evaluation.captions import name_of, of_text
from nvmc.evaluation.parameters import PARAMETERS, duration_text
from nvmc.metrics.values import bare_text, bound_text, ends_text, in_percent, short_of, value_text
from nvmc.statistics import Ends, Kpp, Summary, Yield
from nvmc.tables import Cell, Table

if TYPE_CHECKING:
    from nvmc.evaluation.description import Description
    from nvmc.evaluation.result import Simulation
    from nvmc.evaluation.sweep import Point, Sweep

__all__ = [
    "kpp_text",
    "place_of",
    "point_rows",
    "shift_records",
    "shift_table",
    "simulation_rows",
    "simulation_table",
    "sweep_table",
]


def kpp_text(metric: str, kpp: Kpp) -> str:
    """`KPP (k = 1) 93.41 %, interval at most 94.73 %`."""
    unit = " %" if in_percent(metric) else ""
    ends = "open" if _unknown(kpp.interval) else f"{ends_text(metric, kpp.interval)}{unit}"
    text = f"KPP (k = {kpp.k:g}) of {short_of(metric)} {value_text(metric, kpp.value)}"
    return f"{text}, {kpp.confidence:.0%} interval {ends}"


def _unknown(ends: Ends) -> bool:
    return ends.low is None and ends.high is None


def _worth(
    metric: str, ideal: float, summary: Summary, kpp: Kpp, reached: Yield | None, data: str
) -> Any:
    """Quantities and their texts of one population, in the order in which people read them."""
    own = f"  {kpp.confidence:.0%} interval"
    spread = "" if summary.std is None else f" ± {bare_text(metric, summary.std)}"
    found = {
        "ideal chip": bare_text(metric, ideal),
        "mean ± deviation over chips": f"{bare_text(metric, summary.mean)}{spread}",
        "worst chip": bare_text(metric, summary.worst),
        f"KPP, k = {kpp.k:g}": bare_text(metric, kpp.value),
    }
    if kpp.covers == "chips and images":
        found[f"{own}, chips and {item_of(data)}s"] = ends_text(metric, kpp.interval)
    found[f"{own}, these {item_of(data)}s"] = ends_text(metric, kpp.chips_alone)
    if reached is not None:
        reach = "stay within" if reached.less_is_better else "reach"
        share = "open" if reached.value is None else f"{100 * reached.value:.1f} %"
        ends = f"{100 * reached.low:.1f} to {100 * reached.high:.1f} %"
        found[f"chips that {reach} {bound_text(metric, reached.goal)}"] = share
        found[f"  {reached.confidence:.0%} interval of that"] = ends
    return found


def _head(metric: str) -> str:
    return f"{short_of(metric)} [%]" if in_percent(metric) else short_of(metric)


def simulation_table(result: Simulation) -> Table:
    """A column for each time, quantities below each other."""
    goal, metric = result.goal, result.metric
    columns = [
        _worth(
            metric,
            result.ideal,
            at.summary,
            at.kpp,
            None if goal is None else at.yield_at(goal),
            result.description.data,
        )
        for at in result.times
    ]
    network = name_of(result.description)
    labels = [network if at.time_s is None else duration_text(at.time_s) for at in result.times]
    rows = [(name, *(one[name] for one in columns)) for name in columns[0]]
    several = ("time",) if len(columns) > 1 else ()
    caption = of_text(result.description, without=several)
    return Table((_head(metric), *labels), tuple(rows), caption, result.description.notes)


def _numbers(ideal: float, summary: Summary, kpp: Kpp, reached: Yield | None) -> dict[str, Cell]:
    """What a population is worth, as columns of CSV."""
    found: dict[str, Cell] = {
        "ideal": ideal,
        "mean": summary.mean,
        "std": summary.std,
        "min": summary.min,
        "max": summary.max,
        "k": kpp.k,
        "kpp": kpp.value,
        "kpp_is_worst": str(kpp.is_worst).lower(),
        "kpp_low": kpp.interval.low,
        "kpp_high": kpp.interval.high,
        "kpp_covers": kpp.covers,
        "kpp_low_chips_alone": kpp.chips_alone.low,
        "kpp_high_chips_alone": kpp.chips_alone.high,
        "confidence": kpp.confidence,
    }
    if reached is not None:
        ends = {"yield_low": reached.low, "yield_high": reached.high}
        found |= {"goal": reached.goal, "yield": reached.value, **ends}
    return found


def simulation_rows(result: Simulation) -> Iterator[dict[str, Cell]]:
    """A row for each time."""
    of, goal = result.description, result.goal
    for at in result.times:
        reached = None if goal is None else at.yield_at(goal)
        yield {
            "network": of.network,
            "network_sha256": of.network_sha256,
            "device": of.setup.target.device.name,
            "sigma": of.setup.strength,
            "data": of.data,
            "metric": result.metric,
            "images": of.images,
            "runs": len(at.values),
            "seed": of.seed,
            "first": of.first,
            "time_s": at.time_s,
            **_numbers(result.ideal, at.summary, at.kpp, reached),
        }


def sweep_table(result: Sweep) -> Table:
    """A row for each point."""
    metric, kpp, data = result.metric, result.points[0].kpp, result.points[0].description.data
    own = f"{kpp.confidence:.0%} interval"
    both = kpp.covers == "chips and images"
    reached = result.points[0].reached
    goal = [] if reached is None else [f"reach {bound_text(metric, reached.goal)}"]
    columns = (
        *result.axes,
        "ideal",
        "mean",
        "std",
        "worst",
        f"KPP {kpp.k:g}",
        *([own] if both else []),
        f"these {item_of(data)}s" if both else own,
        *goal,
    )
    rows = tuple(tuple(_point_cells(point, result.axes, metric)) for point in result.points)
    of = of_text(*(point.description for point in result.points))
    notes = result.points[0].description.notes
    return Table(columns, rows, f"{of}; values are {_head(metric)}", notes)


def _point_cells(point: Point, axes: tuple[str, ...], metric: str) -> list[str]:
    summary, kpp = point.summary, point.kpp
    values = (point.ideal, summary.mean, summary.std, summary.worst, kpp.value)
    cells = [point.at[name].text for name in axes]
    cells += ["" if value is None else bare_text(metric, value) for value in values]
    if kpp.covers == "chips and images":
        cells.append(ends_text(metric, kpp.interval))
    cells.append(ends_text(metric, kpp.chips_alone))
    if point.reached is not None:
        share = point.reached.value
        cells.append("open" if share is None else f"{100 * share:.1f} %")
    return cells


def point_rows(result: Sweep) -> Iterator[dict[str, Cell]]:
    """A row for each point: parameters, and what the chips are worth there."""
    for point in result.points:
        yield {
            **place_of(point),
            **_numbers(point.ideal, point.summary, point.kpp, point.reached),
        }


def place_of(point: Point) -> dict[str, Cell]:
    """The parameters' columns; `none` where a parameter is switched off."""
    return {
        PARAMETERS[name].column: "none" if value.number is None else value.number
        for name, value in point.at.items()
    }


class _Shifted(Protocol):
    """A row of either kind of uncertainty."""

    @property
    def shift(self) -> Shift: ...

    def values(self, name: str) -> NDArray[np.float64]: ...


def shift_records(rows: Sequence[_Shifted], names: Sequence[str]) -> Iterator[dict[str, Cell]]:
    """A row for each shift: mean and standard deviation over chips of every measure."""
    for row in rows:
        found: dict[str, Cell] = dict(asdict(row.shift))
        for name in names:
            values = row.values(name)
            found[name] = float(values.mean())
            found[f"{name}_std"] = float(values.std(ddof=1)) if len(values) > 1 else None
        yield found


def shift_table(rows: Sequence[_Shifted], names: Sequence[str], told: Description) -> Table:
    """A row for each shift: means over chips.

    Args:
        rows: By shift.
        names: Measures.
        told: What they are of.
    """
    cells = tuple(
        (
            f"{row.shift.kind} {row.shift.strength:g}",
            *(f"{row.values(name).mean():.3g}" for name in names),
        )
        for row in rows
    )
    return Table(("shift", *names), cells, f"{of_text(told)}; means over chips", told.notes)
