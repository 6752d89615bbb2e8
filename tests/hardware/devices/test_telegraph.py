"""Random telegraph noise: two states of a cell, held by a chip or drawn at every read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from nvmc.errors import OptionError
from nvmc.evaluation.workload import fidelity_of
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Device, Target, parse_noise
from nvmc.hardware.tiling import Place
from nvmc.runtime.crossbar.operand import CircuitOperand

ALPHA = 1e-4  # of each statistical test; seeds are fixed
CODE = 2
SHAPE = (300, 400)


def target(*texts: str, **options: Any) -> Target:
    head = {"name": "d", "title": "t", "source": "s", "levels": 4, **options}
    device = Device.model_validate(head).with_noise([parse_noise(text) for text in texts])
    return Target.of(device, weight_bits=2)


def array(cells: Target, shape: tuple[int, ...] = SHAPE) -> Array:
    return Array("w", np.full(shape, CODE, np.int8), np.ones((), np.float32), cells)


@pytest.mark.parametrize(("occupancy", "share"), [(0.5, 1.0), (0.2, 1.0), (0.3, 0.4)])
def test_a_chip_keeps_every_trap_as_it_is(occupancy: float, share: float):
    """Levels are g + A p, g - A (1 - p) or g, in shares that a binomial test accepts; mean g."""
    text = f"telegraph:amplitude=0.25,occupancy={occupancy},share={share},drawn=chip"
    levels = Chip.of(target(text), 3, 0).program(array(target(text))).levels
    filled = levels == np.float32(CODE + np.float32(0.25 * (occupancy - 1)))
    empty = levels == np.float32(CODE + np.float32(0.25 * occupancy))
    for found, p in ((filled, share * occupancy), (empty, share * (1 - occupancy))):
        assert stats.binomtest(int(found.sum()), levels.size, p).pvalue > ALPHA
    assert np.all(filled | empty | (levels == CODE))
    variance = share * 0.25**2 * occupancy * (1 - occupancy)
    assert abs(levels.mean(dtype=float) - CODE) < 5 * (variance / levels.size) ** 0.5


def test_more_traps_are_those_there_were_and_others():
    few, many = (
        Chip.of(target(text), 3, 0).program(array(target(text))).levels != CODE
        for text in (f"telegraph:amplitude=0.1,share={s},drawn=chip" for s in (0.1, 0.2))
    )
    assert np.all(many[few]) and many.sum() > few.sum()


@pytest.mark.parametrize(
    ("basis", "unit"), [("level", 1.0), ("full_range", 3.0), ("value", 2.5), ("us", 1 / 6)]
)
def test_the_two_states_are_an_amplitude_apart(basis: str, unit: float):
    """On 3 to 21 µS, 6 µS a step, so level 2 conducts 2.5 steps."""
    for drawn in ("chip", "read"):
        cells = target(
            f"telegraph:amplitude=0.1,occupancy=0.3,basis={basis},drawn={drawn}",
            conductance={"min_us": 3.0, "max_us": 21.0},
        )
        chip, held = Chip.of(cells, 3, 0), array(cells, (50, 40))
        levels = chip.program(held).levels
        spread = chip.read_spread(held, levels)
        if drawn == "chip":
            assert spread is None and not chip.needs_circuit
            assert np.ptp(levels) == pytest.approx(0.1 * unit, rel=1e-5)
        else:
            assert spread is not None and chip.needs_circuit and np.all(levels == CODE)
            np.testing.assert_allclose(spread, 0.1 * unit * 0.21**0.5, rtol=1e-6)


def test_only_cells_with_a_trap_are_noisy_and_stay_so():
    cells = target("telegraph:amplitude=0.1,share=0.3,drawn=read")
    held, chip = array(cells), Chip.of(cells, 3, 0)
    first, again = (chip.read_spread(held, held.cells.targets) for _ in range(2))
    other = Chip.of(cells, 3, 1).read_spread(held, held.cells.targets)
    assert first is not None and again is not None and other is not None
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert set(np.unique(first)) == {np.float32(0), np.float32(0.05)}
    assert stats.binomtest(int(np.count_nonzero(first)), first.size, 0.3).pvalue > ALPHA


def test_reads_of_a_column_have_the_law_of_a_sum_of_traps():
    """A circuit's reads against a slow sum, cell by cell: mean, variance, and nearly its law.

    Of n equal cells the sum is binomial, and no further from a normal than 0.4748 rho/(s^3 sqrt n)
    (Shevtsova, 2011), with rho/s^3 = (p^2 + q^2)/sqrt(pq) for one trap.
    """
    p, n, reads = 0.3, 64, 20_000
    cells = target(f"telegraph:amplitude=0.5,occupancy={p},drawn=read")
    held, chip = array(cells, (n, 1)), Chip.of(cells, 3, 0)
    operand = CircuitOperand(held, chip.program(held), chip)
    x = np.ones((reads, 1, 1, n), np.float32)
    product = operand.mvm(Place("CrossbarMatMul"), entries=reads, dtype=x.dtype)
    found = product(x).ravel().astype(float)
    traps = np.random.default_rng(0).random((reads, n)) < p
    slow = np.sum(CODE + 0.5 * p - 0.5 * traps, axis=1)
    variance = n * 0.25 * p * (1 - p)
    for sample in (found, slow):
        assert abs(sample.mean() - CODE * n) < 5 * (variance / reads) ** 0.5
        assert abs(sample.var() / variance - 1) < 5 * (2 / reads) ** 0.5
    bound = 0.4748 * (p**2 + (1 - p) ** 2) / (p * (1 - p)) ** 0.5 / n**0.5
    distance = stats.ks_2samp(found, slow).statistic
    assert distance < bound + 2 * 1.95 * (2 / reads) ** 0.5


def test_it_asks_what_a_state_belongs_to_and_for_a_circuit():
    with pytest.raises(OptionError, match="drawn: is missing"):
        parse_noise("telegraph:amplitude=0.1")
    with pytest.raises(OptionError, match="fresh at every read"):
        fidelity_of(target("telegraph:amplitude=0.1,drawn=read"), "cells")
    assert fidelity_of(target("telegraph:amplitude=0.1,drawn=read")) == "circuit"
    assert fidelity_of(target("telegraph:amplitude=0.1,drawn=chip")) == "cells"


@pytest.mark.parametrize("extra", ["amplitude=0", "occupancy=0", "occupancy=1", "share=0"])
def test_a_trap_that_does_not_switch_is_silent(extra: str):
    others = "" if extra.startswith("amplitude") else "amplitude=0.1,"
    assert not parse_noise(f"telegraph:{others}{extra},drawn=chip").active
