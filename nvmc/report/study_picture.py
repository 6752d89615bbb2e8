"""The picture of an experiment done again: own values as lines, the paper's as crosses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvmc.report.figure import figure_in, heading, shades, style

__all__ = ["StudyLine", "draw_study"]


@dataclass(frozen=True)
class StudyLine:
    """One way to train in one panel.

    Attributes:
        label: Its name.
        x: Strengths of the noise.
        own: Own values there.
        spread: Standard deviation over chips there.
        paper: The paper's printed values there, None where it prints none.
    """

    label: str
    x: Sequence[float]
    own: Sequence[float]
    spread: Sequence[float]
    paper: Sequence[float | None]


def draw_study(
    path: Path, lines: Sequence[str], metric: str, panels: Sequence[tuple[str, Sequence[StudyLine]]]
) -> None:
    """Write the picture to `path`.

    Args:
        path: The file; its suffix says the format, as in `figure_in`.
        lines: What it is of, above the panels.
        metric: What is on the y axis.
        panels: Of each noise, its name and a line for each way to train.
    """
    with figure_in(path, width=max(6.4, 3.6 * len(panels))) as figure:
        heading(figure, lines)
        for place, (noise, each) in enumerate(panels, 1):
            axes: Any = figure.add_subplot(1, len(panels), place)
            style(axes, "", noise, metric)
            for line, colour in zip(each, shades(len(each)), strict=True):
                axes.plot(line.x, line.own, "o-", color=colour, markersize=4, label=line.label)
                low = [a - b for a, b in zip(line.own, line.spread, strict=True)]
                high = [a + b for a, b in zip(line.own, line.spread, strict=True)]
                axes.fill_between(line.x, low, high, color=colour, alpha=0.15, linewidth=0)
                told = [(x, p) for x, p in zip(line.x, line.paper, strict=True) if p is not None]
                if told:
                    label = f"{line.label}, paper"
                    axes.plot(*zip(*told, strict=True), "x--", color=colour, label=label)
            if place == len(panels):
                axes.legend(fontsize=7, frameon=False)
