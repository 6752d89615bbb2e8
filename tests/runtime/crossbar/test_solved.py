"""Cells that are not linear behind wires, read by read, beside Kirchhoff's laws node by node."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nodal import Resistances, currents
from nvmc.errors import OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Device, Periphery, Target, WireOhm
from nvmc.hardware.devices.currents import Cubic, CurrentLaw, Fitted, Sinh
from nvmc.hardware.encoding import Encoding, quantize, scale_of
from nvmc.hardware.tiling import Place
from nvmc.runtime.crossbar.native import KERNELS, NUMPY
from nvmc.runtime.crossbar.operand import CircuitOperand
from nvmc.runtime.crossbar.relaxation import column_currents

Real = NDArray[np.floating[Any]]
Slow = Callable[[float, float], tuple[float, float]]
READ_V, LOW_US, HIGH_US = 0.4, 5.0, 65.0
MILO: dict[str, Any] = {
    "law": "fitted",
    "quadratic": [0.007063, 0.005711, 0.001541, 0.0001388],
    "cubic": [1.2968e-3, 6.7919e-4, 8.8710e-5],
    "range_us": [50.0, 225.0],
}


def cubic(g: float, v: float) -> tuple[float, float]:
    size = abs(v)
    value = g * (size + 0.3 * size**2 - 0.25 * size**3)
    return math.copysign(value, v), g * (1 + 0.6 * size - 0.75 * size**2)


def sinh(g: float, v: float) -> tuple[float, float]:
    return g * 0.1 * math.sinh(v / 0.1), g * math.cosh(v / 0.1)


def milo(g: float, v: float) -> tuple[float, float]:
    inside, size = max(g, 50.0), abs(v)
    log = math.log10(inside * 1e-6)
    second = 1e6 * np.polyval([0.0001388, 0.001541, 0.005711, 0.007063], log) * g / inside
    third = 1e6 * np.polyval([8.8710e-05, 6.7919e-04, 1.2968e-03], log) * g / inside
    value = g * size + second * size**2 + third * size**3
    return math.copysign(value, v), g + 2 * second * size + 3 * third * size**2


LAWS: dict[str, tuple[CurrentLaw, Slow]] = {
    "cubic": (Cubic(law="cubic", quadratic=0.3, cubic=-0.25), cubic),
    "sinh": (Sinh(law="sinh", v0=0.1), sinh),
    "fitted": (Fitted.model_validate(MILO), milo),
}
OHMS = [(20.0, 20.0, 0.0, 0.0), (50.0, 10.0, 300.0, 100.0), (500.0, 800.0, 0.0, 50.0)]


def cells(seed: int, rows: int, cols: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(0, 60, (rows, cols))


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("ohm", OHMS)
@pytest.mark.parametrize("shape", [(1, 1), (7, 4), (3, 8)])
def test_currents_are_those_of_kirchhoffs_laws(
    name: str, ohm: tuple[float, float, float, float], shape: tuple[int, int]
) -> None:
    law, slow = LAWS[name]
    g, rng = cells(1, *shape), np.random.default_rng(2)
    volts = rng.uniform(0, READ_V, (shape[0], 3)) * (rng.random((shape[0], 3)) < 0.7)
    row, col, driver, sense = ohm
    wires = WireOhm(row=row, col=col, driver=driver, sense=sense)
    found = column_currents(law.both_signs(g[..., None], READ_V), volts, shape[1], wires)
    for vector in range(3):
        expected = currents(g, volts[:, vector], Resistances(*ohm), slow)
        np.testing.assert_allclose(found[:, vector], expected, rtol=1e-10, atol=1e-10)


def test_wires_of_one_kind_and_terminals_alone() -> None:
    """A wire without resistance is 1e-9 ohm in the oracle, whose equations lose 10 digits by it."""
    law, slow = LAWS["sinh"]
    g, volts = cells(3, 5, 4), np.random.default_rng(4).uniform(0, 0.3, 5)
    for ohm in [(30.0, 0.0, 0.0, 0.0), (0.0, 30.0, 0.0, 0.0), (0.0, 0.0, 400.0, 200.0)]:
        row, col, driver, sense = ohm
        wires = WireOhm(row=row, col=col, driver=driver, sense=sense)
        found = column_currents(law.both_signs(g[..., None], 0.3), volts[:, None], 4, wires)
        expected = currents(g, volts, Resistances(*ohm), slow)
        np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4)


def test_one_cell_is_a_series() -> None:
    """Closed form: V = I R + v0 asinh(I / (g v0)) of a sinh cell and resistors."""
    law = LAWS["sinh"][0]
    wires = WireOhm(row=100.0, col=200.0, driver=1000.0, sense=700.0)
    at = law.both_signs(np.array([[[50.0]]]), 0.5)
    current = float(column_currents(at, np.array([[0.5]]), 1, wires)[0, 0])
    assert current * 2000e-6 + 0.1 * math.asinh(current / 5.0) == pytest.approx(0.5, rel=1e-12)


def test_a_vectors_bits_do_not_depend_on_the_others() -> None:
    law = LAWS["fitted"][0]
    g, volts = cells(5, 9, 6), np.random.default_rng(6).uniform(0, READ_V, (9, 40))
    volts[:, 7] = 0
    wires = WireOhm(row=80.0, col=50.0)
    at = law.both_signs(g[..., None], READ_V)
    whole = column_currents(at, volts, 6, wires)
    for vector in (0, 7, 39):
        alone = column_currents(at, volts[:, vector : vector + 1], 6, wires)
        np.testing.assert_array_equal(whole[:, vector : vector + 1], alone)
    turned = column_currents(at, volts[:, ::-1].copy(), 6, wires)
    np.testing.assert_array_equal(turned[:, ::-1], whole)
    assert not whole[:, 7].any()


def test_what_does_not_settle_is_refused() -> None:
    law = LAWS["sinh"][0]
    at = law.both_signs(np.full((10, 10, 1), 1e5), 0.5)
    wires = WireOhm(row=1e5, col=1e5)
    with pytest.raises(OptionError, match="does not converge") as caught:
        column_currents(at, np.full((10, 1), 0.5), 10, wires)
    assert "\n" not in str(caught.value)


USES: list[tuple[Encoding, dict[str, Any]]] = [
    ("sign-magnitude", {}),
    ("sign-magnitude", {"subtract": "digital", "dac_bits": 5}),
    ("differential", {"dac_bits": 4, "dac_mode": "bit-serial"}),
    ("differential", {"dac_bits": 5, "subtract": "digital", "reference": "exact"}),
    ("offset", {"dac_bits": 5}),
    ("offset", {"dac_bits": 4, "signed_inputs": "offset"}),
    ("offset", {"dac_bits": 5, "reference": "exact", "rows_on": 3}),
]
OHM = (60.0, 40.0, 200.0, 30.0)


def target(law: CurrentLaw, encoding: Encoding, **periphery: Any) -> Target:
    """Four-bit weights in two-bit cells of 5 to 65 µS, tiles of 5 x 4."""
    text = {"name": "d", "title": "t", "source": "s", "levels": 4, "iv": law.model_dump()}
    device = {**text, "conductance": {"min_us": LOW_US, "max_us": HIGH_US}}
    row, col, driver, sense = OHM
    wires = WireOhm(row=row, col=col, driver=driver, sense=sense)
    given = {"read_v": READ_V, "wire_ohm": wires, "wire_solution": "exact", **periphery}
    return Target.of(
        Device.model_validate(device),
        weight_bits=4,
        cell_bits=2,
        encoding=encoding,
        rows=5,
        cols=4,
        periphery=Periphery.model_validate(given),
    )


def operand_of(on: Target, kernel: str = NUMPY) -> CircuitOperand:
    weight = np.random.default_rng(1).standard_normal((8, 6))
    scale = scale_of(weight, 4).astype(np.float32)
    array = Array("a", quantize(weight, scale, 4), scale, on, Place("CrossbarMatMul"))
    return CircuitOperand(array, Chip.ideal().program(array), Chip.ideal(), kernel=kernel)


def read_by(operand: CircuitOperand, x: Real, cols: slice = slice(None)) -> Real:
    mvm = operand.mvm(Place("CrossbarMatMul"), entries=len(x), dtype=x.dtype)
    return mvm(x, cols)


def slow_output(operand: CircuitOperand, x: Real, law: Slow) -> Real:
    """One vector, tile by tile and polarity by polarity, by Kirchhoff's laws; exact converters."""
    on, programmed = operand._array.target, operand._programmed
    around, step, off = on.periphery, (HIGH_US - LOW_US) / 3, LOW_US / ((HIGH_US - LOW_US) / 3)
    bits, serial = around.dac_bits, around.dac_mode == "bit-serial"
    whole = 1.0 if bits is None else 2.0**bits - 1
    shifted = around.signed_inputs == "offset"
    half = 2.0 ** ((bits or 1) - 1) - 1 if shifted else 0.0
    top, reach = half or whole, float(np.abs(x).max())
    codes = x / reach * top if bits is None else np.round(x / reach * top)
    largest = 1.0 if serial else whole
    phases = [(codes + half, 1.0)] if shifted else [(np.maximum(codes, 0), 1.0),
                                                    (np.maximum(-codes, 0), -1.0)]  # fmt: skip
    drives = list[tuple[Real, float]]()
    for phase, sign in phases:
        if serial:
            drives += [(((phase.astype(int) >> b) & 1) * 1.0, sign * 2.0**b)
                       for b in range(bits or 0)]  # fmt: skip
        else:
            drives.append((phase, sign))
    if shifted:
        drives.append((np.full(codes.shape, half), -1.0))
    total = np.zeros(programmed.levels.shape[-1])
    nominal = 0.0 if on.off_at_adc else LOW_US
    for plane, counts in enumerate(on.layout.coefficients.tolist()):
        for polarity in (1, -1) if on.layout.signed else (1,):
            formed = programmed.sign == polarity if on.layout.signed else np.ones((8, 6), bool)
            g = np.where(formed, programmed.levels[plane] * step + LOW_US, 0.0).astype(float)
            for rows, cols in [
                ((0, 5), (0, 4)),
                ((0, 5), (4, 6)),
                ((5, 8), (0, 4)),
                ((5, 8), (4, 6)),
            ]:
                part, there = slice(*rows), slice(*cols)
                reads = range(rows[0], rows[1], around.rows_on or 5)
                for first in reads:
                    on_rows = np.zeros(8)
                    on_rows[first : min(first + (around.rows_on or 5), rows[1])] = 1
                    for drive, weight in drives:
                        volts = READ_V * drive * on_rows / largest
                        got = currents(g[part, there], volts[part], Resistances(*OHM), law)
                        for r in range(*rows):
                            got = got - formed[r, there] * law(nominal, volts[r])[0]
                        scale = counts * polarity * weight * largest / (step * READ_V)
                        total[there] += scale * got
            if on.off_at_adc:
                total -= counts * polarity * off * (codes @ formed)
    total -= on.layout.shift * codes.sum()
    return total * float(operand._array.unit) * reach / top


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize(("encoding", "periphery"), USES)
def test_an_array_is_read_as_its_tiles_are(
    name: str, encoding: Encoding, periphery: dict[str, Any]
) -> None:
    law, slow = LAWS[name]
    operand = operand_of(target(law, encoding, **periphery))
    x = np.random.default_rng(2).standard_normal((2, 1, 1, 8))
    found = read_by(operand, x)
    for entry in range(2):
        expected = slow_output(operand, x[entry, 0, 0], slow)
        np.testing.assert_allclose(found[entry, 0, 0], expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("encoding", "periphery"), USES)
def test_kernels_batches_and_columns_change_no_bit(
    encoding: Encoding, periphery: dict[str, Any]
) -> None:
    on = target(LAWS["sinh"][0], encoding, adc_bits=7, **periphery)
    x = np.random.default_rng(2).standard_normal((5, 1, 3, 8)).astype(np.float32)
    whole = read_by(operand_of(on), x)
    for kernel in KERNELS:
        np.testing.assert_array_equal(read_by(operand_of(on, kernel), x), whole)
    np.testing.assert_array_equal(read_by(operand_of(on), x[2:3]), whole[2:3])
    np.testing.assert_array_equal(read_by(operand_of(on), x, slice(1, 5)), whole[..., 1:5])


def test_little_resistance_is_none() -> None:
    on = target(LAWS["cubic"][0], "differential", wire_ohm=WireOhm(row=1e-9, col=1e-9))
    without = target(LAWS["cubic"][0], "differential", wire_ohm=None)
    x = np.random.default_rng(2).standard_normal((2, 1, 1, 8))
    np.testing.assert_allclose(
        read_by(operand_of(on), x), read_by(operand_of(without), x), rtol=1e-9
    )


def test_linear_cells_are_solved_once_or_approximated() -> None:
    """`auto` and `exact` are the same matrix, `approximate` is another, and errs to one side."""
    found = {}
    for solution in ("auto", "exact", "approximate"):
        on = target(
            LAWS["cubic"][0], "offset", read_v=None, reference="exact", wire_solution=solution
        )
        x = np.random.default_rng(2).random((2, 1, 1, 8))
        circuit = operand_of(on).circuit(Place("CrossbarMatMul"), np.float64)
        found[solution] = sum(x[..., b.rows] @ b.currents for b in circuit.blocks)
        assert all(block.solved is None for block in circuit.blocks)
    np.testing.assert_array_equal(found["auto"], found["exact"])
    assert np.all(found["approximate"] <= found["exact"])
    assert np.any(found["approximate"] < found["exact"] * (1 - 1e-4))


def test_the_default_is_not_written_down() -> None:
    assert "wire_solution" not in Periphery().model_dump()
    assert Periphery(wire_solution="exact").model_dump()["wire_solution"] == "exact"


def spice(g: Real, volts: Real, ohm: tuple[float, float, float, float], path: Path) -> Real:
    """The currents of sinh cells by ngspice: behavioural sources between nodes of wires."""
    row, col, driver, sense = ohm
    rows, cols = g.shape
    lines = ["sinh cells behind wires", ".options reltol=1e-10 abstol=1e-16 vntol=1e-12 gmin=1e-18"]
    for r in range(rows):
        lines += [f"Vd{r} d{r} 0 {volts[r]:.17g}", f"Rd{r} d{r} w{r}_0 {driver + row:.17g}"]
        lines += [f"Rw{r}_{c} w{r}_{c} w{r}_{c + 1} {row:.17g}" for c in range(cols - 1)]
        for c in range(cols):
            across = f"v(w{r}_{c},b{r}_{c})/0.1"
            lines.append(f"B{r}_{c} w{r}_{c} b{r}_{c} I={g[r, c] * 1e-7:.17g}*sinh({across})")
    for c in range(cols):
        lines += [f"Rb{r}_{c} b{r}_{c} b{r + 1}_{c} {col:.17g}" for r in range(rows - 1)]
        lines += [f"Rs{c} b{rows - 1}_{c} s{c} {sense + col:.17g}", f"Vs{c} s{c} 0 0"]
    lines += [".control", "set numdgt=15", "op"]
    lines += [f"print i(vs{c})" for c in range(cols)] + [".endc", ".end"]
    path.write_text("\n".join(lines) + "\n")
    out = subprocess.run(["ngspice", "-b", str(path)], capture_output=True, text=True, check=False)
    found = [line.split("=")[1] for line in out.stdout.splitlines() if line.startswith("i(vs")]
    return 1e6 * np.array([float(text) for text in found])


@pytest.mark.skipif(shutil.which("ngspice") is None, reason="ngspice is not installed")
@pytest.mark.parametrize("ohm", OHMS)
def test_currents_are_those_of_spice(
    ohm: tuple[float, float, float, float], tmp_path: Path
) -> None:
    law, _ = LAWS["sinh"]
    g, volts = cells(7, 6, 5), np.random.default_rng(8).uniform(0, 0.3, 6)
    row, col, driver, sense = ohm
    wires = WireOhm(row=row, col=col, driver=driver, sense=sense)
    found = column_currents(law.both_signs(g[..., None], 0.3), volts[:, None], 5, wires)[:, 0]
    expected = spice(g, volts, ohm, tmp_path / "tile.cir")
    assert len(expected) == 5
    np.testing.assert_allclose(found, expected, rtol=1e-7)
