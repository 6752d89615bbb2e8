"""Which core each tile lies on: copies one behind another along a curve through the mesh."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nvmc.cost.mesh import Mesh
from nvmc.hardware.rows import tile_of
from nvmc.hardware.tiling import Matrix, Tile, tiles_of
from nvmc.place.work import Work

__all__ = ["CURVES", "Chunk", "Copy", "Plan", "curve", "in_order", "lay_out"]


@dataclass(frozen=True)
class Chunk:
    """The tiles of one array that lie on one core, of one copy.

    Attributes:
        core: The core.
        numbers: Of the tiles, as `tile:ARRAY:NUMBER` in tiles.json.
        inputs: Inputs that they take, over all rows and groups of the array, each once.
        sums: Columns that they give partial sums of, over all groups, each once.
    """

    core: int
    numbers: tuple[int, ...]
    inputs: int
    sums: int


@dataclass(frozen=True)
class Copy:
    """One copy of a unit's arrays.

    Attributes:
        home: The core with most of its tiles, where sums are completed.
        chunks: Its tiles by array and core.
    """

    home: int
    chunks: dict[str, tuple[Chunk, ...]]


@dataclass(frozen=True)
class Plan:
    """Where everything lies.

    Attributes:
        name: Of the curve.
        copies: Of each unit, in its order.
        filled: Tiles on each core.
    """

    name: str
    copies: tuple[tuple[Copy, ...], ...]
    filled: tuple[int, ...]


def _by_rows(columns: int, rows: int) -> Iterator[tuple[int, int]]:
    """Row by row, every other one backwards."""
    for row in range(rows):
        for step in range(columns):
            yield row, step if row % 2 == 0 else columns - 1 - step


def _by_columns(columns: int, rows: int) -> Iterator[tuple[int, int]]:
    """Column by column, every other one upwards."""
    for row, column in _by_rows(rows, columns):
        yield column, row


def _by_stripes(columns: int, rows: int) -> Iterator[tuple[int, int]]:
    """Stripes of two rows, column by column in each: what follows one another is near."""
    for number, top in enumerate(range(0, rows, 2)):
        for step in range(columns):
            column = step if number % 2 == 0 else columns - 1 - step
            pair = [row for row in (top, top + 1) if row < rows]
            for row in pair if step % 2 == 0 else reversed(pair):
                yield row, column


CURVES: dict[str, Callable[[int, int], Iterator[tuple[int, int]]]] = {
    "rows": _by_rows,
    "columns": _by_columns,
    "stripes": _by_stripes,
}
"""Name -> cores of a mesh of so many columns and rows in the order in which they are filled."""


def curve(mesh: Mesh, name: str) -> list[int]:
    """Numbers of all cores in the order of a curve; chiplets follow one another as rows do."""
    found: list[int] = []
    for high, wide in _by_rows(mesh.chiplet_columns, mesh.chiplet_rows):
        for row, column in CURVES[name](mesh.columns, mesh.rows):
            found.append((high * mesh.rows + row) * mesh.width + wide * mesh.columns + column)
    return found


Listed = dict[str, list[tuple[int, Tile]]]


def lay_out(
    work: Work, copies: Sequence[int], mesh: Mesh, name: str, listed: Listed | None = None
) -> Plan:
    """Lay all copies onto cores, in the order of their layers.

    Args:
        work: The network.
        copies: Of each unit; they have to fit onto the mesh.
        mesh: The cores.
        name: Of the curve.
        listed: What `in_order` gives, where it is there already.
    """
    arranged = in_order(work) if listed is None else listed
    order = curve(mesh, name)
    filled = [0] * mesh.cores
    start = 0
    laid: list[tuple[Copy, ...]] = []
    known: dict[tuple[str, int, int], tuple[tuple[int, ...], int, int]] = {}
    for unit, number in enumerate(copies):
        found: list[Copy] = []
        for _ in range(number):
            chunks: dict[str, tuple[Chunk, ...]] = {}
            weight: Counter[int] = Counter()
            for array in work.arrays[unit]:
                tiles, begin = arranged[array], 0
                parts: list[Chunk] = []
                while begin < len(tiles):
                    core = order[start // mesh.tiles]
                    end = min(len(tiles), begin + mesh.tiles - start % mesh.tiles)
                    key = (array, begin, end)
                    if key not in known:
                        known[key] = _summary(tiles[begin:end])
                    parts.append(Chunk(core, *known[key]))
                    filled[core] += end - begin
                    weight[core] += end - begin
                    start += end - begin
                    begin = end
                chunks[array] = tuple(parts)
            home = max(weight, key=weight.__getitem__)  # the first of the fullest
            found.append(Copy(home, chunks))
        laid.append(tuple(found))
    return Plan(name, tuple(laid), tuple(filled))


def in_order(work: Work) -> Listed:
    """The tiles of each array in the order in which they are laid."""
    return {array: _ordered(work, array) for unit in work.arrays for array in unit}


def _ordered(work: Work, array: str) -> list[tuple[int, Tile]]:
    """Tiles with their numbers, those that give sums of the same columns side by side."""
    entry, target = work.entries[array], work.targets[array]
    matrix = Matrix(entry.groups, entry.rows, entry.cols)
    found = list(enumerate(tiles_of(matrix, entry.planes, *tile_of(target))))
    return sorted(found, key=lambda one: (one[1].groups, one[1].cols, one[1].rows, one[1].plane))


def _summary(tiles: Sequence[tuple[int, Tile]]) -> tuple[tuple[int, ...], int, int]:
    """Numbers, inputs and sums of tiles on one core."""
    inputs = {(tile.groups, tile.rows) for _, tile in tiles}
    sums = {(tile.groups, tile.cols) for _, tile in tiles}

    def size(of: set[tuple[tuple[int, int], tuple[int, int]]]) -> int:
        return sum((g1 - g0) * (b - a) for (g0, g1), (a, b) in of)

    return tuple(number for number, _ in tiles), size(inputs), size(sums)
