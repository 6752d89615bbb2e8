"""Which part of which weight sits on which tile.

An array's weight is seen as `groups` matrices of `rows` inputs by `cols` outputs, as a crossbar
computes it. Each matrix is cut into blocks of at most tile rows x tile cols. Groups that are small
enough share a tile along its diagonal, so that no two of them share a word line or a bit line
(the cells off the diagonal stay unformed). Every plane has tiles of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Matrix", "Place", "Tile", "matrix_of", "tile_numbers", "tiles_of"]


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


def matrix_of(
    op: str, shape: tuple[int, ...], *, groups: int = 1, transposed: bool = False
) -> Matrix:
    """The matrices of a weight operand.

    Args:
        op: `nvmc` operator.
        shape: The weight's ONNX shape.
        groups: `group` of a convolution.
        transposed: `transB` of a Gemm.
    """
    size = math.prod(shape)
    match op:
        case "Conv":
            return Matrix(groups, math.prod(shape[1:]), shape[0] // groups)
        case "ConvTranspose":
            return Matrix(groups, shape[0] // groups, math.prod(shape[1:]))
        case "Gemm":
            rows, cols = (shape[1], shape[0]) if transposed else (shape[0], shape[1])
            return Matrix(1, rows, cols)
        case "MatMul":
            rows, cols = (shape[-2], shape[-1]) if len(shape) > 1 else (size, 1)
        case "LeftMatMul":
            rows, cols = (shape[-1], shape[-2]) if len(shape) > 1 else (size, 1)
        case "LSTM" | "GRU" | "RNN":
            rows, cols = shape[-1], shape[-2]
        case "Parameter":
            rows, cols = size, 1
        case _:
            raise KeyError(f"no matrix view of operator {op!r}")
    return Matrix(size // max(1, rows * cols), rows, cols)


def tiles_of(matrix: Matrix, planes: int, rows: int, cols: int) -> Iterator[Tile]:
    """The tiles of one array, plane by plane, in row-major order."""
    packed = max(1, min(rows // max(1, matrix.rows), cols // max(1, matrix.cols)))
    for plane in range(planes):
        for group in range(0, matrix.groups, packed):
            last = min(group + packed, matrix.groups)
            for row in range(0, matrix.rows, rows):
                for col in range(0, matrix.cols, cols):
                    yield Tile(
                        plane,
                        (group, last),
                        (row, min(row + rows, matrix.rows)),
                        (col, min(col + cols, matrix.cols)),
                    )


def tile_numbers(place: Place, shape: tuple[int, ...], rows: int, cols: int) -> NDArray[np.int32]:
    """The tile of every element of a weight, numbered within a plane as `tiles_of` lists them.

    Args:
        place: How the weight is used.
        shape: Its ONNX shape.
        rows: Word lines of a tile.
        cols: Bit lines of a tile.

    Returns:
        Numbers from 0, of `shape`.
    """
    matrix = matrix_of(place.op, shape, groups=place.groups, transposed=place.transposed)
    packed = max(1, min(rows // max(1, matrix.rows), cols // max(1, matrix.cols)))
    across, down = -(-matrix.cols // cols), -(-matrix.rows // rows)
    group = np.arange(matrix.groups, dtype=np.int32)[:, None, None] // packed
    row = np.arange(matrix.rows, dtype=np.int32)[:, None] // rows
    col = np.arange(matrix.cols, dtype=np.int32) // cols
    numbers = (group * down + row) * across + col
    flipped = place.op in _COLUMNS_FIRST or (place.op == "Gemm" and place.transposed)
    return (numbers.swapaxes(1, 2) if flipped else numbers).reshape(shape)


_COLUMNS_FIRST = ("Conv", "LeftMatMul", "LSTM", "GRU", "RNN")
