"""The picture of an experiment done again: own values as lines, the paper's as crosses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nvmc.report.figure import GREY, LOOKS, STYLES, figure_in, heading, legend, style

__all__ = ["StudyLine", "draw_study"]

_SPREAD = "± 1 standard\ndeviation\nover chips"


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
    path: Path,
    lines: Sequence[str],
    metric: str,
    panels: Sequence[tuple[str, Sequence[StudyLine]]],
    percent: bool,
) -> None:
    """Write the picture to `path`.

    Args:
        path: The file; its suffix says the format, as in `figure_in`.
        lines: What it is of, above the panels.
        metric: What is on the y axis, with its unit.
        panels: Of each noise, its name and a line for each way to train.
        percent: Whether values are shares, drawn in percent; else in their own unit.
    """
    scale = 100 if percent else 1
    with figure_in(path, width=2.4 + max(6.0, 3.4 * len(panels))) as figure:
        heading(figure, lines)
        for place, (noise, each) in enumerate(panels, 1):
            axes: Any = figure.add_subplot(1, len(panels), place)
            style(axes, "", noise, metric if place == 1 else "")
            if all(len(line.x) == 1 for line in each):
                _draw_points(axes, noise, each, scale)
            else:
                for i, line in enumerate(each):
                    _draw(axes, line, LOOKS[i % len(LOOKS)], scale)
            if place == len(panels):
                axes.fill_between([], [], [], color=GREY, alpha=0.3, label=_SPREAD)
                legend(axes, STYLES["screen"], handlelength=4)


def _draw(axes: Any, line: StudyLine, look: tuple[str, Any, str, str], scale: int) -> None:
    """Own values as a line in a band, the paper's as crosses of its colour."""
    colour, dashes, mark, _ = look
    own, spread = scale * np.asarray(line.own), scale * np.asarray(line.spread)
    pen: dict[str, Any] = {"color": colour, "linestyle": dashes, "marker": mark, "markersize": 4}
    axes.plot(line.x, own, label=line.label, **pen)
    axes.fill_between(line.x, own - spread, own + spread, color=colour, alpha=0.15, linewidth=0)
    told = [(x, scale * p) for x, p in zip(line.x, line.paper, strict=True) if p is not None]
    if told:
        label = f"{line.label}, paper"
        axes.plot(*zip(*told, strict=True), "x", color=colour, markersize=7, label=label)


def _draw_points(axes: Any, noise: str, lines: Sequence[StudyLine], scale: int) -> None:
    """A panel of one strength: the ways to train beside each other, with their spread."""
    for i, line in enumerate(lines):
        colour, _, mark, _ = LOOKS[i % len(LOOKS)]
        own, spread, paper = scale * line.own[0], scale * line.spread[0], line.paper[0]
        pen: dict[str, Any] = {"color": colour, "marker": mark, "markersize": 5, "linestyle": ""}
        axes.errorbar([i], [own], [spread], capsize=3, label=line.label, **pen)
        if paper is not None:
            label = f"{line.label}, paper"
            axes.plot([i], [scale * paper], "x", color=colour, markersize=7, label=label)
    axes.set_xticks(range(len(lines)), [line.label for line in lines], rotation=30, ha="right")
    axes.set_xlim(-0.5, len(lines) - 0.5)
    at = lines[0].x[0] if lines else 0.0
    axes.set_xlabel(f"{noise} = {at:g}")
