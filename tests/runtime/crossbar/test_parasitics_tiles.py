"""Wires in level steps: tiles, unformed cells, what level 0 conducts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.hardware.devices import Target, load_device
from nvmc.hardware.devices.periphery import Periphery, WireOhm
from nvmc.runtime.crossbar.array import through_wires
from resistor_network import nodal_currents

Real = NDArray[np.floating[Any]]

MILO = "rram-milo2021"  # level 0 conducts, and much


def target(name: str, row: float, col: float, rows: int = 8, cols: int = 6) -> Target:
    periphery = Periphery(wire_ohm=WireOhm(row=row, col=col))
    return Target.of(load_device(name), rows=rows, cols=cols, periphery=periphery)


def wired(levels: Real, chip: Target, formed: NDArray[np.bool_] | None = None) -> Real:
    """`through_wires` of one slice, levels (groups, rows, cols)."""
    there = np.ones(levels.shape, np.bool_) if formed is None else formed
    return through_wires(chip, np.where(there, levels, 0.0)[None], there)[0]


def tolerance(rows: int, cols: int, chip: Target) -> float:
    """test_parasitics' for a tile, in level steps, a column of `rows` cells."""
    return 32 * 2.0**-52 * (rows + cols) ** 2 * rows * (chip.highest_level + chip.off_level)


def programmed(seed: int, top: float, *shape: int) -> Real:
    return np.random.default_rng(seed).uniform(0, top, shape)


def test_the_device_conducts_at_level_0():
    assert target(MILO, 0.0, 0.0).off_level > 0


def test_each_tile_is_its_circuit():
    """Currents of the oracle, a tile at a time, less what level 0 would conduct without wires."""
    chip = target(MILO, 20.0, 30.0)
    step, off = chip.step_us, chip.off_level
    assert step is not None
    levels = programmed(0, chip.highest_level, 2, 19, 13)
    formed = np.random.default_rng(1).random(levels.shape) < 0.6
    drive = np.random.default_rng(2).uniform(0, 1, (19,))
    found = wired(levels, chip, formed)
    for group in range(2):
        for r in (slice(0, 8), slice(8, 16), slice(16, 19)):
            for c in (slice(0, 6), slice(6, 12), slice(12, 13)):
                there = formed[group, r, c]
                g = (levels[group, r, c] + off) * there * step
                currents = nodal_currents(g, drive[r], 20.0, 30.0) / step
                expected = currents - drive[r] @ (off * there)
                np.testing.assert_allclose(
                    drive[r] @ found[group, r, c], expected, rtol=0, atol=tolerance(8, 6, chip)
                )


def test_groups_that_share_a_tile_lie_along_its_diagonal():
    """Later groups lie farther from the drivers, earlier ones from the sense ends."""
    chip = target(MILO, 20.0, 30.0)
    step, off = chip.step_us, chip.off_level
    assert step is not None
    levels = programmed(5, chip.highest_level, 3, 2, 2)
    found = wired(levels, chip)
    whole = np.zeros((6, 6))
    for k in range(3):
        whole[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = (levels[k] + off) * step
    exact = nodal_currents(whole, np.eye(6), 20.0, 30.0) / step
    for k in range(3):
        block = exact[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] - off
        np.testing.assert_allclose(found[k], block, rtol=0, atol=tolerance(6, 6, chip))


def test_without_wires_the_levels_stay():
    chip = target(MILO, 0.0, 0.0)
    levels = programmed(3, chip.highest_level, 2, 9, 9)
    formed = levels > chip.highest_level / 2
    # to microsiemens and back
    atol = 4 * 2.0**-52 * (chip.highest_level + chip.off_level)
    np.testing.assert_allclose(wired(levels, chip), levels, rtol=0, atol=atol)
    np.testing.assert_allclose(
        wired(levels, chip, formed), np.where(formed, levels, 0), rtol=0, atol=atol
    )


def test_wires_vanish_with_their_resistance():
    """What is lost is below the first order: the drop over all segments of a full tile."""
    chip = target(MILO, 1e-3, 1e-3)
    levels = programmed(4, chip.highest_level, 1, 8, 6)
    step = chip.step_us
    assert step is not None
    most = (chip.highest_level + chip.off_level) * step * 1e-6 * 1e-3 * (6 * 7 + 8 * 9) / 2
    assert most < 1e-3
    change = np.abs(wired(levels, chip) - levels).max()
    assert 0 < change <= most * (chip.highest_level + chip.off_level)


def test_a_device_that_does_not_say_what_it_conducts_is_refused():
    with pytest.raises(OptionError, match="add conductance"):
        wired(np.ones((1, 2, 2)), target("additive", 1.0, 1.0))
