"""A chip's cells by place within a tile: how many hold weights, and how far they are off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.report.figure import INK, Sheet, as_sheet, figure_in, heading, spectrum, style

__all__ = ["MOST", "CellMap", "draw_cells"]

MOST = 12
"""Arrays that are drawn: those of most tiles; of more, a line says how many are not."""


@dataclass(frozen=True)
class CellMap:
    """One array of weights.

    Attributes:
        name: Of the array.
        tiles: How many it lies on.
        size: Word lines and bit lines of a whole tile.
        share: Share of the cells of its tiles that hold weights.
        rms: Root mean square error of its formed cells, as a share of the levels; None without any.
        use: Share of the cells that hold weights by place, shape (n, m).
        error: Root mean square error there, as a share of the levels; NaN without a formed cell.
    """

    name: str
    tiles: int
    size: tuple[int, int]
    share: float
    rms: float | None
    use: NDArray[np.float64]
    error: NDArray[np.float64]


def draw_cells(path: str | Path | Sheet, lines: Sequence[str], maps: Sequence[CellMap]) -> Path:
    """Draw two panels for each array: its use and its error, all of its tiles together.

    Args:
        path: The file or sheet, as in `figure_in`.
        lines: Above the panels.
        maps: The arrays.

    Raises:
        OptionError, ArtifactError: As `nvmc.report.figure.figure_in` does.
    """
    kept = sorted(maps, key=lambda one: -one.tiles)[:MOST]
    drawn, told = [one for one in maps if one in kept], list(lines)
    if len(maps) > MOST:
        told.append(f"{len(maps) - MOST} arrays of fewer tiles are not drawn")
    worst = max((100 * np.nanmax(m.error, initial=0.0) for m in drawn), default=0.0)
    sheet = as_sheet(path)
    across = min(len(drawn), 1 if sheet.style.narrow else 3)
    down = -(-len(drawn) // across)
    narrow = 1.6 + 1.7 * down
    with figure_in(sheet, 4.4 * across + 2.4, 1.0 + 2.3 * down, narrow=narrow) as figure:
        heading(figure, told)
        panels: Any = figure.subplots(down, 2 * across, squeeze=False)
        scales = spectrum(100.0), spectrum(float(worst) or 1.0)
        for place in range(across * down):
            pair = panels[place // across, 2 * (place % across) : 2 * (place % across) + 2]
            if place >= len(drawn):
                for axes in pair:
                    axes.set_axis_off()
                continue
            one = drawn[place]
            tiles = f"{one.tiles:,} tile{'s' * (one.tiles != 1)}"
            error = "" if one.rms is None else f" {100 * one.rms:.3g} %"
            used = f"{_short(one.name)}\n{tiles}\n{100 * one.share:.1f} % used"
            titles = used, f"\n\nerror{error}"
            for axes, values, scale, title in zip(
                pair, (one.use, one.error), scales, titles, strict=True
            ):
                _draw(axes, one, 100 * values, scale)
                axes.set_title(title, loc="left", color=INK)
            pair[1].tick_params(labelleft=False)
            pair[0].set_ylabel("word lines", color=INK)
        for scale, text, column in zip(
            scales, ("cells used [%]", "error [%]"), (0, 1), strict=True
        ):
            below = {"ax": panels[:, column], "location": "bottom"}
            where = below if across == 1 else {"ax": panels, "aspect": 16 * down}
            bar = figure.colorbar(scale, pad=0.02, **where)
            bar.set_label(text, color=INK)
            bar.outline.set_visible(False)
    return sheet.path


def _draw(axes: Any, one: CellMap, percent: NDArray[np.float64], scale: Any) -> None:
    """One panel, from the first word line down; white where there is nothing."""
    rows, columns = one.size
    style(axes, "", "", "")
    axes.grid(visible=False)
    colours = np.where(np.isnan(percent)[..., None], 1.0, scale.to_rgba(np.nan_to_num(percent)))
    axes.imshow(colours, extent=(0, columns, rows, 0), aspect="auto", interpolation="nearest")
    axes.set_xlabel("bit lines", color=INK)
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(nbins=3, integer=True)


def _short(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:7]}…{name[-8:]}"
