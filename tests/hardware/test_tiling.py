"""Every element of every matrix lies on exactly one tile of each plane."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from nvmc.compiled.operators import OPS
from nvmc.hardware.tiling import (
    Channels,
    Matrix,
    Place,
    matrices,
    matrix_of,
    row_spans,
    shared_channels,
    tile_lines,
    tile_numbers,
    tiles_of,
)

side = st.integers(1, 9)
some_matrix = st.builds(Matrix, groups=side, rows=side, cols=side)


def test_rows_are_filled_or_spread_evenly():
    assert row_spans(10, 4) == [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert row_spans(10, 4, even=True) == [slice(0, 4), slice(4, 7), slice(7, 10)]
    assert row_spans(8, 4, even=True) == row_spans(8, 4)
    assert row_spans(3, 4, even=True) == row_spans(3, 4) == [slice(0, 3)]
    assert row_spans(0, 4, even=True) == row_spans(0, 4) == []


@given(st.integers(0, 500), st.integers(1, 60))
def test_even_rows_need_no_more_tiles(count: int, size: int):
    even, filled = row_spans(count, size, even=True), row_spans(count, size)
    heights = [tile.stop - tile.start for tile in even]
    assert len(even) == len(filled)
    assert [row for tile in even for row in range(tile.start, tile.stop)] == list(range(count))
    assert not heights or (max(heights) <= size and max(heights) - min(heights) <= 1)
    assert heights == sorted(heights, reverse=True)


@given(some_matrix, st.integers(1, 3), side, side, st.booleans())
def test_tiles_cover_each_element_once(
    matrix: Matrix, planes: int, rows: int, cols: int, even: bool
):
    seen = np.zeros((planes, matrix.groups, matrix.rows, matrix.cols), int)
    total = 0
    for tile in tiles_of(matrix, planes, rows, cols, even):
        (g0, g1), (r0, r1), (c0, c1) = tile.groups, tile.rows, tile.cols
        seen[tile.plane, g0:g1, r0:r1, c0:c1] += 1
        total += tile.cells
    assert np.all(seen == 1)
    assert total == seen.size


@given(some_matrix, side, side)
def test_groups_on_one_tile_share_no_line(matrix: Matrix, rows: int, cols: int):
    """Packed along the diagonal, g matrices take g times the rows and the columns of one."""
    for tile in tiles_of(matrix, 1, rows, cols):
        packed = tile.groups[1] - tile.groups[0]
        assert packed * (tile.rows[1] - tile.rows[0]) <= rows
        assert packed * (tile.cols[1] - tile.cols[0]) <= cols
        if packed > 1:
            assert (tile.rows, tile.cols) == ((0, matrix.rows), (0, matrix.cols))


@given(some_matrix, st.integers(1, 3), side, side)
def test_no_two_tiles_could_be_one(matrix: Matrix, planes: int, rows: int, cols: int):
    """As many tiles as the smallest number of blocks, or of full diagonals."""
    packed = max(1, min(rows // matrix.rows, cols // matrix.cols))
    blocks = math.ceil(matrix.rows / rows) * math.ceil(matrix.cols / cols)
    count = sum(1 for _ in tiles_of(matrix, planes, rows, cols))
    assert count == planes * math.ceil(matrix.groups / packed) * blocks


PLACES = [
    (Place("CrossbarConv"), (6, 3, 5, 5), Matrix(1, 75, 6)),
    (Place("CrossbarConv", 2), (6, 2, 3), Matrix(2, 6, 3)),
    (Place("CrossbarConv", 8), (8, 1, 3), Matrix(8, 3, 1)),
    (Place("CrossbarConvTranspose"), (4, 3, 2, 2), Matrix(1, 4, 12)),
    (Place("CrossbarConvTranspose", 2), (4, 3, 2, 2), Matrix(2, 2, 12)),
    (Place("CrossbarGemm", transposed=True), (120, 40), Matrix(1, 40, 120)),
    (Place("CrossbarGemm"), (40, 120), Matrix(1, 40, 120)),
    (Place("CrossbarMatMul"), (40, 120), Matrix(1, 40, 120)),
    (Place("CrossbarMatMul"), (2, 5, 7, 3), Matrix(10, 7, 3)),
    (Place("CrossbarMatMul"), (7,), Matrix(1, 7, 1)),
    (Place("CrossbarLeftMatMul"), (7, 3), Matrix(1, 3, 7)),
    (Place("CrossbarLeftMatMul"), (2, 5, 7, 3), Matrix(10, 3, 7)),
    (Place("CrossbarLeftMatMul"), (7,), Matrix(1, 7, 1)),
    (Place("CrossbarLSTM"), (2, 32, 10), Matrix(2, 10, 32)),
    (Place("CrossbarGRU"), (1, 24, 10), Matrix(1, 10, 24)),
    (Place("CrossbarRNN"), (1, 8, 10), Matrix(1, 10, 8)),
    (Place("CrossbarParameter"), (3, 4), Matrix(1, 12, 1)),
]


@pytest.mark.parametrize(("place", "shape", "expected"), PLACES)
def test_matrices_hold_every_element_once(place: Place, shape: tuple[int, ...], expected: Matrix):
    weight = np.arange(math.prod(shape)).reshape(shape)
    view = matrices(place, weight)
    assert matrix_of(place, shape) == expected
    assert view.shape == (expected.groups, expected.rows, expected.cols)
    assert np.shares_memory(view, weight)
    assert sorted(view.ravel()) == list(range(weight.size))
    torch_view = matrices(place, torch.from_numpy(weight))
    np.testing.assert_array_equal(torch_view.numpy(), view)


def test_every_operator_has_a_matrix_view():
    assert {place.op for place, _, _ in PLACES} == OPS.keys()
    with pytest.raises(KeyError, match="Softmax"):
        matrix_of(Place("Softmax"), (2, 2))


# The output elements that a weight's element reaches, by ONNX's own operators: those of one channel
# are reached by that channel's weights and no others.
_PRODUCTS = {
    "CrossbarConv": lambda w, place: functional.conv2d(
        torch.ones(1, w.shape[1] * place.groups, 3, 3), w, groups=place.groups
    ).flatten(2)[0, :, 0],
    "CrossbarConvTranspose": lambda w, place: functional.conv_transpose2d(
        torch.ones(1, w.shape[0], 1, 1), w, groups=place.groups
    ).sum((0, 2, 3)),
    "CrossbarGemm": lambda w, place: (w.T if place.transposed else w).sum(0),
    "CrossbarMatMul": lambda w, place: (torch.ones(1, w.shape[-2]) @ w).flatten(),
    "CrossbarLeftMatMul": lambda w, place: (w @ torch.ones(w.shape[-1], 1)).flatten(),
}


@pytest.mark.parametrize(
    ("place", "shape"),
    [
        (Place("CrossbarConv"), (6, 3, 3, 3)),
        (Place("CrossbarConv", 2), (6, 2, 3, 3)),
        (Place("CrossbarConvTranspose"), (4, 3, 2, 2)),
        (Place("CrossbarConvTranspose", 2), (4, 3, 2, 2)),
        (Place("CrossbarGemm"), (4, 5)),
        (Place("CrossbarGemm", transposed=True), (4, 5)),
        (Place("CrossbarMatMul"), (2, 4, 5)),
        (Place("CrossbarLeftMatMul"), (2, 4, 5)),
    ],
)
def test_a_channel_is_what_its_weights_reach(place: Place, shape: tuple[int, ...]):
    channels = Channels(place, shape)
    numbers = np.broadcast_to(channels.numbers, shape)
    for channel in range(channels.count):
        weight = torch.from_numpy((numbers == channel).astype(np.float32))
        reached = torch.nonzero(_PRODUCTS[place.op](weight, place)).flatten().tolist()
        assert reached == [channel]


@pytest.mark.parametrize(("place", "shape"), [(place, shape) for place, shape, _ in PLACES])
def test_the_largest_weight_of_each_channel(place: Place, shape: tuple[int, ...]):
    weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    channels = Channels(place, shape)
    largest = channels.largest(weight)
    numbers = np.broadcast_to(channels.numbers, shape)
    for channel in range(channels.count):
        held = np.broadcast_to(largest, shape)[numbers == channel]
        assert np.all(held == np.abs(weight[numbers == channel]).max())
    assert largest.shape == () if len(shape) == 1 else largest.ndim == len(shape)
    np.testing.assert_array_equal(channels.largest(torch.from_numpy(weight)).numpy(), largest)


def test_uses_that_count_channels_alike_share_their_scales():
    shape = (4, 4)
    right, left = Place("CrossbarMatMul"), Place("CrossbarLeftMatMul")
    shared = shared_channels([right, Place("CrossbarGemm"), right], shape)
    assert shared is not None and shared.numbers.shape == (1, 4)
    assert shared_channels([right, left], shape) is None


def test_tiles_are_numbered_as_the_manifest_lists_them():
    place = Place("CrossbarConv")
    numbers = tile_numbers(place, (4, 2, 3, 1), rows=4, cols=3)  # 6 rows x 4 columns
    assert numbers.shape == (4, 2, 3, 1)
    assert numbers[0].ravel().tolist() == [0, 0, 0, 0, 2, 2]
    assert numbers[3].ravel().tolist() == [1, 1, 1, 1, 3, 3]


@pytest.mark.parametrize(("place", "shape", "matrix"), PLACES)
@given(rows=st.integers(1, 9), cols=st.integers(1, 9))
def test_tile_numbers_follow_from_rows_and_columns(
    place: Place, shape: tuple[int, ...], matrix: Matrix, rows: int, cols: int
):
    """Tiles are counted along columns, then rows, then the groups that share no tile."""
    packed = max(1, min(rows // matrix.rows, cols // matrix.cols))
    group, row, col = np.indices((matrix.groups, matrix.rows, matrix.cols))
    down, across = math.ceil(matrix.rows / rows), math.ceil(matrix.cols / cols)
    expected = ((group // packed) * down + row // rows) * across + col // cols
    found = matrices(place, tile_numbers(place, shape, rows, cols))
    np.testing.assert_array_equal(found, expected)
    lines = tile_lines(place, shape, rows, cols)
    words = row % rows + (group % packed) * (matrix.rows if packed > 1 else 0)
    bits = col % cols + (group % packed) * (matrix.cols if packed > 1 else 0)
    np.testing.assert_array_equal(matrices(place, lines.rows), words)
    np.testing.assert_array_equal(matrices(place, lines.cols), bits)
    assert lines.size == (rows, cols)


SMALL = [pytest.param(*each) for each in PLACES if math.prod(each[1]) < 300]


@pytest.mark.parametrize(("place", "shape", "matrix"), SMALL)
@pytest.mark.parametrize(("rows", "cols"), [(1, 2), (4, 3), (7, 7), (80, 80)])
def test_numbers_and_lines_are_those_of_the_tiles_one_by_one(
    place: Place, shape: tuple[int, ...], matrix: Matrix, rows: int, cols: int
):
    for even in (False, True):
        numbers = matrices(place, tile_numbers(place, shape, rows, cols, even))
        lines = tile_lines(place, shape, rows, cols, even)
        words, bits = matrices(place, lines.rows), matrices(place, lines.cols)
        for number, tile in enumerate(tiles_of(matrix, 1, rows, cols, even)):
            part = slice(*tile.groups), slice(*tile.rows), slice(*tile.cols)
            group, row, col = np.indices(numbers[part].shape)
            assert (numbers[part] == number).all()
            assert (words[part] == group * matrix.rows + row).all()
            assert (bits[part] == group * matrix.cols + col).all()
