"""A picture of an exploration: what designs cost against what their chips are sure to reach."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nvmc.report.figure import (
    BLUE,
    GREY,
    INK,
    RED,
    Sheet,
    Style,
    as_sheet,
    figure_in,
    heading,
    legend,
    style,
)

__all__ = ["draw_front"]

_LABELS = {
    "energy_j": "energy per inference [J]",
    "latency_s": "latency [s]",
    "interval_s": "interval between inferences [s]",
    "area_mm2": "area [mm²]",
}


def draw_front(found: Mapping[str, Any], path: Path | Sheet) -> None:
    """Draw an exploration into a file.

    Each design of the front has its band as a bar. Designs that are beaten or miss the goal stand
    at the most that their lower end could still be.

    Args:
        found: `nvmc.explore.result.Exploration.to_json`.
        path: The file.

    Raises:
        OptionError: matplotlib is not installed.
        ArtifactError: `path` cannot be written.
    """
    hardware, quantity = found["hardware"][0], found["minimise"][0]
    sheet = as_sheet(path)
    look = sheet.style
    with figure_in(sheet, 8.0, 4.8, narrow=3.4) as figure:
        axes: Any = figure.add_subplot()
        lines = [
            f"{found['title'] or 'designs'}: {found['combinations']:,} combinations",
            f"Figures of {hardware} with the bands that published chips give them; lower ends of "
            "95 % intervals",
        ]
        heading(figure, lines)
        of = "KPP" if found["required"]["of"] == "kpp" else "yield"
        style(axes, "", _LABELS[quantity], f"lower end of the {of}'s interval [%]")
        axes.set_xscale("log")
        for kind, colour, mark, label in (
            ("missed", RED, "x", "misses the goal (at most)"),
            ("beaten", GREY, "o", "beaten (at most)"),
        ):
            points = [_point(one, hardware, quantity) for one in found[kind]]
            if points:
                x, y = ([point[i] for point in points] for i in (0, 3))
                axes.scatter(
                    x, y, s=16 * look.scale**2, color=colour, marker=mark, label=label, alpha=0.7
                )
        _draw_front(axes, found, hardware, quantity, look)
        least = 100 * found["required"]["least"]
        axes.axhline(
            least, color=INK, linewidth=1.2 * look.scale, linestyle=":", label=f"goal {least:g} %"
        )
        if look.narrow:
            legend(axes, look)
        else:
            axes.legend(frameon=False, labelcolor=INK, loc="best")


def _draw_front(
    axes: Any, found: Mapping[str, Any], hardware: str, quantity: str, style_of: Style
) -> None:
    points = [_point(one, hardware, quantity) for one in found["front"]]
    if not points:
        return
    x, low, high, y = (list(column) for column in zip(*points, strict=True))
    bars = [
        [a - b for a, b in zip(x, low, strict=True)],
        [b - a for a, b in zip(x, high, strict=True)],
    ]
    look: Any = {"fmt": "s-", "color": BLUE, "elinewidth": 0.8 * style_of.scale, "capsize": 2}
    axes.errorbar(x, y, xerr=[[max(0.0, v) for v in side] for side in bars], **look, label="front")
    for place, (a, b) in enumerate(zip(x, y, strict=True), start=1):
        depends = "*" if found["front"][place - 1]["rank_depends"] else ""
        axes.annotate(
            f"{place}{depends}", (a, b), xytext=(3, 5), textcoords="offset points", color=INK
        )


def _point(one: Mapping[str, Any], hardware: str, quantity: str) -> tuple[float, ...]:
    """Figure, both ends of its band, and the lower end of the interval in percent."""
    figure, end = one["costs"][hardware][quantity], one.get("low", one.get("low_at_most"))
    return figure["value"], figure["low"], figure["high"], 100 * (end or 0.0)
