"""A picture of a schedule: tiles on each core, the layers that lie there, and when each works."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nvmc.report.figure import (
    BLUE,
    GREY,
    INK,
    Sheet,
    as_sheet,
    figure_in,
    heading,
    shades,
    style,
)

__all__ = ["draw_mesh"]

MOST = 30
"""Layers that get a bar of their own, those that work longest; of more, the others are left out."""
LETTERED = 28
"""Cores in a row up to which the number of tiles is written into each."""


def draw_mesh(schedule: Mapping[str, Any], path: Path | Sheet) -> None:
    """Draw a schedule into a file.

    Args:
        schedule: `nvmc.cost.schedule.Schedule` as JSON.
        path: The file.

    Raises:
        OptionError: matplotlib is not installed.
        ArtifactError: `path` cannot be written.
    """
    layers = [node for node in schedule["nodes"] if node["kind"] == "layer"]
    ranked = sorted(layers, key=lambda node: -node["rounds"] * node["round_s"])
    kept = {id(node) for node in ranked[:MOST]}
    drawn = [node for node in layers if id(node) in kept]
    wide, high = schedule["columns"], schedule["rows"]
    tall = 6.2 * high / max(wide, high) + 0.8
    height = 0.9 + max(2 * tall, 0.2 * len(drawn) + 0.8)
    sheet = as_sheet(path)
    narrow = 8.4 + 0.15 * len(drawn)
    with figure_in(sheet, 12.0, min(height, 14.0), narrow=narrow) as figure:
        heading(figure, _heading(schedule))
        if sheet.style.narrow:
            upper, middle, lower = figure.subplots(3, 1)
        else:
            grid = figure.add_gridspec(2, 2, width_ratios=[1.2, 1])
            places = (grid[0, 0], grid[1, 0], grid[:, 1])
            upper, middle, lower = (figure.add_subplot(place) for place in places)
        _tiles(figure, upper, schedule)
        _owners(middle, schedule, layers)
        _times(lower, schedule, drawn, len(layers))


def _heading(schedule: Mapping[str, Any]) -> list[str]:
    used, allowed = schedule["tiles_used"], schedule["tiles"]
    mode = "rows pipelined" if schedule["mode"] == "pipeline" else "layer by layer"
    return [
        f"{schedule['network']} on {schedule['hardware']}, {mode}: {used:,} tiles of {allowed:,} "
        f"allowed, {schedule['tiles_once']:,} for one copy of every layer",
        f"{schedule['bit_hops'] / 8:,.0f} hops x bytes per inference; buffers hold up to "
        f"{schedule['buffer_peak_bits'] / 8192:,.0f} KiB; interval by "
        f"{schedule['interval_bound_by']}",
    ]


def _grid(axes: Any, schedule: Mapping[str, Any], title: str) -> None:
    """Axes in cores, and the borders of chiplets."""
    style(axes, title, "core column", "core row")
    axes.grid(visible=False)
    wide, high = schedule["columns"], schedule["rows"]
    across, down = wide // schedule["chiplet_columns"], high // schedule["chiplet_rows"]
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.get_major_locator().set_params(integer=True)
    for column in range(across, wide, across):
        axes.axvline(column - 0.5, color=INK, linewidth=1.6)
    for row in range(down, high, down):
        axes.axhline(row - 0.5, color=INK, linewidth=1.6)


def _tiles(figure: Any, axes: Any, schedule: Mapping[str, Any]) -> None:
    wide, high = schedule["columns"], schedule["rows"]
    most = schedule["tiles_per_core"]
    values = np.array(schedule["core_tiles"]).reshape(high, wide)
    shown = np.where(values > 0, values, np.nan)
    image = axes.imshow(shown, cmap="viridis", vmin=0, vmax=most)
    _grid(axes, schedule, f"Tiles used on each core (of {most})")
    bar = figure.colorbar(image, ax=axes, shrink=0.7, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=INK)
    if wide <= LETTERED:
        for (row, column), value in np.ndenumerate(values):
            colour = INK if value > 0.6 * most or not value else "white"
            axes.annotate(
                str(value), (column, row), ha="center", va="center", fontsize=6, color=colour
            )


def _owners(axes: Any, schedule: Mapping[str, Any], layers: list[Mapping[str, Any]]) -> None:
    """The layer with most tiles on each core, coloured from the first to the last."""
    place = {name: number for number, node in enumerate(layers) for name in node["arrays"]}
    held = np.zeros((len(layers), len(schedule["core_tiles"])), np.int64)
    for array in schedule["arrays"]:
        for cores in array["cores"]:
            np.add.at(held[place[array["array"]]], cores, 1)
    owner = np.where(held.sum(axis=0) > 0, held.argmax(axis=0), np.nan)
    grid = owner.reshape(schedule["rows"], schedule["columns"])
    axes.imshow(grid, cmap="viridis", vmin=0, vmax=max(1, len(layers) - 1))
    _grid(axes, schedule, "Layer with most tiles on each core, by its number")
    if schedule["columns"] <= LETTERED:
        for (row, column), value in np.ndenumerate(grid):
            if not np.isnan(value):
                colour = INK if value > 0.6 * len(layers) else "white"
                text = str(int(value) + 1)
                axes.annotate(
                    text, (column, row), ha="center", va="center", fontsize=6, color=colour
                )


def _times(
    axes: Any, schedule: Mapping[str, Any], drawn: list[Mapping[str, Any]], layers: int
) -> None:
    """A bar from begin to end of each layer; the numbers are those of the map."""
    latency = schedule["latency_s"]
    scale, unit = next(
        (size, name)
        for size, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
        if latency >= size or size == 1e-9
    )
    numbers = [node["name"] for node in schedule["nodes"] if node["kind"] == "layer"]
    colours = shades(max(2, layers))
    critical = set(schedule["critical_path"])
    for place, node in enumerate(drawn):
        number = numbers.index(node["name"])
        span = (node["rounds"] - 1) * node["step_s"] + node["round_s"]
        axes.barh(
            place,
            span / scale,
            left=node["start_s"] / scale,
            height=0.7,
            color=colours[number] if node["name"] in critical else GREY,
            hatch="" if node["name"] in critical else "////",
            edgecolor="white",
        )
    more = layers - len(drawn)
    title = "When each layer works; hatched: not critical"
    below = f"{unit} of the first inference; dashed: the interval"
    style(axes, title, f"{below}; {more} more layers not drawn" if more else below, "")
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color="#e4e6ea", linewidth=0.8)
    labels = [
        f"{numbers.index(node['name']) + 1} {_short(node['name'])} x{node['copies']}"
        for node in drawn
    ]
    axes.set_yticks(range(len(drawn)), labels, color=INK)
    axes.invert_yaxis()
    axes.axvline(schedule["interval_s"] / scale, color=BLUE, linewidth=1.2, linestyle="--")


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:8]}…{name[-9:]}"
