"""The picture of a simulation: how chips are spread, and what the worst of them are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from nvmc.statistics import Ends, Kpp, Summary

__all__ = ["Sample", "bar_edges", "draw_histogram"]

MAX_BARS = 40


@dataclass(frozen=True)
class Sample:
    """One sample of chips; values are shares of one (1 is 100 %), or in a unit of their own.

    Attributes:
        label: What sets it apart, such as its time; empty for the only one.
        values: One value per chip, shape (runs,).
        kpp: K-th percentile performance and its intervals.
        summary: Mean, standard deviation, minimum.
    """

    label: str
    values: NDArray[np.float64]
    kpp: Kpp
    summary: Summary


def draw_histogram(
    path: Path | Sheet,
    lines: Sequence[str],
    metric: str,
    ideal: float,
    images: int | None,
    samples: Sequence[Sample],
    percent: bool = True,
    item: str = "image",
    bounds: tuple[float, float] = (0.0, 1.0),
) -> None:
    """Write the picture of a simulation to `path`: a histogram for each sample.

    Where bars begin and end, `bar_edges` says. The k-th percentile performance is a line in two
    bands, its intervals for chips and images and for chips alone; where the runs do not support an
    end, the band is hatched and goes to the edge with an arrow, and the legend says so.

    Args:
        path: The file or sheet, as in `figure_in`.
        lines: What the simulation is of, above the histograms.
        metric: What is on the x axis.
        ideal: The ideal chip's value.
        images: Images each value is made of, where values are multiples of 1 / images; None
            where they are any real numbers.
        samples: Drawn one below the other on one axis.
        percent: Whether values are shares, drawn in percent; else in their own unit.
        item: What one of the images is called.
        bounds: Least and greatest value that a chip can have.

    Raises:
        OptionError, ArtifactError: As `nvmc.report.figure.figure_in` does.
    """
    scale = 100 if percent else 1
    edges = scale * bar_edges([sample.values for sample in samples], ideal, images, bounds)
    sheet, rows = as_sheet(path), len(samples)
    look = sheet.style
    with figure_in(sheet, 8.4, 1.6 + 2.0 * rows, narrow=2.3 + 1.2 * rows) as figure:
        below: Any = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
        intervals = [sample.kpp.interval for sample in samples]
        low = min([edges[0], *(scale * i.low for i in intervals if i.low is not None)])
        high = max([edges[-1], *(scale * i.high for i in intervals if i.high is not None)])
        margin = 0.02 * (high - low)
        for axes, sample in zip(below, samples, strict=True):
            style(axes, _title(sample, look, scale, rows), "", "chips")
            axes.yaxis.get_major_locator().set_params(integer=True)
            axes.set_xlim(low - margin, high + margin)
            _draw(axes, sample, ideal, edges, scale, look, item)
            if not look.narrow:
                legend(axes, look)
        if look.narrow:
            _one_legend(below[0], look, rows)
        below[-1].set_xlabel(f"{metric} [%]" if percent else metric, color=INK)
        heading(figure, lines)


def bar_edges(
    values: Sequence[NDArray[np.float64]],
    ideal: float,
    images: int | None,
    bounds: tuple[float, float],
) -> NDArray[np.float64]:
    """Edges of the bars of a histogram, half an image off the possible values, shape (bars + 1,).

    A bar is a whole number of images wide, so that none is favoured by where the possible values
    fall, and none goes beyond the least and the greatest value that there can be.

    Args:
        values: One value per chip, an array for each sample; all are finite.
        ideal: The ideal chip's value, which the bars reach, too.
        images: As of `draw_histogram`.
        bounds: Likewise.
    """
    low = min(ideal, *(float(v.min()) for v in values))
    high = max(ideal, *(float(v.max()) for v in values))
    grain = 1 / images if images else max((high - low) / MAX_BARS, 1e-6 * max(1.0, abs(high)))
    steps = round((high - low) / grain)
    width = max(1, -(-steps // MAX_BARS))
    bars = steps // width + 1
    edges = low + (np.arange(bars + 1) * width - 0.5) * grain
    return np.unique(np.clip(edges, *bounds)).astype(np.float64)


def _title(sample: Sample, look: Style, scale: int, rows: int) -> str:
    """The sample's label; with its KPP where one legend is for several."""
    if not look.narrow or rows == 1:
        return sample.label
    return f"{sample.label}: KPP {scale * sample.kpp.value:{_form(scale)}}"


def _one_legend(axes: Any, look: Style, rows: int) -> None:
    """A legend for all samples: without their numbers where these differ."""
    handles, texts = axes.get_legend_handles_labels()
    if rows > 1:
        texts = [text if "%" in text else text.partition(": ")[0] for text in texts]
    legend(axes, look, handles, texts, columns=1)


def _form(scale: int) -> str:
    return ".2f" if scale == 100 else ".4g"


def _draw(
    axes: Any, sample: Sample, ideal: float, edges: Any, scale: int, look: Style, item: str
) -> None:
    kpp, mean, form = sample.kpp, scale * sample.summary.mean, _form(scale)
    wide = look.scale
    worst = f"KPP, k = {kpp.k:g}: {scale * kpp.value:{form}}"
    if kpp.is_worst:
        worst += "\n(the worst chip)"
    axes.hist(scale * sample.values, bins=edges, color=BLUE, alpha=0.45, linewidth=0)
    axes.axvline(scale * kpp.value, color=RED, linewidth=2 * wide, label=worst)
    here = f"on these {item}s:\nchips alone"
    if kpp.covers == "chips and images":
        both = f"its {kpp.confidence:.0%} interval:\nchips and {item}s"
        _band(axes, kpp.interval, 0.1, both, scale)
    else:
        here = f"its {kpp.confidence:.0%} interval\n{here}"
    _band(axes, kpp.chips_alone, 0.25, here, scale)
    axes.axvline(
        mean, color=INK, linestyle="--", linewidth=1.2 * wide, label=f"mean: {mean:{form}}"
    )
    said = f"ideal chip: {scale * ideal:{form}}"
    axes.axvline(scale * ideal, color=GREY, linestyle=":", linewidth=1.6 * wide, label=said)


def _band(axes: Any, ends: Ends, alpha: float, label: str, scale: int) -> None:
    """An interval; one with an open end is hatched, with an arrow at the edge."""
    edges = axes.get_xlim()
    low = edges[0] if ends.low is None else scale * ends.low
    high = edges[1] if ends.high is None else scale * ends.high
    look: dict[str, Any] = {"facecolor": (*_rgb(RED), alpha), "linewidth": 0, "zorder": 0}
    if not ends.closed:
        label += f"\n(open: {ends.runs_needed} runs close it)"
        look |= {"hatch": "///", "edgecolor": (*_rgb(RED), 0.35)}
    axes.axvspan(low, high, label=label, **look)
    for end, at, arrow in ((ends.low, 0.0, "<"), (ends.high, 1.0, ">")):
        if end is None:
            mark: dict[str, Any] = {"marker": arrow, "color": RED, "clip_on": False}
            axes.plot([at], [0.5], transform=axes.transAxes, linestyle="", **mark)


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
