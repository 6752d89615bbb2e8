"""Resistances of drivers and of sense ends, and what wires cost at most."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nodal import Resistances, currents
from nvmc.hardware.devices import Periphery, Target, WireOhm, load_device
from nvmc.runtime.crossbar.array import through_wires
from nvmc.runtime.crossbar.parasitics import approximate, effective

Real = NDArray[np.floating[Any]]

SHAPES = [(1, 1), (1, 5), (5, 1), (4, 4), (3, 7), (7, 3)]
OHMS = [
    (3.0, 7.0, 50.0, 20.0),
    (0.0, 7.0, 50.0, 20.0),
    (3.0, 0.0, 50.0, 20.0),
    (0.0, 0.0, 500.0, 200.0),
    (0.0, 0.0, 500.0, 0.0),
    (0.0, 0.0, 0.0, 200.0),
    (3.0, 7.0, 0.0, 200.0),
    (3.0, 0.0, 0.0, 200.0),
]


def cells(seed: int, rows: int, cols: int, density: float = 0.8, top: float = 200.0) -> Real:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, top, (rows, cols)) * (rng.random((rows, cols)) < density)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ohm", OHMS)
def test_currents_are_those_of_kirchhoffs_laws(
    shape: tuple[int, int], ohm: tuple[float, float, float, float]
) -> None:
    """A wire without resistance is 1e-9 ohm in the oracle, whose equations lose 10 digits by it."""
    g = cells(1, *shape)
    found = effective(g, *ohm)
    nodal = [currents(g, v, Resistances(*ohm)) for v in np.eye(shape[0])]
    some = 1e-4 if 0.0 in ohm[:2] else 1e-9
    np.testing.assert_allclose(found, nodal, rtol=0, atol=some * 200)


def test_one_cell_is_a_series_of_five() -> None:
    found = effective(np.array([[25.0]]), 3.0, 7.0, 50.0, 20.0)
    np.testing.assert_allclose(found, 1e6 / (50 + 3 + 1e6 / 25 + 7 + 20), rtol=1e-14)


def test_a_driver_alone_feeds_its_row_through_one_resistor() -> None:
    """Wires without resistance: each row is a divider of its driver and of all its cells."""
    g = cells(2, 6, 9)
    expected = g / (1 + 500e-6 * g.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(effective(g, 0, 0, 500.0), expected, rtol=1e-13)
    sensed = g / (1 + 500e-6 * g.sum(axis=0))
    np.testing.assert_allclose(effective(g, 0, 0, 0, 500.0), sensed, rtol=1e-13)


@pytest.mark.parametrize("ohm", OHMS)
def test_the_approximation_still_errs_to_one_side(ohm: tuple[float, float, float, float]) -> None:
    g = cells(3, 16, 12, density=1.0)
    exact, rough = effective(g, *ohm).sum(axis=0), approximate(g, *ohm).sum(axis=0)
    assert np.all(rough <= exact * (1 + 1e-12))
    # Equation 7: short by at most the share lost along word lines times that along bit lines.
    w, z = effective(g, ohm[0], 0, ohm[2]) / g, effective(g, 0, ohm[1], 0, ohm[3]) / g
    bound = (g * z * (1 - w) * (1 - z).max(axis=1, keepdims=True)).sum(axis=0)
    assert np.all(exact - rough <= bound * (1 + 1e-9) + 1e-9)


def test_without_terminals_the_bits_stay() -> None:
    g = cells(4, 20, 17)
    np.testing.assert_array_equal(effective(g, 2.0, 3.0, 0.0, 0.0), effective(g, 2.0, 3.0))
    periphery = Periphery(wire_ohm=WireOhm(row=2.0, col=3.0))
    assert periphery.model_dump()["wire_ohm"] == {"row": 2.0, "col": 3.0}


def test_a_tile_has_them() -> None:
    wires = WireOhm(row=2.0, col=3.0, driver=100.0, sense=40.0)
    device = load_device("rram-milo2021")
    target = Target.of(device, rows=8, cols=6, periphery=Periphery(wire_ohm=wires))
    levels = np.random.default_rng(0).uniform(0, target.highest_level, (1, 1, 8, 6))
    step, off = target.step_us or 0, target.off_level
    found = through_wires(target, levels, np.ones((1, 8, 6), np.bool_))[0, 0]
    expected = effective((levels[0, 0] + off) * step, 2.0, 3.0, 100.0, 40.0) / step - off
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def first_order(g: Real, ohm: tuple[float, float, float, float]) -> float:
    """Equation 9: the share that wires cost at most where all rows are at one voltage."""
    rows, cols = g.shape
    row, col, driver, sense = (each * 1e-6 for each in ohm)
    lost = 0.0
    for r in range(rows):
        for c in range(cols):
            drop = sum((row * (min(c, j) + 1) + driver) * g[r, j] for j in range(cols))
            rise = sum((col * (rows - max(r, i)) + sense) * g[i, c] for i in range(rows))
            lost += g[r, c] * (drop + rise)
    return lost / g.sum()


@pytest.mark.parametrize("seed", range(40))
def test_what_wires_cost_is_bounded(seed: int) -> None:
    """Sparse and full tiles, small resistances, at which the bound is met, and large ones."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 14, 2))
    g = cells(seed, *shape, density=float(rng.choice([0.1, 0.5, 1.0])))
    g[0, -1] = 100.0  # the far corner, so that no tile is empty
    ohm: Any = tuple(float(each) for each in 10.0 ** rng.uniform(-1, 3, 4))
    lost = 1 - effective(g, *ohm).sum() / g.sum()
    bound = first_order(g, ohm)
    assert lost <= bound * (1 + 1e-9)
    rows, cols = shape
    worst = ohm[0] * cols * (cols + 1) / 2 + ohm[1] * rows * (rows + 1) / 2
    assert bound <= 1e-6 * g.max() * (worst + ohm[2] * cols + ohm[3] * rows) * (1 + 1e-12)
    little: Any = tuple(each * 1e-6 for each in ohm)
    some = 1 - effective(g, *little).sum() / g.sum()
    assert some == pytest.approx(first_order(g, little), rel=1e-2, abs=1e-12)


def test_a_far_cell_loses_more_than_the_mean_conductance_says() -> None:
    """The rule of thumb is about cells that lie anywhere, so it is no bound."""
    g = np.zeros((64, 64))
    g[0, -1] = 100.0
    size = 65 * 129 / 6
    rule = g.mean() * 1e-6 * 2 * 1.0 * size
    lost = 1 - effective(g, 1.0, 1.0).sum() / g.sum()
    assert lost > 10 * rule
    assert lost <= first_order(g, (1.0, 1.0, 0.0, 0.0))
