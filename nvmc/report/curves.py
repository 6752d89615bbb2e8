"""The picture of a sweep: mean and k-th percentile performance over a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nvmc.report.figure import (
    GREY,
    INK,
    LOOKS,
    Sheet,
    Style,
    as_sheet,
    figure_in,
    heading,
    legend,
    shades,
    style,
)
from nvmc.statistics import Covers, Kpp

__all__ = ["Axis", "Curve", "draw_curves"]

ARROW = 2.2
"""Length of the arrows of open ends, in the style's small type."""
NARROW = 50
"""Letters across the plot in a narrow style, about."""
MARKED = 30
"""Points up to which each has a mark."""

_COVERS: dict[Covers, str] = {
    "chips and images": "chips and {}s",
    "chips": "chips alone,\non these {}s",
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
    path: Path | Sheet,
    lines: Sequence[str],
    metric: str,
    axis: Axis,
    curves: Sequence[Curve],
    named: str = "",
    percent: bool = True,
    item: str = "image",
) -> None:
    """Write the picture of a sweep to `path`.

    Each curve has its k-th percentile performance as a solid line in a band, its interval; the
    mean dashed; the ideal chip dotted. Where the runs do not support an end of an interval, an
    arrow points away from the line there instead, and the legend says how many runs close it.

    Args:
        path: The file or sheet, as in `figure_in`.
        lines: What the sweep is of, above the curves.
        metric: What is on the y axis.
        axis: What is on the x axis.
        curves: One for each value of the second parameter.
        named: Name and unit of the second parameter.
        percent: Whether values are shares, drawn in percent; else in their own unit.
        item: What one of the images is called.

    Raises:
        OptionError, ArtifactError: As `nvmc.report.figure.figure_in` does.
    """
    order = sorted(range(len(axis.positions)), key=lambda i: axis.positions[i])
    where = [axis.positions[i] for i in order]
    scale = 100 if percent else 1
    height = max(4.4, 3.2 + 0.17 * len(curves))  # room for both legends, one above the other
    sheet = as_sheet(path)
    look, rows = sheet.style, -(-len(curves) // _columns(curves))
    above = 0.3 + 0.16 * rows if len(curves) > 1 else 0.0
    with figure_in(sheet, 8.4, height, narrow=3.6 + above) as figure:
        axes: Any = figure.add_subplot()
        heading(figure, lines)
        style(axes, "", axis.label, f"{metric} [%]" if percent else metric)
        if axis.logarithmic:
            axes.set_xscale("log")
        if axis.texts is not None:
            axes.set_xticks(where, [axis.texts[i] for i in order])
            axes.set_xticks([], minor=True)
        one_ideal = len({tuple(curve.ideal) for curve in curves}) == 1
        few = len(curves) <= len(LOOKS)
        colours = [look[0] for look in LOOKS[: len(curves)]] if few else shades(len(curves))
        for i, (curve, colour) in enumerate(zip(curves, colours, strict=True)):
            pen = _Pen(colour, GREY if one_ideal else colour, LOOKS[i % len(LOOKS)][2], look.scale)
            _draw(axes, where, order, curve, pen, scale)
        _draw_open(axes, where, order, curves, scale, look)
        _legends(axes, curves, named, look, item)
        _make_room(axes, curves, look)


@dataclass(frozen=True)
class _Pen:
    """How a curve is drawn: its colour, that of its ideal chip, its marker, and how thick."""

    colour: Any
    ideal: Any
    mark: str
    scale: float


def _draw(
    axes: Any, where: list[float], order: list[int], curve: Curve, pen: _Pen, scale: int
) -> None:
    mark = pen.mark if len(where) < MARKED else ""
    kpp = [curve.kpp[i] for i in order]
    ends = [k.interval for k in kpp]
    low = [scale * (k.value if e.low is None else e.low) for k, e in zip(kpp, ends, strict=True)]
    high = [scale * (k.value if e.high is None else e.high) for k, e in zip(kpp, ends, strict=True)]
    mean, ideal = (scale * np.asarray(line)[order] for line in (curve.mean, curve.ideal))
    look, s = {"color": pen.colour, "marker": mark}, pen.scale
    axes.fill_between(where, low, high, color=pen.colour, alpha=0.15, linewidth=0)
    axes.plot(where, ideal, color=pen.ideal, linestyle=":", linewidth=1.2 * s)
    axes.plot(where, mean, linestyle="--", linewidth=1.2 * s, markersize=3 * s, **look)
    axes.plot(where, [scale * k.value for k in kpp], markersize=4.5 * s, **look)


def _draw_open(
    axes: Any,
    where: list[float],
    order: list[int],
    curves: Sequence[Curve],
    scale: int,
    look: Style,
) -> None:
    """An arrow away from the KPP, where its interval has no end on that side."""
    far = ARROW * look.small
    for curve, line in zip(curves, axes.get_lines()[2::3], strict=True):
        arrow = {
            "shrinkA": 0,
            "shrinkB": 0,
            "arrowstyle": "<-",
            "color": line.get_color(),
            "linewidth": 1.2 * look.scale,
        }
        for x, i in zip(where, order, strict=True):
            ends, at = curve.kpp[i].interval, scale * curve.kpp[i].value
            for end, away in ((ends.low, -far), (ends.high, far)):
                if end is None:
                    tip: dict[str, Any] = {"xytext": (0, away), "textcoords": "offset points"}
                    note = axes.annotate("", (x, at), arrowprops=arrow, **tip)
                    note.set_in_layout(False)


def _make_room(axes: Any, curves: Sequence[Curve], look: Style) -> None:
    """Stretch the y axis so that arrows of open ends stay within it, once the layout is known."""
    ends = [kpp.interval for curve in curves for kpp in curve.kpp]
    below, above = any(end.low is None for end in ends), any(end.high is None for end in ends)
    axes.figure.draw_without_rendering()
    points = 72 * axes.get_window_extent().height / axes.figure.dpi
    room = min(0.4, (ARROW * look.small + 2) / points)  # share of the axis
    low, high = axes.get_ylim()
    span = (high - low) / (1 - room * (below + above))
    axes.set_ylim(low - room * below * span, high + room * above * span)


def _worst(kpp: Kpp) -> str:
    return "\n(the worst chip)" if kpp.is_worst else ""


def _band(kpp: Sequence[Kpp], item: str) -> str:
    """What the band is, and that arrows stand for the ends that it has not."""
    intervals = [k.interval for k in kpp]
    open_low, open_high = (any(getattr(i, e) is None for i in intervals) for e in ("low", "high"))
    ends = {(True, False): "lower end", (False, True): "upper end", (True, True): "ends"}
    band = f"its {kpp[0].confidence:.0%} interval:\n{_COVERS[kpp[0].covers].format(item)}"
    if (open_low, open_high) in ends:
        which = ends[open_low, open_high]
        band += f"\n({which} open, arrows:\n{intervals[0].runs_needed} runs close it)"
    return band


def _legends(axes: Any, curves: Sequence[Curve], named: str, look: Style, item: str) -> None:
    """Beside the plot, or above and below it: what line styles mean, and what colours do."""
    lines = axes.get_lines()
    kpp = [k for curve in curves for k in curve.kpp]
    ideal, mean, worst = lines[:3]
    handles: list[Any] = [worst, axes.collections[0], mean, ideal]
    texts = [f"KPP, k = {kpp[0].k:g}{_worst(kpp[0])}", _band(kpp, item), "mean", "ideal chip"]
    if len(curves) == 1:
        legend(axes, look, handles, texts, columns=1)
        return
    names, colours = [curve.label for curve in curves], lines[2::3]
    if look.narrow:
        place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0)}
        above = axes.legend(
            colours,
            names,
            title=named,
            ncols=_columns(curves),
            frameon=False,
            labelcolor=INK,
            alignment="left",
            borderaxespad=0.2,
            columnspacing=1.0,
            handlelength=1.8,
            **place,
        )
        above.set_clip_on(False)
        _greyed(legend(axes, look, handles, texts, columns=1).legend_handles)
        return
    first = legend(axes, look, colours, names, title=named)
    axes.add_artist(first)
    first.set_clip_on(False)  # the layout leaves no room for what is clipped to the axes
    below: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (1.01, 0.0)}
    styles = legend(axes, look, handles, texts, **below)
    _greyed(styles.legend_handles)


def _columns(curves: Sequence[Curve]) -> int:
    """Names of curves side by side in a column of a paper."""
    return max(1, min(4, NARROW // (max(len(curve.label) for curve in curves) + 6)))


def _greyed(handles: Sequence[Any]) -> None:
    """What lines and bands mean, whatever their colour."""
    for i, handle in enumerate(handles):
        handle.set_color(GREY)
        handle.set_alpha(0.35 if i == 1 else 1.0)
