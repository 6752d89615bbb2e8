"""Which rows of a matrix lie on which tile, and which of them are read at a time."""

from __future__ import annotations

from bisect import bisect_right

from nvmc.hardware.devices import Target
from nvmc.hardware.devices.periphery import WaitingRows
from nvmc.hardware.tiling import row_spans

__all__ = ["first_rows", "reads_of_rows", "rows_of_tiles", "tile_of", "turns", "waiting"]


def tile_of(target: Target) -> tuple[int, int, bool]:
    """Word lines and bit lines of a tile, and whether rows are spread evenly over tiles."""
    return target.rows, target.cols, target.periphery.row_split == "even"


def rows_of_tiles(target: Target, rows: int) -> list[slice]:
    """The rows of every row of tiles, in order.

    Args:
        target: Of the layer.
        rows: Of its matrices.
    """
    return row_spans(rows, target.rows, target.periphery.row_split == "even")


def reads_of_rows(target: Target, rows: int) -> list[slice]:
    """The rows that are driven together, each time for a conversion of its own, in order.

    Those of a tile, or at most `rows_on` of them.
    """
    return [
        slice(tile.start + turn.start, tile.start + turn.stop)
        for tile in rows_of_tiles(target, rows)
        for turn in turns(target, tile.stop - tile.start)
    ]


def turns(target: Target, rows: int) -> list[slice]:
    """Which of a tile's rows in use are driven together, turn by turn."""
    most = target.periphery.rows_on
    if most is None:
        return [slice(0, rows)]
    return [slice(first, min(first + most, rows)) for first in range(0, rows, most)]


def waiting(target: Target) -> WaitingRows:
    """What rows do whose turn it is not; `ground` also where none waits."""
    around = target.periphery
    return "ground" if around.rows_on is None else around.waiting_rows


def first_rows(target: Target, rows: int) -> list[int]:
    """Of each of `reads_of_rows`, the first row that its row of tiles has where all are filled.

    It tells rows of tiles apart, and the converters that read their parts in turn.
    """
    starts = [tile.start for tile in rows_of_tiles(target, rows)]
    reads = reads_of_rows(target, rows)
    return [(bisect_right(starts, read.start) - 1) * target.rows for read in reads]
