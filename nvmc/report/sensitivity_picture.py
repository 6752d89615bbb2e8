"""The picture of a sensitivity run: what each part's noise costs, dearest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

__all__ = ["Bar", "draw_sensitivity"]

MOST = 24
"""Parts of a kind that are drawn; of more, the dearest, and a line says how many are not."""


@dataclass(frozen=True)
class Bar:
    """One part; values in the unit of the metric.

    Attributes:
        kind: `layer`, `slice` or `source`.
        name: It.
        gain: How much better the KPP is without its noise, and the standard error of that.
        loss: How much worse it is than the ideal chip with its noise alone, and likewise.
    """

    kind: str
    name: str
    gain: tuple[float, float]
    loss: tuple[float, float]


def draw_sensitivity(
    path: Path | Sheet,
    lines: Sequence[str],
    what: str,
    parts: Sequence[Bar],
    scale: float,
    kinds: Mapping[str, str],
    labels: tuple[str, str],
) -> None:
    """Write the picture: two bars for each part, whose whiskers are one standard error.

    Args:
        path: The file or sheet, as in `figure_in`.
        lines: What it is of.
        what: What bars are differences of, with the unit.
        parts: Dearest first within each kind.
        scale: What values are multiplied by: 100 for percentage points.
        kinds: What a panel is called, by kind of its parts, in their order.
        labels: What gain and loss are called.

    Raises:
        OptionError, ArtifactError: As `nvmc.report.figure.figure_in` does.
    """
    panels = {title: [one for one in parts if one.kind == kind] for kind, title in kinds.items()}
    panels = {title: found for title, found in panels.items() if found}
    counts = [min(len(found), MOST) for found in panels.values()]
    sheet = as_sheet(path)
    rows = sum(counts)
    high, narrow, more = 1.4 + 0.36 * rows, 1.9 + 0.3 * rows, 0.6 * len(counts)
    with figure_in(sheet, 8.4, high + more, narrow=narrow + more) as figure:
        heading(figure, lines)
        grid: Any = {"height_ratios": [1 + count for count in counts]}
        all_axes: Any = figure.subplots(
            len(counts), 1, squeeze=False, sharex=True, gridspec_kw=grid
        )[:, 0]
        for axes, (title, found) in zip(all_axes, panels.items(), strict=True):
            _draw(axes, title, found, scale, sheet.style.scale, labels)
        all_axes[-1].set_xlabel(
            what if not sheet.style.narrow else what.replace(" [", "\n["), color=INK
        )
        handles, told = all_axes[0].get_legend_handles_labels()
        thick = 0.9 * sheet.style.scale
        handles += all_axes[0].plot([], [], color=INK, linewidth=thick)
        texts = [*told, "± one standard error"]
        legend(all_axes[0], sheet.style, handles, texts, columns=1)


def _draw(
    axes: Any,
    title: str,
    parts: Sequence[Bar],
    scale: float,
    thick: float,
    labels: tuple[str, str],
) -> None:
    shown = parts[:MOST]
    more = f"; {len(parts) - MOST} more not drawn" if len(parts) > MOST else ""
    style(axes, f"{title}{more}", "", "")
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color="#e4e6ea", linewidth=0.8)
    whisker = {"ecolor": INK, "elinewidth": 0.9 * thick, "capsize": 2 * thick}
    told = (("gain", labels[0], -0.2), ("loss", labels[1], 0.2))
    for look, (name, label, shift) in zip(LOOKS, told, strict=False):
        values, errors = zip(*(getattr(one, name) for one in shown), strict=True)
        axes.barh(
            [place + shift for place in range(len(shown))],
            [scale * value for value in values],
            xerr=[scale * error for error in errors],
            height=0.38,
            color=look[0],
            hatch=look[3],
            edgecolor="white",
            error_kw=whisker,
            label=label,
        )
    axes.axvline(0, color=GREY, linewidth=0.8 * thick)
    axes.set_yticks(range(len(shown)), [_short(one.name) for one in shown], color=INK)
    axes.set_ylim(len(shown) - 0.5, -0.5)


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:11]}…{name[-12:]}"
