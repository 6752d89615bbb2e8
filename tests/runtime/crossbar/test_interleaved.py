"""Polarities that share a tile with wires: against Kirchhoff's laws for the cells one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from nvmc.errors import OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Periphery, Target, load_device, parse_noise
from nvmc.hardware.tiling import Place
from nvmc.runtime.crossbar.native import KERNELS
from nvmc.runtime.crossbar.operand import CircuitOperand
from nvmc.training.circuit.choice import check_rules
from resistor_network import nodal_currents

PLACE = Place("CrossbarMatMul")
MILO = "rram-milo2021"  # level 0 conducts, and much
ROWS, COLS = 6, 5
ENCODINGS = ("differential", "sign-magnitude", "balanced")


def target(polarity: str, encoding: Any = "differential", ohm: Any = None, **more: Any) -> Target:
    wires = {"row": 20.0, "col": 30.0} if ohm is None else ohm
    return Target.of(
        load_device(MILO),
        weight_bits=2,
        cell_bits=2,
        encoding=encoding,
        rows=ROWS,
        cols=COLS,
        periphery=Periphery.model_validate({"wire_ohm": wires, "polarity": polarity, **more}),
    )


def array_of(cells: Target, *shape: int) -> Array:
    codes = np.random.default_rng(1).integers(-3, 4, shape)
    return Array("a", codes, np.ones((), np.float32), cells, PLACE)


def operand_of(array: Array, kernel: str = KERNELS[0], index: int | None = 3) -> CircuitOperand:
    chip = Chip.ideal() if index is None else Chip.of(array.target, 5, index)
    return CircuitOperand(array, chip.program(array), chip, kernel=kernel)


def halves_of(array: Array, operand: CircuitOperand) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Microsiemens of the cells of each polarity, and which exist; of one slice."""
    levels, sign = operand._programmed.levels, operand._programmed.sign
    step, off = array.target.step_us, array.target.off_level
    assert step is not None
    if array.target.encoding == "sign-magnitude":
        return [((levels[0] + off) * step * there, there) for there in (sign > 0, sign < 0)]
    return [((plane + off) * step, np.ones(plane.shape, np.bool_)) for plane in levels]


def slow(array: Array, operand: CircuitOperand, x: NDArray[Any]) -> NDArray[Any]:
    """One vector (rows,): tile by tile, each as the crossbar that it is."""
    (plus, there), (minus, here) = halves_of(array, operand)
    step, off = array.target.step_us or 1.0, array.target.off_level
    opposed = array.target.periphery.polarity == "opposed"
    wires = array.target.periphery.wire_ohm
    assert wires is not None
    rows, cols = plus.shape
    y = np.zeros(cols)
    for r in (slice(s, min(s + ROWS, rows)) for s in range(0, rows, ROWS)):
        for c in (slice(s, min(s + COLS, cols)) for s in range(0, cols, COLS)):
            high, wide = plus[r, c].shape
            if opposed:
                crossbar, volts = np.zeros((2 * high, wide)), np.zeros(2 * high)
                crossbar[0::2], crossbar[1::2] = plus[r, c], minus[r, c]
                volts[0::2], volts[1::2] = x[r], -x[r]
                current = nodal_currents(crossbar, volts, wires.row, wires.col)
            else:
                crossbar = np.zeros((high, 2 * wide))
                crossbar[:, 0::2], crossbar[:, 1::2] = plus[r, c], minus[r, c]
                both = nodal_currents(crossbar, x[r], wires.row, wires.col)
                current = both[0::2] - both[1::2]
            idle = off * (there[r, c].astype(float) - here[r, c])
            y[c] += current / step - x[r] @ idle
    return y


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("polarity", ["interleaved", "opposed"])
def test_currents_are_those_of_kirchhoffs_laws(polarity: str, encoding: str) -> None:
    """13 rows and 11 columns on tiles of 6 by 5 weights, exact inputs of both signs."""
    array = array_of(target(polarity, encoding, reference="exact"), 13, 11)
    operand = operand_of(array)
    x = np.random.default_rng(2).standard_normal((3, 1, 1, 13))
    found = operand.mvm(PLACE, entries=3, dtype=x.dtype)(x)
    for entry in range(3):
        expected = slow(array, operand, x[entry, 0, 0])
        np.testing.assert_allclose(found[entry, 0, 0], expected, rtol=0, atol=1e-5)


def currents(polarity: str, encoding: str = "differential", **more: Any) -> NDArray[Any]:
    array = array_of(target(polarity, encoding, **more), ROWS, COLS)
    x = np.ones((1, 1, 1, ROWS))
    return operand_of(array, index=None).mvm(PLACE, entries=1, dtype=x.dtype)(x)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_wires_of_no_resistance_know_no_polarity(encoding: str) -> None:
    expected = currents("separate", encoding, ohm={"row": 0.0, "col": 0.0})
    for polarity in ("interleaved", "opposed"):
        speck = {"row": 1e-9, "col": 1e-9}
        np.testing.assert_allclose(currents(polarity, encoding, ohm=speck), expected, rtol=1e-6)
        none = currents(polarity, encoding, ohm={"row": 0.0, "col": 0.0})
        np.testing.assert_array_equal(none, expected)


def test_both_polarities_load_an_opposed_bit_line() -> None:
    """Sense ends alone: I / (1 + S sum of both polarities' g), S in series with every column."""
    ohm = {"row": 0.0, "col": 0.0, "sense": 400.0}
    array = array_of(target("opposed", ohm=ohm), ROWS, COLS)
    operand = operand_of(array)
    (plus, _), (minus, _) = halves_of(array, operand)
    x = np.random.default_rng(2).standard_normal((1, 1, 1, ROWS))
    current = x[0, 0, 0] @ (plus - minus) / (array.target.step_us or 1.0)
    expected = current / (1 + 400e-6 * (plus + minus).sum(axis=0))
    found = operand.mvm(PLACE, entries=1, dtype=x.dtype)(x)[0, 0, 0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_both_polarities_load_an_interleaved_word_line() -> None:
    """Drivers alone: g V / (1 + R sum of both polarities' g), R in series with every row."""
    ohm = {"row": 0.0, "col": 0.0, "driver": 400.0}
    array = array_of(target("interleaved", ohm=ohm), ROWS, COLS)
    operand = operand_of(array)
    (plus, _), (minus, _) = halves_of(array, operand)
    x = np.random.default_rng(2).standard_normal((1, 1, 1, ROWS))
    share = 1 / (1 + 400e-6 * (plus + minus).sum(axis=1))
    expected = (x[0, 0, 0] * share) @ (plus - minus) / (array.target.step_us or 1.0)
    found = operand.mvm(PLACE, entries=1, dtype=x.dtype)(x)[0, 0, 0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("polarity", ["interleaved", "opposed"])
@pytest.mark.parametrize("groups", [1, 3])
def test_kernels_give_the_bits_of_numpy(polarity: str, groups: int) -> None:
    """Groups on one tile lie along its diagonal, each behind its own word lines."""
    more: dict[str, Any] = {"dac_bits": 4, "adc_bits": 7, "rows_on": 2}
    array = array_of(target(polarity, **more), groups, 2, 1)
    x = np.random.default_rng(2).standard_normal((4, groups, 5, 2)).astype(np.float32)
    found = [
        operand_of(array, kernel).mvm(PLACE, entries=4, dtype=x.dtype)(x) for kernel in KERNELS
    ]
    for one in found[:-1]:
        np.testing.assert_array_equal(one, found[-1])


def test_groups_lie_along_the_diagonal() -> None:
    array = array_of(target("opposed"), 3, 2, 1)
    operand = operand_of(array)
    halves = [half for half, _ in halves_of(array, operand)]
    x = np.random.default_rng(2).standard_normal((1, 3, 1, 2))
    crossbar, volts = np.zeros((12, 3)), np.zeros(12)
    for group in range(3):
        for row in range(2):
            for half, sign in enumerate((1, -1)):
                line = 2 * (2 * group + row) + half
                crossbar[line, group] = halves[half][group, row, 0]
                volts[line] = sign * x[0, group, 0, row]
    expected = nodal_currents(crossbar, volts, 20.0, 30.0) / (array.target.step_us or 1.0)
    found = operand.mvm(PLACE, entries=1, dtype=x.dtype)(x)[0, :, 0, 0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"polarity": "opposed", "subtract": "digital"}, "opposed subtracts in the bit line; give"),
        ({"polarity": "interleaved", "read_v": 0.2}, "is modelled for linear cells; leave read_v"),
    ],
)
def test_what_cannot_be_is_refused(stated: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Periphery.model_validate(stated)


def test_what_cells_cannot_be_is_refused() -> None:
    with pytest.raises(OptionError, match="weights under offset have one polarity"):
        target("opposed", "offset").check_reading()
    noisy = load_device(MILO).with_noise([parse_noise("global:scope=tile,basis=level,sigma=0.1")])
    cells = target("interleaved").model_copy(update={"device": noisy})
    with pytest.raises(OptionError, match="differs from tile to tile"):
        cells.check_reading()


def test_a_default_is_not_written() -> None:
    assert "polarity" not in Periphery().model_dump()
    check_rules(Periphery(polarity="opposed"))  # without wires it is nothing to training
