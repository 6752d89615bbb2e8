"""How the drop along the wires grows with the array: tiles of equal cells, solved on paper.

With every driver at 1 V and equal cells of g, the voltages u across the cells obey

    u + a X u + b Y u = 1,   a = g row_ohm, b = g col_ohm,

X and Y the wires' resistance matrices in segments, min(i, j) counted from a wire's terminal. Both
have the sines sin((2k - 1) pi i / (2n + 1)) as eigenvectors, so u is a double sum of sines.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nvmc.runtime.crossbar.parasitics import effective
from resistor_network import nodal_currents

Real = NDArray[np.floating[Any]]

EPS = float(np.finfo(np.float64).eps)


def modes(n: int) -> tuple[Real, Real]:
    """Eigenvalues and orthonormal eigenvectors (columns) of min(i, j), i, j = 1 .. n."""
    k, i = 2 * np.arange(1, n + 1) - 1, np.arange(1, n + 1)[:, None]
    vectors = 2 / np.sqrt(2 * n + 1) * np.sin(k * i * np.pi / (2 * n + 1))
    return 1 / (4 * np.sin(k * np.pi / (4 * n + 2)) ** 2), vectors


def column_currents(rows: int, cols: int, g: float, row: float, col: float) -> Real:
    """Output currents in µA of a tile of equal cells (µS), every driver at 1 V."""
    along, phi = modes(cols)
    down, psi = modes(rows)
    terms = 1 + g * 1e-6 * (row * along + col * down[:, None])
    u = psi @ (np.outer(psi.sum(axis=0), phi.sum(axis=0)) / terms) @ phi.T
    return g * u.sum(axis=0)


def lost(size: int, g: float, ohm: float) -> float:
    """Share of the ideal current that does not arrive, every driver at 1 V."""
    return 1 - effective(np.full((size, size), g), ohm, ohm).sum() / (g * size**2)


def resistances(size: int, g: float, ohm: float) -> Real:
    """Z 1 = a X 1 + b Y 1 of each cell, what it loses to first order: x (2 n + 1 - x) / 2 each."""
    x = np.arange(1, size + 1)
    segments = x * (2 * size + 1 - x) / 2
    return g * ohm * 1e-6 * np.add.outer(segments, segments)


@pytest.mark.parametrize("rows, cols", [(1, 1), (7, 12), (64, 64), (128, 128), (200, 30)])
@pytest.mark.parametrize("row, col", [(1.0, 2.0), (0.0, 5.0), (5.0, 0.0), (50.0, 20.0)])
def test_equal_cells_have_a_closed_form(rows: int, cols: int, row: float, col: float):
    g = 40.0
    expected = column_currents(rows, cols, g, row, col)
    # rounding of each cell's share, through wires of condition 4 n^2 / pi^2; see test_parasitics
    rtol = 32 * EPS * (rows + cols) ** 2
    np.testing.assert_allclose(
        effective(np.full((rows, cols), g), row, col).sum(axis=0), expected, rtol=rtol
    )
    if rows * cols <= 128**2:
        currents = nodal_currents(np.full((rows, cols), g), np.ones(rows), row, col)
        np.testing.assert_allclose(currents, expected, rtol=rtol)


@pytest.mark.parametrize("cols", [1, 5, 60])
def test_a_word_line_alone_decays_as_a_hyperbolic_cosine(cols: int):
    """Bit lines without resistance: a discrete line, 2 sinh(theta/2) = sqrt(g row_ohm)."""
    g, ohm = 30.0, 200.0
    theta = 2 * np.arcsinh(np.sqrt(g * ohm * 1e-6) / 2)
    cell = np.arange(1, cols + 1)
    expected = np.cosh((cols + 0.5 - cell) * theta) / np.cosh((cols + 0.5) * theta)
    left = effective(np.full((3, cols), g), ohm, 0.0) / g
    # the divider is a product of cols quotients
    np.testing.assert_allclose(left, np.tile(expected, (3, 1)), rtol=8 * EPS * cols)


def test_a_long_word_line_feeds_no_more_cells():
    """Its input conductance tends to that of the endless line, (1 - exp(-theta)) / row_ohm."""
    g, ohm = 30.0, 200.0
    theta = 2 * np.arcsinh(np.sqrt(g * ohm * 1e-6) / 2)
    endless = (1 - np.exp(-theta)) / (ohm * 1e-6)
    fed = [effective(np.full((1, cols), g), ohm, 0.0).sum() for cols in (10, 100, 400)]
    assert fed[0] < fed[1] < endless
    np.testing.assert_allclose(fed[2], endless, rtol=8 * EPS * 400)  # 2 exp(-2 * 400 theta) < EPS


@pytest.mark.parametrize("g, ohm", [(25.0, 1.0), (40.0, 0.1), (225.0, 5.0)])
def test_the_loss_grows_as_the_square_of_the_size_until_it_saturates(g: float, ohm: float):
    """u = (1 + Z)^-1 1 with Z >= 0; z and z2 the means of Z 1 and of its square.

    The mean of u lies above 1 / (1 + z) by Jensen's inequality, and 1 - u = Z 1 - Z^2 u with
    0 <= <1, Z^2 (1 + Z)^-1 1> <= <1, Z^2 1>. z = 2 g r (n + 1)(2 n + 1) / 6.
    """
    slack = 32 * EPS * 256**2
    before = 0.0
    for size in (8, 16, 32, 64, 128):
        z, z2 = (float((resistances(size, g, ohm) ** k).mean()) for k in (1, 2))
        np.testing.assert_allclose(z, 2e-6 * g * ohm * (size + 1) * (2 * size + 1) / 6, rtol=1e-12)
        loss = lost(size, g, ohm)
        assert z - z2 - slack <= loss <= z / (1 + z) + slack
        assert loss > before
        before = loss
