"""The tile map of a compiled network: how arrays are cut into tiles, and how full tiles are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nvmc.compiled.artifact import ArrayEntry, Compiled
from nvmc.report.figure import INK, Sheet, Style, as_sheet, figure_in, heading, spectrum, style

__all__ = ["draw_tiles"]

MOST = 24
"""Arrays that are drawn: those with most tiles; of more, a line says how many are not."""
FLAT, SLIM = 0.08, 0.14
"""Share of a panel's height, and of its width, from which on a tile has room for a number."""


def draw_tiles(compiled: Compiled, path: str | Path | Sheet, name: str = "screen") -> Path:
    """Draw a panel for each array: its matrix cut into tiles, coloured by the share that is used.

    Word lines go down and bit lines across; groups of a convolution lie along the diagonal. A
    matrix is held several times, a copy for each slice of bits and each sign: one copy is drawn,
    since all are cut alike.

    Args:
        compiled: The network.
        path: The file or sheet, as in `figure_in`.
        name: A row of `STYLES`.

    Raises:
        OptionError, ArtifactError: As `nvmc.report.figure.figure_in` does.
    """
    manifest = compiled.manifest
    target, arrays = manifest.target, sorted(manifest.arrays, key=lambda array: -array.tiles)
    drawn = [array for array in manifest.arrays if array in arrays[:MOST]]
    tiles = _tiles_of(compiled)
    sheet = as_sheet(path, name, {"network_sha256": compiled.network_sha256, "tiles": len(tiles)})
    look = sheet.style
    across = min(len(drawn), 2 if look.narrow else 5)
    down = -(-len(drawn) // across)
    network = compiled.folder.name.removesuffix(".nvmc")
    own = " (but of layers with a size of their own)" if target.layers else ""
    lines = [
        f"{network} on {target.device.name}: {sum(a.tiles for a in manifest.arrays):,} tiles, "
        f"{target.rows} x {target.cols} cells each{own}",
        "Each array cut into tiles; one of its copies is drawn (a copy for each slice and sign)",
    ]
    if len(arrays) > MOST:
        lines[1] += f"; {len(arrays) - MOST} smaller arrays not drawn"
    with figure_in(sheet, 2.3 * across + 1.2, 1.0 + 2.3 * down, narrow=1.0 + 1.9 * down) as figure:
        heading(figure, lines)
        panels: Any = figure.subplots(down, across, squeeze=False).ravel()
        scale = spectrum(100.0)
        for place, (axes, array) in enumerate(zip(panels, drawn, strict=False)):
            own = target.of_array(array.name)
            mine = [t for t in tiles if t["array"] == array.name and t["plane"] == 0]
            _draw(axes, array, mine, own.rows * own.cols, scale, look)
            axes.set_xlabel("bit lines", color=INK)
            axes.set_ylabel("" if place % across else "word lines", color=INK)
        for axes in panels[len(drawn) :]:
            axes.set_axis_off()
        bar = figure.colorbar(scale, ax=list(panels), aspect=20 * down, pad=0.02)
        bar.set_label("cells of a tile used (hold weights) [%]", color=INK)
        bar.outline.set_visible(False)
    return sheet.path


def _tiles_of(compiled: Compiled) -> list[Mapping[str, Any]]:
    graph: dict[str, Any] = json.loads(compiled.read_tiles())
    return [node for node in graph["nodes"] if node["kind"] == "tile"]


def _draw(
    axes: Any,
    array: ArrayEntry,
    tiles: Sequence[Mapping[str, Any]],
    cells: int,
    scale: Any,
    look: Style,
) -> None:
    """The tiles of one copy, to scale in rows and columns of the matrix."""
    copies = f"{array.planes} cop{'y' if array.planes == 1 else 'ies'}"
    groups = "" if array.groups == 1 else f"{array.groups} groups of "
    style(axes, "", "", "")
    axes.set_title(
        f"{_short(array.name)}\n{groups}{array.rows:,} x {array.cols:,}\n{copies}",
        loc="left",
        fontsize=look.small,
        color=INK,
    )
    axes.grid(visible=False)
    for tile in tiles:
        (first, last), rows, cols = tile["groups"], tile["rows"], tile["cols"]
        top, bottom = first * array.rows + rows[0], (last - 1) * array.rows + rows[1]
        left, right = first * array.cols + cols[0], (last - 1) * array.cols + cols[1]
        share = 100 * tile["cells"] / cells
        box = {"width": right - left, "bottom": top, "align": "edge", "edgecolor": "white"}
        axes.bar(left, bottom - top, color=scale.to_rgba(share), linewidth=look.scale, **box)
        high = (bottom - top) / (array.rows * array.groups)
        if high >= FLAT and (right - left) / (array.cols * array.groups) >= SLIM:
            axes.annotate(
                f"{share:.0f}",
                ((left + right) / 2, (top + bottom) / 2),
                ha="center",
                va="center",
                fontsize=look.small,
                color=INK if share > 55 else "white",
            )
    axes.set_xlim(0, array.groups * array.cols)
    axes.set_ylim(array.groups * array.rows, 0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(nbins=3, integer=True)


def _short(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:9]}…{name[-10:]}"
