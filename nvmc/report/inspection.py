"""The picture of an inspection: what the converters of each layer see, and where errors arise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nvmc.report.figure import BLUE, GREY, ORANGE, RED, Sheet, as_sheet, figure_in, heading, style

__all__ = ["Bars", "Panel", "draw_inspection"]


@dataclass(frozen=True)
class Bars:
    """A histogram.

    Attributes:
        first: Lower edge of the first bin.
        width: Of every bin.
        counts: What each bin holds.
    """

    first: float
    width: float
    counts: Sequence[int]


@dataclass(frozen=True)
class Panel:
    """One row of the picture: an array, and the errors of its layer.

    Attributes:
        label: What it is called.
        inputs: In the network's units.
        currents: In percent of the ADC's range, or of a tile's worst case.
        codes: None without an ADC.
        errors: By source, relative to the ideal outputs.
        limit: The DAC's range; None where it is dynamic.
    """

    label: str
    inputs: Bars
    currents: Bars
    codes: Bars | None
    errors: Mapping[str, float]
    limit: float | None


def draw_inspection(path: Path | Sheet, lines: Sequence[str], panels: Sequence[Panel]) -> None:
    """Write the picture: a row per array, with logarithmic counts; lines are the ends of ranges.

    Raises:
        OptionError, ArtifactError: As `nvmc.report.figure.figure_in` does.
    """
    sheet, count = as_sheet(path), max(1, len(panels))
    narrow = sheet.style.narrow
    with figure_in(sheet, 11.0, 1.2 + 2.0 * count, narrow=0.6 + 2.8 * count) as figure:
        rows: Any = figure.subplots(count * (2 if narrow else 1), 2 if narrow else 4, squeeze=False)
        rows = rows.reshape(count, 4)
        for number, (row, panel) in enumerate(zip(rows, panels, strict=False)):
            last = narrow or number + 1 == len(panels)
            limits = [] if panel.limit is None else [-panel.limit, panel.limit]
            _histogram(row[0], panel.inputs, limits, BLUE)
            _histogram(row[1], panel.currents, [-100.0, 100.0], ORANGE)
            _codes(row[2], panel.codes)
            _errors(row[3], panel.errors)
            names = ("inputs", "currents [% of range]", "ADC codes", "error [% of output RMS]")
            for axes, name in zip(row, names, strict=True):
                axes.set_xlabel(name if last else "")
            row[0].set_title(panel.label, loc="left")
        heading(figure, lines)


def _histogram(axes: Any, bars: Bars, limits: Sequence[float], colour: str) -> None:
    style(axes, "", "", "")
    edges = bars.first + bars.width * np.arange(len(bars.counts) + 1)
    axes.stairs(bars.counts, edges, fill=True, color=colour, alpha=0.8)
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    for limit in limits:
        if edges[0] - 0.2 * abs(limit) <= limit <= edges[-1] + 0.2 * abs(limit):
            axes.axvline(limit, color=RED, linewidth=1.2, linestyle="--")


def _codes(axes: Any, codes: Bars | None) -> None:
    if codes is not None:
        _histogram(axes, codes, (), GREY)
        return
    style(axes, "", "", "")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, "no ADC", ha="center", va="center", transform=axes.transAxes, color=GREY)


def _errors(axes: Any, errors: Mapping[str, float]) -> None:
    style(axes, "", "", "")
    axes.xaxis.get_major_locator().set_params(nbins=3)
    names = list(errors)[::-1]
    values = [100 * errors[name] if np.isfinite(errors[name]) else 0.0 for name in names]
    bars = axes.barh(names, values, color=[RED if name == "together" else BLUE for name in names])
    for name, bar in zip(names, bars, strict=True):
        bar.set_hatch("////" if name == "together" else "")
        bar.set_edgecolor("white")
