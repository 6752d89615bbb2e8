"""The picture of a comparison: how the chips of several networks are spread, and their pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.report.figure import (
    GREY,
    INK,
    LOOKS,
    Sheet,
    as_sheet,
    figure_in,
    heading,
    legend,
    style,
)
from nvmc.statistics import Ends, Kpp

__all__ = ["Overlaid", "draw_overlay"]


@dataclass(frozen=True)
class Overlaid:
    """Chips of one network; values are shares of one, or in a unit of their own.

    Attributes:
        label: What sets it apart.
        values: One value per chip, the same chips in all, shape (runs,).
        kpp: K-th percentile performance and its intervals.
    """

    label: str
    values: NDArray[np.float64]
    kpp: Kpp


def draw_overlay(
    path: Path | Sheet,
    lines: Sequence[str],
    metric: str,
    networks: Sequence[Overlaid],
    percent: bool,
    item: str = "image",
) -> None:
    """Write the picture of a comparison to `path`.

    On top the share of chips at or below each value, a line per network, with a mark at the KPP;
    below it the KPPs with their intervals on these images. An open end is an arrow to the edge.

    Args:
        path: The file or sheet, as in `figure_in`.
        lines: What the comparison is of.
        metric: What is on the x axis.
        networks: At least one.
        percent: Whether values are shares, drawn in percent; else in their own unit.
        item: What one of the images is called.

    Raises:
        OptionError, ArtifactError: As `nvmc.report.figure.figure_in` does.
    """
    scale = 100 if percent else 1
    rows, sheet = len(networks), as_sheet(path)
    look = sheet.style
    with figure_in(sheet, 7.2, 4.4 + 0.3 * rows, narrow=3.6 + 0.3 * rows) as figure:
        heading(figure, lines)
        top: Any
        below: Any
        top, below = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": [8, 1.2 + rows]}
        )
        k = networks[0].kpp.k
        less = networks[0].kpp.less_is_better
        style(top, "", "", f"chips at or {'above' if less else 'below'} [%]")
        style(below, "", "", "")
        for i, one in enumerate(networks):
            _spread(top, one, LOOKS[i % len(LOOKS)], scale, less)
        low, high = top.get_xlim()
        ends = [e for o in networks for e in (o.kpp.chips_alone.low, o.kpp.chips_alone.high)]
        known = [scale * e for e in ends if e is not None]
        low, high = min([low, *known]), max([high, *known])
        top.set_xlim(low, high)
        top.axhline(k, color=GREY, linewidth=0.8, label=f"k = {k:g} % of the chips")
        for i, one in enumerate(networks):
            _interval(below, i, one, LOOKS[i % len(LOOKS)], scale, (low, high))
        below.set_ylim(rows - 0.4, -0.6)
        below.set_yticks(range(rows), [one.label for one in networks])
        below.grid(visible=False)
        below.set_title(_intervals_title(networks, item, look.narrow), loc="left", color=INK)
        below.set_xlabel(f"{metric} [%]" if percent else metric, color=INK)
        if look.narrow:
            legend(top, look, columns=1 if max(len(o.label) for o in networks) > 20 else 2)
        else:
            top.legend(frameon=False, labelcolor=INK, loc="upper left", handlelength=4)


def _intervals_title(networks: Sequence[Overlaid], item: str, narrow: bool) -> str:
    """What the lower panel shows, and what an arrow there means."""
    kpp = networks[0].kpp
    own = f"KPP, k = {kpp.k:g},{chr(10) if narrow else ' '}with its {kpp.confidence:.0%} interval"
    own += f" on these {item}s"
    if not all(one.kpp.chips_alone.closed for one in networks):
        own += f"\n(an end is open: arrow; {kpp.chips_alone.runs_needed} runs close it)"
    return own


def _spread(
    axes: Any, one: Overlaid, look: tuple[str, Any, str, str], scale: int, less: bool
) -> None:
    """Share of chips that are no better than a value."""
    values = np.sort(scale * one.values)
    shares = 100 * np.arange(1, len(values) + 1) / len(values)
    if less:  # from all chips down to none beyond the highest value
        values, shares = np.append(values, values[-1]), np.append(100 - shares + shares[0], 0.0)
    else:  # from no chip below the lowest value
        values, shares = np.append(values[0], values), np.append(0.0, shares)
    colour, dashes, *_ = look
    where = "pre" if less else "post"
    axes.step(values, shares, where=where, color=colour, linestyle=dashes, label=one.label)


def _interval(
    axes: Any,
    row: int,
    one: Overlaid,
    look: tuple[str, Any, str, str],
    scale: int,
    edges: tuple[float, float],
) -> None:
    """The KPP and its interval in a row; an open end is an arrow to the edge."""
    colour, dashes, mark_of, _ = look
    ends: Ends = one.kpp.chips_alone
    low = edges[0] if ends.low is None else scale * ends.low
    high = edges[1] if ends.high is None else scale * ends.high
    axes.plot([low, high], [row, row], color=colour, linestyle=dashes)
    for end, at, arrow in ((ends.low, low, "<"), (ends.high, high, ">")):
        mark = "|" if end is not None else arrow
        axes.plot([at], [row], color=colour, marker=mark, clip_on=False)
    axes.plot([scale * one.kpp.value], [row], color=colour, marker=mark_of)
