"""Which part of which weight sits on which tile.

An array's weight is seen as `groups` matrices of `rows` inputs by `cols` outputs, as a crossbar
computes it. Each matrix is cut into blocks of at most tile rows x tile cols; rows fill one tile
after the other, or are spread evenly over as many tiles (`row_spans`). Groups that are small
enough share a tile along its diagonal, so that no two of them share a word line or a bit line
(the cells off the diagonal stay unformed). Every plane has tiles of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

__all__ = [
    "Channels",
    "Lines",
    "Matrix",
    "Place",
    "Tile",
    "count_tiles",
    "matrices",
    "matrix_of",
    "mean_magnitude",
    "row_spans",
    "shared_channels",
    "tile_lines",
    "tile_numbers",
    "tiles_of",
]


@dataclass(frozen=True)
class Matrix:
    """A weight as the crossbar sees it: `groups` matrices, `rows` inputs by `cols` outputs."""

    groups: int
    rows: int
    cols: int


@dataclass(frozen=True)
class Tile:
    """One crossbar tile of one plane.

    Attributes:
        plane: Plane it holds.
        groups: First group and one past the last; more than one only when packed diagonally.
        rows: First row and one past the last, of each group's matrix.
        cols: First column and one past the last, likewise.
    """

    plane: int
    groups: tuple[int, int]
    rows: tuple[int, int]
    cols: tuple[int, int]

    @property
    def cells(self) -> int:
        """Cells in use."""
        (g0, g1), (r0, r1), (c0, c1) = self.groups, self.rows, self.cols
        return (g1 - g0) * (r1 - r0) * (c1 - c0)


@dataclass(frozen=True)
class Lines:
    """Which lines of its tile the cells of each weight sit on.

    Attributes:
        rows: Word line of every weight, from 0, of the weight's shape.
        cols: Bit line, likewise.
        size: Word and bit lines of a whole tile.
    """

    rows: NDArray[np.int32]
    cols: NDArray[np.int32]
    size: tuple[int, int]


@dataclass(frozen=True)
class Place:
    """How an operator uses a weight, which says where its elements sit.

    Attributes:
        op: `nvmc` operator.
        groups: `group` of a convolution.
        transposed: `transB` of a Gemm.
    """

    op: str
    groups: int = 1
    transposed: bool = False

    @classmethod
    def of(cls, op: str, attributes: Mapping[str, Any]) -> Place:
        """The place that a node's attributes (int, str, ...) describe; others have no say in it."""
        groups, transposed = attributes.get("group", 1), attributes.get("transB", 0)
        return cls(op, int(groups), bool(transposed))

    @property
    def columns_first(self) -> bool:
        """Whether the weight's shape counts columns before rows."""
        return self.op in _COLUMNS_FIRST or (self.op == "CrossbarGemm" and self.transposed)


_COLUMNS_FIRST = frozenset(
    "CrossbarConv CrossbarGRU CrossbarLSTM CrossbarLeftMatMul CrossbarRNN".split()
)
_ROWS_FIRST = frozenset(
    "CrossbarConvTranspose CrossbarGemm CrossbarMatMul CrossbarParameter".split()
)


def matrices(place: Place, weight: Any) -> Any:
    """The weight as the crossbar multiplies by it, y = x @ matrix.

    The one place that says which element of a weight sits in which row and column of which group;
    `matrix_of`, `tile_numbers` and `Channels` follow from it.

    Args:
        place: How the weight is used.
        weight: In its ONNX shape, NumPy or torch.

    Returns:
        Shape (groups, rows, cols); a view where there can be one, always of a contiguous weight.

    Raises:
        KeyError: There is no such operator.
    """
    shape = tuple(weight.shape)
    if place.op not in _COLUMNS_FIRST | _ROWS_FIRST:
        raise KeyError(f"no matrix view of operator {place.op!r}")
    if place.op in ("CrossbarConv", "CrossbarConvTranspose"):
        blocks = (place.groups, shape[0] // place.groups, math.prod(shape[1:]))
    elif place.op == "CrossbarParameter" or len(shape) == 1:
        return weight.reshape(1, math.prod(shape), 1)
    else:
        blocks = (math.prod(shape[:-2]), *shape[-2:])
    view = weight.reshape(blocks)
    return view.swapaxes(1, 2) if place.columns_first else view


def matrix_of(place: Place, shape: tuple[int, ...]) -> Matrix:
    """How many matrices a weight of `shape` is, and their size."""
    return Matrix(*matrices(place, np.broadcast_to(np.uint8(0), shape)).shape)


class Channels:
    """The output channels of a weight: what a scale of its own can belong to.

    A channel is a column, but for a transposed convolution, each of whose channels has a column for
    every place of the kernel.

    Args:
        place: How the weight is used.
        shape: Its ONNX shape.

    Attributes:
        count: Channels, those of all groups.
        numbers: The channel of each element, from 0: of the weight's rank, with length 1 on every
            axis along which it does not vary. A vector is a single channel, and this a scalar.
    """

    def __init__(self, place: Place, shape: tuple[int, ...]) -> None:
        self._place = place
        self._columns = math.prod(shape[2:]) if place.op == "CrossbarConvTranspose" else 1
        numbers = np.empty(shape, np.int32)
        view = matrices(place, numbers)
        groups, _, cols = view.shape
        self.count = groups * cols // self._columns
        view[...] = (np.arange(groups * cols) // self._columns).reshape(groups, 1, cols)
        for axis in range(numbers.ndim):
            first = numbers.take([0], axis)
            numbers = first if np.all(numbers == first) else numbers
        self.numbers = (numbers if numbers.ndim > 1 else numbers.reshape(())).astype(np.int64)

    def largest(self, weight: Any) -> Any:
        """max|W| of each channel, to be broadcast against the weight, NumPy or torch."""
        xp = array_namespace(weight)
        columns = xp.max(xp.abs(matrices(self._place, weight)), axis=1)
        channels = xp.max(xp.reshape(columns, (self.count, self._columns)), axis=1)
        return channels[xp.asarray(self.numbers, device=weight.device)]

    def deviation(self, weight: Any) -> Any:
        """Standard deviation of each channel, to be broadcast against the weight."""
        xp = array_namespace(weight)
        view = matrices(self._place, weight)
        size = math.prod(weight.shape) // self.count

        def mean(values: Any) -> Any:
            columns = xp.reshape(xp.sum(values, axis=1), (self.count, self._columns))
            return xp.sum(columns, axis=1) / size

        middle = mean(view)[xp.asarray(self.numbers, device=weight.device)]
        spread = mean(xp.square(matrices(self._place, weight - middle)))
        return xp.sqrt(spread)[xp.asarray(self.numbers, device=weight.device)]

    def mean(self, weight: Any) -> Any:
        """mean|W| of each channel in float64, to be broadcast against the weight, NumPy or torch.

        One order of summation, so that both libraries give the same bits.
        """
        xp = array_namespace(weight)
        columns = _sum_of_rows(xp.astype(xp.abs(matrices(self._place, weight)), xp.float64))
        shared = xp.reshape(columns, (self.count, self._columns)).T
        channels = _sum_of_rows(shared[None, ...])[0, ...] / (math.prod(weight.shape) // self.count)
        return channels[xp.asarray(self.numbers, device=weight.device)]


def mean_magnitude(weight: Any) -> Any:
    """mean|W| of a weight in float64, summed as `Channels.mean` does; 0 of an empty one."""
    xp = array_namespace(weight)
    flat = xp.reshape(xp.astype(xp.abs(weight), xp.float64), (1, -1, 1))
    return _sum_of_rows(flat)[0, 0] / max(1, flat.shape[1])


def _sum_of_rows(values: Any) -> Any:
    """The sum along axis 1 of (groups, rows, cols), in halves: rows i and i + rows/2 first."""
    xp = array_namespace(values)
    if not values.shape[1]:
        return xp.sum(values, axis=1)
    while values.shape[1] > 1:
        half = values.shape[1] // 2
        left = values[:, 2 * half :, :]
        values = values[:, :half, :] + values[:, half : 2 * half, :]
        if left.shape[1]:
            values = xp.concat([values[:, :1, :] + left, values[:, 1:, :]], axis=1)
    return values[:, 0, :]


def shared_channels(places: Iterable[Place], shape: tuple[int, ...]) -> Channels | None:
    """The channels of a weight that is used in several ways; None where those do not agree."""
    first, *others = (Channels(place, shape) for place in dict.fromkeys(places))
    agree = all(np.array_equal(first.numbers, other.numbers) for other in others)
    return first if agree else None


def row_spans(count: int, size: int, even: bool = False) -> list[slice]:
    """The rows of every tile, in order: ceil(count / size) tiles.

    Args:
        count: Rows of the matrix.
        size: Word lines of a tile.
        even: Whether the numbers of rows differ by at most one, the larger ones first; else every
            tile but the last is full.
    """
    if not even:
        return [slice(first, min(first + size, count)) for first in range(0, count, size)]
    tiles = -(-count // size)
    least, more = divmod(count, max(1, tiles))
    firsts = [tile * least + min(tile, more) for tile in range(tiles + 1)]
    return [slice(first, last) for first, last in zip(firsts, firsts[1:], strict=False)]


def tiles_of(
    matrix: Matrix, planes: int, rows: int, cols: int, even: bool = False
) -> Iterator[Tile]:
    """The tiles of one array, plane by plane, in row-major order.

    Args:
        matrix: What lies on them.
        planes: Of its cells.
        rows: Word lines of a tile.
        cols: Bit lines of a tile.
        even: How rows are spread over tiles (`row_spans`).
    """
    packed = _packed(matrix, rows, cols)
    for plane in range(planes):
        for group in range(0, matrix.groups, packed):
            last = min(group + packed, matrix.groups)
            for row in row_spans(matrix.rows, rows, even):
                for col in range(0, matrix.cols, cols):
                    yield Tile(
                        plane,
                        (group, last),
                        (row.start, row.stop),
                        (col, min(col + cols, matrix.cols)),
                    )


def count_tiles(matrix: Matrix, planes: int, rows: int, cols: int) -> int:
    """How many tiles `tiles_of` gives, which are not made."""
    packed = _packed(matrix, rows, cols)
    blocks = -(-matrix.rows // rows) * -(-matrix.cols // cols)
    return planes * -(-matrix.groups // packed) * blocks


def _packed(matrix: Matrix, rows: int, cols: int) -> int:
    """Groups that share a tile."""
    return max(1, min(rows // max(1, matrix.rows), cols // max(1, matrix.cols)))


def tile_numbers(
    place: Place, shape: tuple[int, ...], rows: int, cols: int, even: bool = False
) -> NDArray[np.int32]:
    """The tile of every element of a weight, numbered within a plane as `tiles_of` lists them.

    Args:
        place: How the weight is used.
        shape: Its ONNX shape.
        rows: Word lines of a tile.
        cols: Bit lines of a tile.
        even: How rows are spread over tiles (`row_spans`).

    Returns:
        Numbers from 0, of `shape`.
    """
    numbers = np.empty(shape, np.int32)
    view = matrices(place, numbers)
    matrix = Matrix(*view.shape)
    spans = row_spans(matrix.rows, rows, even)
    down, _ = _along(spans)
    groups = np.arange(matrix.groups, dtype=np.int32)[:, None, None] // _packed(matrix, rows, cols)
    firsts = (groups * len(spans) + down[:, None]) * -(-matrix.cols // cols)
    np.add(firsts, np.arange(matrix.cols, dtype=np.int32) // cols, out=view)
    return numbers


def tile_lines(
    place: Place, shape: tuple[int, ...], rows: int, cols: int, even: bool = False
) -> Lines:
    """Where in its tile every element of a weight sits.

    Args:
        place: How the weight is used.
        shape: Its ONNX shape.
        rows: Word lines of a tile.
        cols: Bit lines of a tile.
        even: How rows are spread over tiles (`row_spans`).
    """
    words, bits = np.empty(shape, np.int32), np.empty(shape, np.int32)
    word, bit = matrices(place, words), matrices(place, bits)
    matrix = Matrix(*word.shape)
    _, within = _along(row_spans(matrix.rows, rows, even))
    groups = np.arange(matrix.groups, dtype=np.int32)[:, None, None]
    diagonal = groups % _packed(matrix, rows, cols)  # groups that share a tile
    across = np.arange(matrix.cols, dtype=np.int32) % cols
    np.add(diagonal * matrix.rows, within[:, None], out=word)
    np.add(diagonal * matrix.cols, across, out=bit)
    return Lines(words, bits, (rows, cols))


def _along(spans: list[slice]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Of each row, the number of its span, and its place in it."""
    sizes = np.array([span.stop - span.start for span in spans], np.int32)
    starts = np.array([span.start for span in spans], np.int32)
    numbers = np.repeat(np.arange(len(spans), dtype=np.int32), sizes)
    return numbers, np.arange(len(numbers), dtype=np.int32) - starts[numbers]
