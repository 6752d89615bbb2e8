"""Variation that cells share along lines of a tile, and its gradient: variances, correlations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nvmc.errors import OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Device, Target, parse_noise
from nvmc.hardware.tiling import Place

CHIPS = 1500
ROWS, COLS = 6, 4  # of a tile; a 12 x 8 matrix takes four


def target(*texts: str, bits: int = 2, **options: Any) -> Target:
    head = {"name": "d", "title": "t", "source": "s", "levels": 4, **options}
    device = Device.model_validate(head).with_noise([parse_noise(text) for text in texts])
    return Target.of(device, weight_bits=bits, rows=ROWS, cols=COLS)


def array(cells: Target, shape: tuple[int, ...] = (12, 8), op: str = "CrossbarMatMul") -> Array:
    return Array("w", np.full(shape, 2, np.int8), np.ones((), np.float32), cells, Place(op))


def errors(text: str, chips: int = CHIPS) -> np.ndarray:
    """Errors of every cell on many chips, shape (chips, rows, cols), in level steps."""
    cells = target(text)
    held = array(cells)
    levels = [Chip.of(cells, 3, index).program(held).levels[0] for index in range(chips)]
    return np.stack(levels).astype(float) - 2


def assert_covariance(found: np.ndarray, expected: np.ndarray) -> None:
    """Sample covariances of n normals have variances (c_ii c_jj + c_ij^2)/n; five of them."""
    flat = found.reshape(len(found), -1)
    sample = flat.T @ flat / len(flat)  # the mean is known to be zero
    size = np.outer(np.diag(expected), np.diag(expected)) + expected**2
    assert np.all(np.abs(sample - expected) <= 5 * np.sqrt(size / len(flat)) + 1e-6)


def expected_covariance(row: float, col: float, gradient: float) -> np.ndarray:
    """By cells: sigma^2 for each line that two share, and the gradient's u u' + v v'."""
    places = [(r, c) for r in range(12) for c in range(8)]
    found = np.zeros((96, 96))
    for i, (r, c) in enumerate(places):
        for j, (s, d) in enumerate(places):
            if (r // ROWS, c // COLS) != (s // ROWS, d // COLS):
                continue
            found[i, j] += row**2 * (r == s) + col**2 * (c == d)
            u, v = ((2 * (k % ROWS) + 1) / ROWS - 1 for k in (r, s))
            w, x = ((2 * (k % COLS) + 1) / COLS - 1 for k in (c, d))
            found[i, j] += gradient**2 * (u * v + w * x)
    return found


@pytest.mark.parametrize(
    ("row", "col", "gradient"),
    [(0.2, 0.0, 0.0), (0.0, 0.3, 0.0), (0.0, 0.0, 0.25), (0.2, 0.3, 0.25)],
)
def test_cells_are_correlated_as_far_as_they_share_lines(row: float, col: float, gradient: float):
    found = errors(f"correlated:row={row},col={col},gradient={gradient}")
    assert_covariance(found, expected_covariance(row, col, gradient))


def test_a_line_s_cells_move_together_and_other_lines_do_not():
    """One chip, exactly: along a row within a tile one number, then another."""
    found = errors("correlated:row=0.2", chips=1)[0]
    for tile in (slice(0, COLS), slice(COLS, 2 * COLS)):
        assert np.all(np.ptp(found[:, tile], axis=1) == 0)
        assert np.unique(found[:, tile]).size == 12
    assert not np.any(found[:, 0] == found[:, COLS])


def test_a_gradient_is_a_plane_through_the_middle_of_its_tile():
    found = errors("correlated:gradient=0.2", chips=1)[0][:ROWS, :COLS]
    steps_down, steps_across = np.diff(found, axis=0), np.diff(found, axis=1)
    assert np.ptp(steps_down) < 1e-6 and np.ptp(steps_across) < 1e-6
    assert abs(found.mean()) < 1e-6 and abs(steps_down[0, 0]) > 1e-4


def test_components_do_not_change_each_other_s_numbers():
    parts = [errors(f"correlated:{kind}=0.2", chips=3) for kind in ("row", "col", "gradient")]
    whole = errors("correlated:row=0.2,col=0.2,gradient=0.2", chips=3)
    np.testing.assert_allclose(whole, sum(parts), atol=2e-6)


def test_each_plane_has_lines_of_its_own():
    """Slices lie on tiles of their own: as cells of codes 15 on two planes of level 3."""
    cells = target("correlated:row=0.2", bits=4)
    codes = np.full((12, 8), 15, np.int8)
    held = Array("w", codes, np.ones((), np.float32), cells, Place("CrossbarMatMul"))
    levels = Chip.of(cells, 3, 0).program(held).levels
    assert len(levels) == 2 and not np.any(levels[0] == levels[1])


@pytest.mark.parametrize(
    ("basis", "unit"), [("level", 1.0), ("full_range", 3.0), ("us", 1 / 6), ("value", 2.5)]
)
def test_bases(basis: str, unit: float):
    """On 3 to 21 µS, 6 µS a step, level 2 conducts 2.5 steps."""
    conductance = {"min_us": 3.0, "max_us": 21.0}
    plain, scaled = (
        target(f"correlated:row=0.1,basis={one}", conductance=conductance)
        for one in ("level", basis)
    )
    one, other = (Chip.of(t, 0, 0).program(array(t)).levels - 2 for t in (plain, scaled))
    np.testing.assert_allclose(other, unit * one, atol=1e-6)


def test_packed_groups_share_no_line():
    """Two groups of 3 x 2 on one tile of 6 x 4: their lines follow each other."""
    cells = target("correlated:row=0.2,col=0.3")
    codes = np.full((4, 1, 3, 1), 2, np.int8)  # a convolution of 2 groups, 2 columns each
    place = Place("CrossbarConv", groups=2)
    held = Array("w", codes, np.ones((), np.float32), cells, place)
    assert np.all(held.tiles == 0)
    assert held.lines.rows.ravel().tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]
    assert held.lines.cols.ravel().tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert np.unique(Chip.of(cells, 0, 0).program(held).levels).size == 12


def test_an_array_without_a_place_says_so():
    cells = target("correlated:row=0.2")
    held = Array("w", np.ones((4, 4), np.int8), np.ones((), np.float32), cells)
    with pytest.raises(OptionError, match="give Array its place"):
        Chip.of(cells, 0, 0).program(held)
