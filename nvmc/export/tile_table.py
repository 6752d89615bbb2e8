"""`tiles.csv`: which tile is where, and in which file."""

from __future__ import annotations

import csv
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from nvmc.hardware.tile_cells import TileCells

__all__ = ["TABLE_FILE", "TileTable", "tile_table"]

TABLE_FILE = "tiles.csv"
_COLUMNS = (
    "array,tile,file,plane,slice,polarity,coefficient,group_begin,group_end,row_begin,row_end,"
    "col_begin,col_end,word_lines,bit_lines,reference_columns"
).split(",")


class TileTable:
    """Rows of `tiles.csv`.

    Attributes:
        count: How many tiles were added.
    """

    def __init__(self, stream: TextIO) -> None:
        self._rows = csv.writer(stream, lineterminator="\n")
        self._rows.writerow(_COLUMNS)
        self.count = 0

    def add(self, tile: TileCells, path: Path) -> None:
        """Say that a tile is in a file."""
        self._rows.writerow(_row(tile, path.name))
        self.count += 1


@contextmanager
def tile_table(folder: Path) -> Generator[TileTable]:
    """The table of a folder, written while the block runs.

    Raises:
        OSError: It cannot be written.
    """
    with (folder / TABLE_FILE).open("w", encoding="utf-8", newline="") as stream:
        yield TileTable(stream)


def _row(tile: TileCells, file: str) -> list[Any]:
    """A tile's row of the table."""
    spans = [*tile.groups, *tile.rows, *tile.cols]
    beside = 0 if tile.reference_us is None else tile.reference_us.shape[1]
    own = [tile.array, tile.number, file, tile.plane, tile.slice, tile.polarity, tile.coefficient]
    return [*own, *spans, *tile.conductance_us.shape, beside]
