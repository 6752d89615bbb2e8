"""What results show of themselves: lines, tables for people, and rows for programs.

The types of results call this; numbers of rows are as they are, those of tables rounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nvmc.data.items import counted_items, item_of
from nvmc.data.shifts import Shift
from nvmc.evaluation.description import Description, noise_text
from nvmc.evaluation.parameters import PARAMETERS, duration_text
from nvmc.metrics.values import bare_text, bound_text, ends_text, in_percent, short_of, value_text
from nvmc.statistics import Ends, Kpp, Summary, Yield
from nvmc.tables import Cell, Table

if TYPE_CHECKING:
    from nvmc.evaluation.result import Simulation
    from nvmc.evaluation.sensitivity import Difference, Sensitivity
    from nvmc.evaluation.sweep import Point, Sweep

__all__ = [
    "counts_of",
    "kpp_text",
    "name_of",
    "noise_of",
    "of_text",
    "place_of",
    "point_rows",
    "sensitivity_table",
    "shift_records",
    "shift_table",
    "simulation_rows",
    "simulation_table",
    "sweep_table",
]


def name_of(description: Description) -> str:
    """The network's name, without the suffix of its folder."""
    return description.network.removesuffix(".nvmc")


NOISE_WIDTH = 60
"""Characters that noise sources may have in a line; of longer ones only the kinds are named."""


def noise_of(description: Description, time: bool = True) -> str:
    """What makes chips differ: `sigma 0.3, 1 h since programming, noise lognormal`.

    Args:
        description: Of the chips.
        time: Whether to say the time since programming, where it counts.
    """
    setup, noise = description.setup, description.to_json()["noise"]
    parts = [] if setup.strength is None else [f"sigma {setup.strength:g}"]
    if time and setup.age is not None:
        parts.append(f"{duration_text(setup.age)} since programming")
    sources = ", ".join(map(noise_text, noise)) or "none"
    if len(sources) > NOISE_WIDTH:
        sources = ", ".join(dict.fromkeys(source["type"] for source in noise))
    return ", ".join([*parts, f"noise {sources}"])


def of_text(description: Description, noise: str = "") -> str:
    """What a result is of: `lenet5 on rram4, 300 chips, 531 images of digits`.

    Args:
        description: Of the chips.
        noise: What makes them differ, in words; empty where that is said elsewhere.
    """
    of = f"{name_of(description)} on {description.setup.target.device.name}"
    return ", ".join(filter(None, (of, noise, counts_of(description))))


def counts_of(description: Description) -> str:
    """On how much a result rests: `300 chips, 531 images of digits`."""
    runs, data = description.runs, description.data
    chips = f"{runs:,} chip{'' if runs == 1 else 's'}"
    return f"{chips}, {counted_items(description.images, data)} of {data}"


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
    of = result.description
    caption = f"{of_text(of, noise_of(of, time=len(columns) == 1))}, seed {of.seed}"
    return Table((_head(metric), *labels), tuple(rows), caption)


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
    return Table(columns, rows, "; ".join((f"Values are {_head(metric)}", *result.constants)))


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


def sensitivity_table(result: Sensitivity) -> Table:
    """A row for each part."""
    metric = result.description.metric
    rows = tuple(
        (
            f"{one.part.kind} {one.part.name}",
            bare_text(metric, one.kpp_without),
            _difference(metric, one.cost),
            bare_text(metric, one.kpp_alone),
            _difference(metric, one.cost_alone),
        )
        for one in result.costs
    )
    head = ("part", "without it", "that gains", "it alone", "that loses")
    caption = f"KPP of {_head(metric)} without the part's noise, and with it alone"
    return Table(head, rows, caption)


def _difference(metric: str, difference: Difference) -> str:
    return f"{bare_text(metric, difference.kpp)} ± {bare_text(metric, difference.kpp_error)}"


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


def shift_table(rows: Sequence[_Shifted], names: Sequence[str]) -> Table:
    """A row for each shift: means over chips."""
    cells = tuple(
        (
            f"{row.shift.kind} {row.shift.strength:g}",
            *(f"{row.values(name).mean():.3g}" for name in names),
        )
        for row in rows
    )
    return Table(("shift", *names), cells, "Means over chips")
