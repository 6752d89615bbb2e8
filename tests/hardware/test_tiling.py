"""Every element of every matrix lies on exactly one tile of each plane."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvmc.compiled.operators import OPS
from nvmc.hardware.tiling import Matrix, Place, matrix_of, tile_numbers, tiles_of
from nvmc.runtime.crossbar.lowering import matrices as matrices_of

side = st.integers(1, 9)
matrices = st.builds(Matrix, groups=side, rows=side, cols=side)


@given(matrices, st.integers(1, 3), side, side)
def test_tiles_cover_each_element_once(matrix: Matrix, planes: int, rows: int, cols: int):
    seen = np.zeros((planes, matrix.groups, matrix.rows, matrix.cols), int)
    total = 0
    for tile in tiles_of(matrix, planes, rows, cols):
        (g0, g1), (r0, r1), (c0, c1) = tile.groups, tile.rows, tile.cols
        seen[tile.plane, g0:g1, r0:r1, c0:c1] += 1
        total += tile.cells
    assert np.all(seen == 1)
    assert total == seen.size


@given(matrices, side, side)
def test_groups_on_one_tile_share_no_line(matrix: Matrix, rows: int, cols: int):
    """Packed along the diagonal, g matrices take g times the rows and the columns of one."""
    for tile in tiles_of(matrix, 1, rows, cols):
        packed = tile.groups[1] - tile.groups[0]
        assert packed * (tile.rows[1] - tile.rows[0]) <= rows
        assert packed * (tile.cols[1] - tile.cols[0]) <= cols
        if packed > 1:
            assert (tile.rows, tile.cols) == ((0, matrix.rows), (0, matrix.cols))


@given(matrices, st.integers(1, 3), side, side)
def test_no_two_tiles_could_be_one(matrix: Matrix, planes: int, rows: int, cols: int):
    """As many tiles as the smallest number of blocks, or of full diagonals."""
    packed = max(1, min(rows // matrix.rows, cols // matrix.cols))
    blocks = math.ceil(matrix.rows / rows) * math.ceil(matrix.cols / cols)
    count = sum(1 for _ in tiles_of(matrix, planes, rows, cols))
    assert count == planes * math.ceil(matrix.groups / packed) * blocks


@pytest.mark.parametrize(
    ("op", "shape", "options", "expected"),
    [
        ("Conv", (6, 3, 5, 5), {}, Matrix(1, 75, 6)),
        ("Conv", (8, 1, 3), {"groups": 8}, Matrix(8, 3, 1)),
        ("ConvTranspose", (4, 3, 2, 2), {"groups": 2}, Matrix(2, 2, 12)),
        ("Gemm", (120, 400), {"transposed": True}, Matrix(1, 400, 120)),
        ("Gemm", (400, 120), {}, Matrix(1, 400, 120)),
        ("MatMul", (400, 120), {}, Matrix(1, 400, 120)),
        ("MatMul", (2, 5, 7, 3), {}, Matrix(10, 7, 3)),
        ("MatMul", (7,), {}, Matrix(1, 7, 1)),
        ("LeftMatMul", (7, 3), {}, Matrix(1, 3, 7)),
        ("LeftMatMul", (7,), {}, Matrix(1, 7, 1)),
        ("LSTM", (2, 32, 10), {}, Matrix(2, 10, 32)),
        ("GRU", (1, 24, 10), {}, Matrix(1, 10, 24)),
        ("RNN", (1, 8, 10), {}, Matrix(1, 10, 8)),
        ("Parameter", (3, 4), {}, Matrix(1, 12, 1)),
    ],
)
def test_matrix_of_each_operator(op: str, shape: tuple, options: dict, expected: Matrix):
    matrix = matrix_of(op, shape, **options)
    assert matrix == expected
    assert matrix.groups * matrix.rows * matrix.cols == math.prod(shape)


def test_every_operator_has_a_matrix_view():
    for name in OPS:
        assert matrix_of(name, (2, 2, 2)).groups >= 1
    with pytest.raises(KeyError, match="Softmax"):
        matrix_of("Softmax", (2, 2))


def test_tiles_are_numbered_as_the_manifest_lists_them():
    place = Place("Conv", groups=1)
    numbers = tile_numbers(place, (4, 2, 3, 1), rows=4, cols=3)  # 6 rows x 4 columns
    assert numbers.shape == (4, 2, 3, 1)
    assert numbers[0].ravel().tolist() == [0, 0, 0, 0, 2, 2]
    assert numbers[3].ravel().tolist() == [1, 1, 1, 1, 3, 3]


@pytest.mark.parametrize("op", sorted(OPS))
@given(groups=st.integers(1, 3), rows=st.integers(1, 9), cols=st.integers(1, 9))
def test_tile_numbers_are_those_of_the_tiles(op: str, groups: int, rows: int, cols: int):
    """Seen as the crossbar multiplies, each tile's rectangle holds its number and no other."""
    if op not in ("Conv", "ConvTranspose"):
        groups = 1
    shapes = {"Conv": (2 * groups, 3, 2), "ConvTranspose": (3 * groups, 2, 2), "Parameter": (5,)}
    shape = shapes.get(op, (7, 5) if op == "Gemm" else (2, 7, 5))
    for turned in (False, True) if op == "Gemm" else (False,):
        place = Place(op, groups, turned)
        numbers = tile_numbers(place, shape, rows, cols)
        seen = matrices_of(op, numbers, groups=groups, transposed=turned)
        matrix = matrix_of(op, shape, groups=groups, transposed=turned)
        assert seen.shape == (matrix.groups, matrix.rows, matrix.cols)
        for number, tile in enumerate(tiles_of(matrix, 1, rows, cols)):
            inside = seen[slice(*tile.groups), slice(*tile.rows), slice(*tile.cols)]
            assert np.all(inside == number) and np.count_nonzero(seen == number) == tile.cells
