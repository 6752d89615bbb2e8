"""The picture of an uncertainty run: accuracy falls as images move away; does doubt rise?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nvmc.report.figure import BLUE, GREY, ORANGE, RED, figure_in, heading, style

__all__ = ["Line", "Panel", "draw_uncertainty"]


@dataclass(frozen=True)
class Line:
    """A measure over the strengths of a shift: mean over chips, and its spread."""

    mean: Sequence[float]
    std: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """One kind of shift.

    Attributes:
        label: Of the x axis.
        strengths: The first is the data as they are.
        accuracy: Share.
        detected: Share of images above the threshold, by their true labels.
        detected_predicted: Likewise by the predicted class.
        nll: Nats.
        variance: Predictive variance.
    """

    label: str
    strengths: Sequence[float]
    accuracy: Line
    detected: Line
    detected_predicted: Line
    nll: Line
    variance: Line


def draw_uncertainty(path: Path, lines: Sequence[str], panels: Sequence[Panel]) -> None:
    """Write the picture; a band is one standard deviation over chips to each side.

    Raises:
        OptionError, ArtifactError: As `nvmc.report.figure.figure_in` does.
    """
    with figure_in(path, width=4.6 * len(panels) + 1.8, height=6.6) as figure:
        rows: Any = figure.subplots(3, len(panels), sharex="col", sharey="row", squeeze=False)
        for column, panel in enumerate(panels):
            shares, nll, variance = rows[:, column]
            style(shares, "", "", "%" if column == 0 else "")
            style(nll, "", "", "NLL [nats]" if column == 0 else "")
            style(variance, "", panel.label, "predictive variance" if column == 0 else "")
            _draw(shares, panel, panel.accuracy, BLUE, "accuracy", 100)
            _draw(shares, panel, panel.detected, RED, "detected (true label)", 100)
            _draw(shares, panel, panel.detected_predicted, ORANGE, "detected (predicted)", 100)
            _draw(nll, panel, panel.nll, RED, "", 1)
            _draw(variance, panel, panel.variance, GREY, "", 1)
        rows[0, -1].legend(
            fontsize=8,
            frameon=False,
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            borderaxespad=0.0,
        )
        heading(figure, lines)


def _draw(axes: Any, panel: Panel, line: Line, colour: str, label: str, factor: float) -> None:
    mean, std = factor * np.asarray(line.mean), factor * np.asarray(line.std)
    axes.plot(panel.strengths, mean, color=colour, marker="o", markersize=3, label=label)
    axes.fill_between(panel.strengths, mean - std, mean + std, color=colour, alpha=0.15, lw=0)
