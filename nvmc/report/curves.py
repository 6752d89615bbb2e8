"""The picture of a sweep: mean and k-th percentile performance over a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nvmc.report.figure import GREY, INK, figure_in, heading, shades, style
from nvmc.statistics import Covers, Kpp

__all__ = ["Axis", "Curve", "draw_curves"]


_COVERS: dict[Covers, str] = {
    "chips and images": "chips and images",
    "chips": "chips alone,\non these images",
}


@dataclass(frozen=True)
class Axis:
    """The parameter along x.

    Attributes:
        label: Its name and unit.
        positions: Where its values stand, in any order; shape (points,).
        texts: What is written there; none for numbers at round places.
        logarithmic: Whether positions are spaced by ratio.
    """

    label: str
    positions: Sequence[float]
    texts: Sequence[str] | None = None
    logarithmic: bool = False


@dataclass(frozen=True)
class Curve:
    """One line of a sweep; values are shares of one (1 is 100 %), or in a unit of their own.

    Attributes:
        label: What sets it apart; empty for the only one.
        mean: Mean over chips at each position of the axis.
        kpp: K-th percentile performance there.
        ideal: The ideal chip's value there.
    """

    label: str
    mean: Sequence[float]
    kpp: Sequence[Kpp]
    ideal: Sequence[float]


def draw_curves(
    path: Path,
    lines: Sequence[str],
    metric: str,
    axis: Axis,
    curves: Sequence[Curve],
    legend: str = "",
    percent: bool = True,
) -> None:
    """Write the picture of a sweep to `path`.

    Each curve has its k-th percentile performance as a solid line in a band, its interval; the
    mean dashed; the ideal chip dotted. Where the runs do not support the lower end of an
    interval the band ends at the line, and the legend says how many runs would close it.

    Args:
        path: The file; its suffix says the format, as in `figure_in`.
        lines: What the sweep is of, above the curves.
        metric: What is on the y axis.
        axis: What is on the x axis.
        curves: One for each value of the second parameter.
        legend: Name and unit of the second parameter.
        percent: Whether values are shares, drawn in percent; else in their own unit.

    Raises:
        OptionError, ArtifactError: As `nvmc.report.figure.figure_in` does.
    """
    order = sorted(range(len(axis.positions)), key=lambda i: axis.positions[i])
    where = [axis.positions[i] for i in order]
    scale = 100 if percent else 1
    height = max(4.4, 3.2 + 0.17 * len(curves))  # room for both legends, one above the other
    with figure_in(path, width=8.4, height=height) as figure:
        axes: Any = figure.add_subplot()
        heading(figure, lines)
        style(axes, "", axis.label, f"{metric} [%]" if percent else metric)
        if axis.logarithmic:
            axes.set_xscale("log")
        if axis.texts is not None:
            axes.set_xticks(where, [axis.texts[i] for i in order])
            axes.set_xticks([], minor=True)
        one_ideal = len({tuple(curve.ideal) for curve in curves}) == 1
        for curve, colour in zip(curves, shades(len(curves)), strict=True):
            _draw(axes, where, order, curve, colour, GREY if one_ideal else colour, scale)
        _legends(axes, curves, legend)


def _draw(
    axes: Any,
    where: list[float],
    order: list[int],
    curve: Curve,
    colour: Any,
    ideal_colour: Any,
    scale: int,
) -> None:
    mark = "o" if len(where) < 30 else ""
    kpp = [curve.kpp[i] for i in order]
    ends = [k.interval for k in kpp]
    low = [scale * (k.value if e.low is None else e.low) for k, e in zip(kpp, ends, strict=True)]
    high = [scale * (k.value if e.high is None else e.high) for k, e in zip(kpp, ends, strict=True)]
    mean, ideal = (scale * np.asarray(line)[order] for line in (curve.mean, curve.ideal))
    axes.fill_between(where, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(where, ideal, color=ideal_colour, linestyle=":", linewidth=1.2)
    axes.plot(where, mean, color=colour, linestyle="--", linewidth=1.4, marker=mark, markersize=3)
    axes.plot(where, [scale * k.value for k in kpp], color=colour, marker=mark, markersize=4)


def _worst(kpp: Kpp) -> str:
    return "\n(the worst chip)" if kpp.is_worst else ""


def _legends(axes: Any, curves: Sequence[Curve], legend: str) -> None:
    """Beside the plot: what the line styles mean, and what the colours do."""
    lines = axes.get_lines()
    kpp = [k for curve in curves for k in curve.kpp]
    intervals = [k.interval for k in kpp]
    open_low, open_high = (any(getattr(i, e) is None for i in intervals) for e in ("low", "high"))
    ends = {(True, False): "lower end", (False, True): "upper end", (True, True): "ends"}
    band = f"its {kpp[0].confidence:.0%} interval:\n{_COVERS[kpp[0].covers]}"
    if (open_low, open_high) in ends:
        band += f"\n({ends[open_low, open_high]} open:\n{intervals[0].runs_needed} runs close it)"
    ideal, mean, worst = lines[:3]
    handles: list[Any] = [worst, axes.collections[0], mean, ideal]
    texts = [f"KPP, k = {kpp[0].k:g}{_worst(kpp[0])}", band, "mean", "ideal chip"]
    look = {"fontsize": 8, "title_fontsize": 8, "frameon": False, "labelcolor": INK}
    look["alignment"] = "left"
    beside = {"loc": "upper left", "borderaxespad": 0.0}
    if len(curves) == 1:
        axes.legend(handles, texts, bbox_to_anchor=(1.02, 1.0), **beside, **look)
        return
    names = [curve.label for curve in curves]
    colours = lines[2::3]
    first = axes.legend(colours, names, title=legend, bbox_to_anchor=(1.02, 1.0), **beside, **look)
    axes.add_artist(first)
    first.set_clip_on(False)  # the layout leaves no room for what is clipped to the axes
    beside["loc"] = "lower left"
    styles = axes.legend(handles, texts, bbox_to_anchor=(1.02, 0.0), **beside, **look)
    for handle in styles.legend_handles:
        handle.set_color(GREY)
        handle.set_alpha(0.35 if handle is styles.legend_handles[1] else 1.0)
