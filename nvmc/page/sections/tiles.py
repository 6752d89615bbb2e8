"""Where the weights lie on tiles, and how far one chip's cells are off their targets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from nvmc.page.blocks import Block, Chart, Choice, DataTable, Heading, Paragraph
from nvmc.page.charts import Spec, tooltip
from nvmc.page.report import Report
from nvmc.page.tile_map import LayerMap, TileMap
from nvmc.page.values import counted

__all__ = ["tiles"]

MOST_TILES, FEWEST_TILES, ALL_TILES = 400, 16, 4_000
"""Tiles that the overview draws: of an array, at most and at least, and of all arrays."""
ACROSS = 16
"""Tiles in one row of the overview."""
OF_TILES = (
    *("array", "tile", "digit", "polarity"),
    *("lines", "cells", "used", "formed cells", "error"),
)
WHAT = ("share of the cells used", "error of the cells")


def tiles(report: Report) -> Iterator[Block]:
    """For each network: all tiles by use and error, places within the tiles of a layer, a table."""
    maps = report.of(TileMap)
    for number, one in enumerate(maps, 1):
        where = f" of {one.network} on {one.device}" if len(maps) > 1 else ""
        if where:
            yield Heading(f"{one.network} on {one.device}")
        tiles_of = sum(len(layer.tiles) for layer in one.layers)
        yield Paragraph(
            f"{counted(tiles_of, 'tile')}{where} hold {counted(len(one.layers), 'array')}. The "
            f"error of a cell is its level on chip {one.chip} (seed {one.seed}) less the level it "
            "aims for, as a share of the distance from level 0 to the highest level; of several "
            "cells it is the root of the mean square. Read noise is not in it. Used are cells that "
            "hold weights, as nvmc compile counts them; some of these are never formed, such as "
            "those of the other sign under sign-magnitude, and have no error."
        )
        yield _layers(one, where, number)
        yield _within(one, where, number)
        yield _overview(one, where, number)


def _percent(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{100 * value:.3g} %"


def _layers(one: TileMap, where: str, number: int) -> DataTable:
    """A row for each array."""
    columns = ("array", "tiles", "tile", "cells", "used", "formed cells", "error")
    lines = [
        (
            layer.name,
            f"{len(layer.tiles):,}",
            f"{layer.tile[0]}x{layer.tile[1]}",
            f"{layer.cells:,}",
            f"{layer.share:.1%}".replace("%", " %"),
            f"{layer.formed:,}",
            _percent(layer.rms),
        )
        for layer in one.layers
    ]
    rows = [
        {
            "network": one.network,
            "device": one.device,
            "chip": one.chip,
            "seed": one.seed,
            "array": layer.name,
            "tiles": len(layer.tiles),
            "tile_rows": layer.tile[0],
            "tile_cols": layer.tile[1],
            "cells": layer.cells,
            "use": layer.share,
            "formed": layer.formed,
            "error": layer.rms,
        }
        for layer in one.layers
    ]
    title = f"Arrays{where}: how full their tiles are, and error of their cells"
    return DataTable.of(f"arrays-{number}", title, columns, lines, rows, open=True)


def _within(one: TileMap, where: str, number: int) -> Chart:
    """Places within a tile, over all tiles of the chosen array."""
    places: list[Spec] = [spot for i, layer in enumerate(one.layers) for spot in _spots(i, layer)]
    sizes = [layer.tile for layer in one.layers]
    spec: Spec = {
        "data": {"values": places},
        "transform": [
            {"filter": "datum.i == layer"},
            {"calculate": "what == 0 ? datum.use : datum.error", "as": "value"},
            {"filter": "isValid(datum.value)"},
            *_texts(),
            {"calculate": "datum.r + ' to ' + (datum.r2 - 1)", "as": "rows"},
            {"calculate": "datum.c + ' to ' + (datum.c2 - 1)", "as": "cols"},
        ],
        "mark": {"type": "rect"},
        "encoding": {
            "x": {"field": "c", "type": "quantitative", "title": "bit line",
                  "bin": {"binned": True},
                  "scale": {"nice": False, "domain": [0, max(t[1] for t in sizes)]}},
            "x2": {"field": "c2"},
            "y": {"field": "r", "type": "quantitative", "title": "word line",
                  "bin": {"binned": True},
                  "scale": {"reverse": True, "nice": False,
                            "domain": [0, max(t[0] for t in sizes)]}},
            "y2": {"field": "r2"},
            "color": _colour(),
            "tooltip": tooltip(rows="word lines", cols="bit lines", used="used", off="error"),
        },
    }  # fmt: skip
    rows = [
        (
            str(one.layers[int(p["i"])].name),
            _span(p["r"], p["r2"]),
            _span(p["c"], p["c2"]),
            f"{p['use']:.3g} %",
            "–" if p["error"] is None else f"{p['error']:.3g} %",
        )
        for p in places
    ]
    columns = ("array", "word lines", "bit lines", "used", "error")
    table = DataTable.of(f"places-{number}", f"Places within tiles{where}", columns, rows)
    choices = (_arrays(one), Choice("Show", "what", WHAT, first=1))
    return Chart(
        f"tile-{number}",
        f"Within the tiles of one array{where}: cells used, and error of the cells",
        "Places are averaged over all tiles of the array; blank places hold no weights, or, for "
        "the error, no formed cells.",
        spec,
        table,
        choices,
        420,
        narrow=True,
    )


def _arrays(one: TileMap) -> Choice:
    """The array that is shown; the largest at first."""
    cells = [layer.cells for layer in one.layers]
    names = tuple(layer.name for layer in one.layers)
    return Choice("Array", "layer", names, first=cells.index(max(cells)))


def _colour() -> Spec:
    return {
        "field": "value",
        "type": "quantitative",
        "title": "what is shown [%]",
        "scale": {"scheme": "viridis", "zero": True},
        "legend": {"orient": "top", "gradientLength": 180, "format": ".3~g"},
    }


def _numbered(found: list[Spec], deep: int) -> Spec:
    """Tiles as a grid of so many rows, each with its value."""
    return {
        "data": {"values": found},
        "transform": [
            {"filter": "datum.i == layer"},
            {"calculate": "what == 0 ? datum.use : datum.error", "as": "value"},
            {"filter": "isValid(datum.value)"},
            {"calculate": "format(datum.value, '.2~g')", "as": "number"},
            *_texts(),
        ],
        "encoding": {
            "x": {"field": "x", "type": "ordinal", "title": None, "axis": None,
                  "scale": {"domain": list(range(ACROSS))}},
            "y": {"field": "y", "type": "ordinal", "title": None, "axis": None,
                  "scale": {"domain": list(range(deep))}},
            "tooltip": tooltip(tile="tile", used="used", off="error"),
        },
        "layer": [
            {
                "mark": {"type": "rect", "stroke": "#8a8f98", "strokeWidth": 0.5},
                "encoding": {"color": _colour()},
            },
            *(_number(**look) for look in ({"stroke": "white", "strokeWidth": 3}, {})),
        ],
    }  # fmt: skip


def _number(**look: Any) -> Spec:
    """The value of a tile, written into it."""
    mark = {"type": "text", "fontSize": 11, "color": "black", **look}
    return {"mark": mark, "encoding": {"text": {"field": "number", "type": "nominal"}}}


def _spots(i: int, layer: LayerMap) -> Iterator[Spec]:
    down, across = layer.use.shape
    for r in range(down):
        for c in range(across):
            use, error = float(layer.use[r, c]), float(layer.error[r, c])
            if not use:
                continue
            first = [-(-k * layer.tile[0] // down) for k in (r, r + 1)]
            second = [-(-k * layer.tile[1] // across) for k in (c, c + 1)]
            yield {
                "i": i,
                "r": first[0],
                "r2": first[1],
                "c": second[0],
                "c2": second[1],
                "use": round(100 * use, 3),
                "error": None if math.isnan(error) else round(100 * error, 4),
            }


def _span(first: int, end: int) -> str:
    return f"{first}" if end - first == 1 else f"{first} to {end - 1}"


def _texts() -> list[Spec]:
    """Use and error as a reader reads them."""
    return [
        {"calculate": "format(datum.use, '.3~g') + ' %'", "as": "used"},
        {
            "calculate": "isValid(datum.error) ? format(datum.error, '.3~g') + ' %' : '–'",
            "as": "off",
        },
    ]


def _overview(one: TileMap, where: str, number: int) -> Chart:
    """All tiles of the chosen array, one beside the other."""
    found: list[Spec] = []
    cells: list[tuple[str, ...]] = []
    rows: list[dict[str, str | int | float | None]] = []
    most = max(FEWEST_TILES, min(MOST_TILES, ALL_TILES // len(one.layers)))
    for i, layer in enumerate(one.layers):
        for tile in layer.tiles:
            texts = (_percent(tile.use), _percent(tile.error))
            place = f"{tile.number}: digit {tile.slice}, {tile.polarity}, {tile.rows}x{tile.cols}"
            if tile.number < most:
                found.append(
                    {
                        "i": i,
                        "x": tile.number % ACROSS,
                        "y": tile.number // ACROSS,
                        "tile": place,
                        "use": round(100 * tile.use, 3),
                        "error": None if tile.error is None else round(100 * tile.error, 4),
                    }
                )
            told = (str(tile.number), str(tile.slice), tile.polarity, f"{tile.rows}x{tile.cols}")
            cells.append(
                (layer.name, *told, f"{tile.cells:,}", texts[0], f"{tile.formed:,}", texts[1])
            )
            rows.append({"array": layer.name, **vars(tile)})
    deep = 1 + max(tile["y"] for tile in found)
    table = DataTable.of(f"tiles-{number}", f"Tiles{where}", OF_TILES, cells, rows)
    largest = max(len(layer.tiles) for layer in one.layers)
    more = f" The first {most} tiles of an array are drawn." if largest > most else ""
    choices = (_arrays(one), Choice("Show", "what", WHAT))
    return Chart(
        f"map-{number}",
        f"Tiles of one array{where}, by number from left to right",
        f"Numbers in tiles are %. Digit 0 is the least significant of the weights.{more}",
        _numbered(found, deep),
        table,
        choices,
        34 * deep,
    )
