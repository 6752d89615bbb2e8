"""Rows that wait for their turn, at 0 V, on nothing or off: beside Kirchhoff's laws and ngspice."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nodal import Resistances, currents
from nvmc.errors import OptionError
from nvmc.evaluation.error_sources import variants_of
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Device, Periphery, Target, WireOhm
from nvmc.hardware.encoding import Encoding, quantize, scale_of
from nvmc.hardware.tiling import Place
from nvmc.runtime.crossbar.native import KERNELS, NUMPY
from nvmc.runtime.crossbar.operand import CircuitOperand
from nvmc.runtime.crossbar.parasitics import effective
from nvmc.runtime.crossbar.relaxation import column_currents

Real = NDArray[np.floating[Any]]
OHMS = [(20.0, 30.0, 0.0, 0.0), (20.0, 30.0, 100.0, 50.0)]
NO_WORD_OR_NO_BIT = [(0.0, 30.0, 0.0, 0.0), (0.0, 30.0, 40.0, 0.0), (0.0, 0.0, 10.0, 200.0)]
LOW_US, HIGH_US = 5.0, 65.0


def cells(seed: int, rows: int, cols: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 200, (rows, cols)) * (rng.random((rows, cols)) < 0.8)


@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (1, 4), (6, 4), (3, 7)])
@pytest.mark.parametrize("ohm", OHMS + NO_WORD_OR_NO_BIT)
def test_floating_rows_are_those_of_kirchhoffs_laws(
    shape: tuple[int, int], ohm: tuple[float, float, float, float]
) -> None:
    """A wire without resistance is 1e-9 ohm in the oracle, whose equations lose 10 digits by it."""
    g, rng = cells(1, *shape), np.random.default_rng(2)
    free = rng.random(shape[0]) < 0.5
    free[0] = shape[0] > 1
    matrix, volts = effective(g, *ohm, free), rng.uniform(0, 1, shape[0])
    volts[free] = 0
    expected = currents(g, np.where(free, np.nan, volts), Resistances(*ohm))
    some = 1e-10 if ohm in OHMS else 1e-4
    np.testing.assert_allclose(volts @ matrix, expected, rtol=0, atol=some * 200)
    assert not matrix[free].any()
    row, col, driver, sense = ohm
    wires = WireOhm(row=row, col=col, driver=driver, sense=sense)

    def linear(v: Real) -> tuple[Real, Real]:
        return g[..., None] * v, np.broadcast_to(g[..., None], v.shape)

    read = column_currents(linear, volts[:, None], shape[1], wires, free)[:, 0]
    np.testing.assert_allclose(read, volts @ matrix, rtol=1e-11, atol=1e-10)


def test_a_floating_row_joins_two_bit_lines() -> None:
    """Closed form: a row of two equal cells g on bit lines of R is a bridge of g / 2.

    One row is driven and has a cell on the first bit line only; word lines are without resistance.
    """
    g, ohm = 100.0, 1000.0
    found = effective(np.array([[g, g], [g, 0.0]]), 0.0, 0.0, 0.0, ohm, np.array([True, False]))[1]
    bridge, siemens = g / 2, 1e6 / ohm
    to_second = bridge * siemens / (bridge + siemens)
    first = g / (g + siemens + to_second)
    second = first * to_second / siemens
    np.testing.assert_allclose(found, siemens * np.array([first, second]), rtol=1e-12)


def test_without_bit_lines_resistance_nothing_sneaks() -> None:
    """Bit lines at 0 V all along: a floating row is at 0 V too."""
    g, free = cells(3, 6, 4), np.array([False, True, True, False, True, False])
    found = effective(g, 20.0, 0.0, 30.0, 0.0, free)
    np.testing.assert_allclose(found[~free], effective(g, 20.0, 0.0, 30.0)[~free], rtol=1e-12)


def target(encoding: Encoding, **periphery: Any) -> Target:
    """Four-bit weights in two-bit cells of 5 to 65 µS, tiles of 6 x 4."""
    text: dict[str, Any] = {"name": "d", "title": "t", "source": "s", "levels": 4}
    text |= {"conductance": {"min_us": LOW_US, "max_us": HIGH_US}}
    text |= {"iv": {"law": "sinh", "v0": 0.15}}
    given = {"wire_ohm": WireOhm(row=60.0, col=40.0, driver=200.0, sense=30.0), **periphery}
    return Target.of(
        Device.model_validate(text),
        weight_bits=4,
        cell_bits=2,
        encoding=encoding,
        rows=6,
        cols=4,
        periphery=Periphery.model_validate(given),
    )


def operand_of(on: Target, kernel: str = NUMPY) -> CircuitOperand:
    weight = np.random.default_rng(1).standard_normal((10, 6))
    scale = scale_of(weight, 4).astype(np.float32)
    array = Array("a", quantize(weight, scale, 4), scale, on, Place("CrossbarMatMul"))
    return CircuitOperand(array, Chip.ideal().program(array), Chip.ideal(), kernel=kernel)


def read_by(operand: CircuitOperand, x: Real) -> Real:
    return operand.mvm(Place("CrossbarMatMul"), entries=len(x), dtype=x.dtype)(x)


def slow(operand: CircuitOperand, x: Real, waiting: str, read_v: float | None) -> Real:
    """An offset array's outputs, turn by turn, for inputs of at least 0."""
    on, programmed = operand._array.target, operand._programmed
    step = (HIGH_US - LOW_US) / 3
    off, ohm = LOW_US / step, Resistances(60.0, 40.0, 200.0, 30.0)
    volts = read_v or 1.0
    reach = float(x.max())

    def law(g: float, v: float) -> tuple[float, float]:
        if read_v is None:
            return g * v, g
        return g * 0.15 * float(np.sinh(v / 0.15)), g * float(np.cosh(v / 0.15))

    total = np.zeros(6)
    for plane, counts in enumerate(on.layout.coefficients.tolist()):
        g = programmed.levels[plane].astype(float) * step + LOW_US
        for rows, cols in [
            ((0, 6), (0, 4)),
            ((0, 6), (4, 6)),
            ((6, 10), (0, 4)),
            ((6, 10), (4, 6)),
        ]:
            for first in range(rows[0], rows[1], 4):
                driven = np.zeros(10, bool)
                driven[first : min(first + 4, rows[1])] = True
                put = np.where(driven, volts * x / reach, np.nan if waiting == "float" else 0.0)
                there = g * driven[:, None] if waiting == "off" else g
                got = currents(there[slice(*rows), slice(*cols)], put[slice(*rows)], ohm, law)
                total[slice(*cols)] += counts * got / (step * volts)
        total -= counts * off * x.sum() / reach
    total -= on.layout.shift * x.sum() / reach
    return total * float(operand._array.unit) * reach


@pytest.mark.parametrize("read_v", [None, 0.4])
@pytest.mark.parametrize("waiting", ["ground", "float", "off"])
def test_turns_are_circuits_of_their_own(waiting: str, read_v: float | None) -> None:
    given = {"rows_on": 4, "waiting_rows": waiting, "read_v": read_v, "wire_solution": "exact"}
    operand = operand_of(target("offset", **given))
    x = np.random.default_rng(2).random((2, 1, 1, 10))
    found = read_by(operand, x)
    for entry in range(2):
        expected = slow(operand, x[entry, 0, 0], waiting, read_v)
        np.testing.assert_allclose(found[entry, 0, 0], expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("encoding", ["offset", "differential", "sign-magnitude"])
@pytest.mark.parametrize("read_v", [None, 0.4])
def test_the_three_differ_behind_wires_alone(encoding: Encoding, read_v: float | None) -> None:
    x = np.random.default_rng(3).standard_normal((3, 1, 2, 10)).astype(np.float32)
    for wires, apart in ((WireOhm(row=60.0, col=40.0), True), (None, False)):
        given: dict[str, Any] = {"rows_on": 4, "read_v": read_v, "wire_ohm": wires, "dac_bits": 5}
        found = {
            waiting: read_by(operand_of(target(encoding, waiting_rows=waiting, **given)), x)
            for waiting in ("ground", "float", "off")
        }
        for waiting in ("float", "off"):
            assert np.array_equal(found[waiting], found["ground"]) != apart
        on = target(encoding, waiting_rows="float", **given)
        for kernel in KERNELS:
            np.testing.assert_array_equal(read_by(operand_of(on, kernel), x), found["float"])


def test_all_rows_in_one_turn_wait_for_none() -> None:
    x = np.random.default_rng(3).standard_normal((3, 1, 2, 10))
    plain = read_by(operand_of(target("differential")), x)
    for waiting in ("float", "off"):
        once = target("differential", rows_on=6, waiting_rows=waiting)
        np.testing.assert_array_equal(read_by(operand_of(once), x), plain)


def test_waiting_without_turns_is_refused() -> None:
    with pytest.raises(OptionError, match="none waits; give rows_on"):
        Periphery(waiting_rows="float")
    with pytest.raises(OptionError, match="give waiting_rows ground, or give polarity separate"):
        Periphery(waiting_rows="off", rows_on=2, polarity="interleaved")
    with pytest.raises(OptionError, match="leave wire_solution out, or give polarity separate"):
        Periphery(wire_solution="approximate", polarity="opposed")
    assert "waiting_rows" not in Periphery(rows_on=3).model_dump()


def test_wires_alone_have_the_rows_that_wait() -> None:
    """As one source among the errors of `nvmc inspect`."""
    around = Periphery(
        rows_on=4, waiting_rows="float", adc_bits=5, wire_ohm=WireOhm(row=60.0, col=40.0)
    )
    found = target("offset").model_copy(update={"periphery": around})
    variants = {one.name: one for one in variants_of(found, Chip.of(found, 1, 0))}
    alone = variants["wires"].parts(around)
    assert (alone.rows_on, alone.waiting_rows, alone.adc_bits) == (4, "float", None)


@pytest.mark.skipif(shutil.which("ngspice") is None, reason="ngspice is not installed")
def test_floating_rows_are_those_of_spice(tmp_path: Path) -> None:
    g, free = cells(5, 5, 4) + 1.0, np.array([True, False, True, False, False])
    ohm, volts = (20.0, 30.0, 100.0, 50.0), np.array([0.0, 0.3, 0.0, 0.1, 0.2])
    lines = ["floating rows", ".options reltol=1e-10 abstol=1e-16 vntol=1e-12 gmin=1e-18"]
    for r in range(5):
        if not free[r]:
            lines += [f"Vd{r} d{r} 0 {volts[r]:.17g}", f"Rd{r} d{r} w{r}_0 {ohm[2] + ohm[0]}"]
        lines += [f"Rw{r}_{c} w{r}_{c} w{r}_{c + 1} {ohm[0]}" for c in range(3)]
        lines += [f"R{r}_{c} w{r}_{c} b{r}_{c} {1e6 / g[r, c]:.17g}" for c in range(4)]
    for c in range(4):
        lines += [f"Rb{r}_{c} b{r}_{c} b{r + 1}_{c} {ohm[1]}" for r in range(4)]
        lines += [f"Rs{c} b4_{c} s{c} {ohm[1] + ohm[3]}", f"Vs{c} s{c} 0 0"]
    lines += [".control", "set numdgt=15", "op", *(f"print i(vs{c})" for c in range(4))]
    path = tmp_path / "tile.cir"
    path.write_text("\n".join([*lines, ".endc", ".end"]) + "\n")
    out = subprocess.run(["ngspice", "-b", str(path)], capture_output=True, text=True, check=False)
    told = [line.split("=")[1] for line in out.stdout.splitlines() if line.startswith("i(vs")]
    expected = 1e6 * np.array([float(text) for text in told])
    np.testing.assert_allclose(volts @ effective(g, *ohm, free), expected, rtol=1e-8)
