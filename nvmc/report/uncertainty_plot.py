"""The picture of an uncertainty run: accuracy falls as images move away; does doubt rise?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nvmc.report.figure import LOOKS, Sheet, Style, as_sheet, figure_in, heading, legend, style

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


def draw_uncertainty(path: Path | Sheet, lines: Sequence[str], panels: Sequence[Panel]) -> None:
    """Write the picture; a band is one standard deviation over chips to each side.

    Raises:
        OptionError, ArtifactError: As `nvmc.report.figure.figure_in` does.
    """
    sheet = as_sheet(path)
    look = sheet.style
    with figure_in(sheet, 4.6 * len(panels) + 1.8, 6.6, narrow=5.2) as figure:
        rows: Any = figure.subplots(3, len(panels), sharex="col", sharey="row", squeeze=False)
        for column, panel in enumerate(panels):
            shares, nll, variance = rows[:, column]
            style(shares, "", "", "%" if column == 0 else "")
            style(nll, "", "", "NLL [nats]" if column == 0 else "")
            style(variance, "", panel.label, "predictive variance" if column == 0 else "")
            for i, name in enumerate(_SHARES):
                _draw(shares, panel, getattr(panel, name), i, _SHARES[name], 100, look)
            _draw(nll, panel, panel.nll, 1, "", 1, look)
            _draw(variance, panel, panel.variance, 2, "", 1, look)
        legend(rows[0, -1], look, columns=1)
        heading(figure, lines)


_SHARES = {
    "accuracy": "accuracy",
    "detected": "detected (true label)",
    "detected_predicted": "detected (predicted)",
}
"""Shares in the upper panels, and their names."""


def _draw(
    axes: Any, panel: Panel, line: Line, place: int, label: str, factor: float, look: Style
) -> None:
    colour, dashes, mark, _ = LOOKS[place]
    mean, std = factor * np.asarray(line.mean), factor * np.asarray(line.std)
    pen: dict[str, Any] = {"color": colour, "linestyle": dashes, "marker": mark}
    pen["markersize"] = 4 * look.scale
    axes.plot(panel.strengths, mean, **pen, label=label)
    axes.fill_between(panel.strengths, mean - std, mean + std, color=colour, alpha=0.15, lw=0)
