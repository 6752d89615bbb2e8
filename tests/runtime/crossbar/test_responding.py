"""Cells whose current is not proportional to the voltage: against loops in volts and amperes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.evaluation.workload import fidelity_of
from nvmc.hardware.chip import Array, Chip, Programmed
from nvmc.hardware.devices import Device, Periphery, Target, load_device
from nvmc.hardware.devices.currents import Fitted, Sinh
from nvmc.hardware.encoding import Encoding, quantize, scale_of
from nvmc.hardware.tiling import Place
from nvmc.runtime.crossbar.native import KERNELS, NUMPY
from nvmc.runtime.crossbar.operand import CircuitOperand

COMPILED = KERNELS[:-1]
READ_V = 0.4
LOW_US, HIGH_US = 5.0, 65.0
MILO = {
    "law": "fitted",
    "quadratic": [0.007063, 0.005711, 0.001541, 0.0001388],
    "cubic": [1.2968e-3, 6.7919e-4, 8.8710e-5],
    "range_us": [50.0, 225.0],
}


def milo(g_us: float, volts: float) -> float:
    """As sandialabs/cross-sim's RRAM_Milo has it, in siemens; below the range in proportion."""
    inside = max(g_us, 50.0)
    g = inside * 1e-6
    log = math.log10(g)
    quadratic = np.polyval([0.0001388, 0.001541, 0.005711, 0.007063], log)
    cubic = np.polyval([8.8710e-05, 6.7919e-04, 1.2968e-03], log)
    current = g * volts + quadratic * volts**2 + cubic * volts**3
    return 1e6 * current + (g_us - inside) / inside * 1e6 * current


Law = Callable[[float, float], float]
LAWS: dict[str, tuple[dict[str, Any], Law]] = {
    "cubic": (
        {"law": "cubic", "quadratic": 0.3, "cubic": -0.25},
        lambda g, v: g * (v + 0.3 * v**2 - 0.25 * v**3),
    ),
    "sinh": ({"law": "sinh", "v0": 0.15}, lambda g, v: g * 0.15 * math.sinh(v / 0.15)),
    "sinh read": (
        {"law": "sinh", "v0": 0.15, "stated_at": "read"},
        lambda g, v: g * READ_V * math.sinh(v / 0.15) / math.sinh(READ_V / 0.15),
    ),
    "fitted": (MILO, milo),
}
USES: list[tuple[Encoding, dict[str, Any]]] = [
    ("sign-magnitude", {}),
    ("sign-magnitude", {"subtract": "digital", "dac_bits": 5}),
    ("sign-magnitude", {"dac_bits": 4, "dac_mode": "bit-serial"}),
    ("sign-magnitude", {"dac_bits": 5, "signed_inputs": "offset"}),
    ("differential", {"dac_bits": 5}),
    ("differential", {"dac_bits": 3, "subtract": "digital"}),
    ("offset", {"dac_bits": 5}),
    ("offset", {"dac_bits": 4, "signed_inputs": "offset"}),
    ("offset", {"dac_bits": 4, "dac_mode": "bit-serial", "signed_inputs": "offset"}),
    ("offset", {"dac_bits": 5, "reference": "exact"}),
    ("offset", {"dac_bits": 5, "reference": "column"}),
]


def target(law: dict[str, Any], encoding: Encoding, noise: Any = (), **periphery: Any) -> Target:
    """Four-bit weights in two-bit cells of 5 to 65 µS."""
    text = {"name": "d", "title": "t", "source": "s", "levels": 4, "noise": list(noise), "iv": law}
    cells = Device.model_validate({**text, "conductance": {"min_us": LOW_US, "max_us": HIGH_US}})
    around = Periphery.model_validate({"read_v": READ_V, **periphery})
    return Target.of(cells, weight_bits=4, cell_bits=2, encoding=encoding, rows=5, periphery=around)


def operand_of(cells: Target, kernel: str = NUMPY, chip: Chip | None = None) -> CircuitOperand:
    weight = np.random.default_rng(1).standard_normal((12, 7))
    scale = scale_of(weight, 4).astype(np.float32)
    place = Place("CrossbarMatMul")
    array = Array("a", quantize(weight, scale, 4), scale, cells, place)
    chip = Chip.ideal() if chip is None else chip
    return CircuitOperand(array, chip.program(array), chip, kernel=kernel)


def found_by(operand: CircuitOperand, x: NDArray[Any]) -> NDArray[Any]:
    return operand.mvm(Place("CrossbarMatMul"), entries=len(x), dtype=x.dtype)(x)


def codes_of(x: NDArray[Any], periphery: Periphery) -> tuple[NDArray[Any], float, float, float]:
    """Codes of one vector, what 1 of them stands for, the offset, the highest drive."""
    bits, reach = periphery.dac_bits, float(np.abs(x).max())
    whole = 1.0 if bits is None else 2.0**bits - 1
    offset = 0.0
    if periphery.signed_inputs == "offset" and x.min() < 0:
        offset = 0.5 if bits is None else 2.0 ** (bits - 1) - 1
    top = offset or whole
    codes = x / reach * top if bits is None else np.round(x / reach * top)
    return codes, reach / top, offset, whole


def slow(x: NDArray[Any], programmed: Programmed, cells: Target, law: Law, unit: float) -> Any:
    """The outputs of one input vector, cell by cell; exact converters."""
    periphery, layout = cells.periphery, cells.layout
    step = (HIGH_US - LOW_US) / 3
    codes, dx, offset, top = codes_of(x, periphery)
    serial = periphery.dac_mode == "bit-serial"
    # A unit of the result: a level step driven by one code.
    micro = step * READ_V / (1.0 if serial else top)
    exact, column = cells.reference == "exact", cells.reference == "column"
    off = LOW_US / step
    result = np.zeros(programmed.levels.shape[-1])
    for c in range(len(result)):
        for r, code in enumerate(codes):
            for plane, counts in enumerate(layout.coefficients.tolist()):
                g = (float(programmed.levels[plane, r, c]) + off) * step
                counts *= float(programmed.sign[r, c])
                for drive, weight in pulses(code + offset, serial, periphery.dac_bits):
                    volts = READ_V * drive / (1.0 if serial else top)
                    current = law(g, volts) - law(LOW_US, volts) * (exact or column)
                    result[c] += weight * counts * current / micro
                if not (exact or column):
                    result[c] -= counts * off * code
                if offset:
                    for drive, weight in pulses(offset, serial, periphery.dac_bits):
                        volts = READ_V * drive / (1.0 if serial else top)
                        idle = law(LOW_US, volts) * (exact or column)
                        result[c] -= weight * counts * (law(g, volts) - idle) / micro
            result[c] -= layout.shift * code
    return result * unit * dx


def pulses(code: float, serial: bool, bits: int | None) -> list[tuple[float, float]]:
    """What drives a row, and what it counts for."""
    sign = -1.0 if code < 0 else 1.0
    if not serial:
        return [(abs(code), sign)]
    return [((int(abs(code)) >> bit) & 1, sign * 2**bit) for bit in range(bits or 0)]


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize(("encoding", "periphery"), USES)
def test_currents_are_those_of_the_law(
    name: str, encoding: Encoding, periphery: dict[str, Any]
) -> None:
    law, current = LAWS[name]
    cells = target(law, encoding, **periphery)
    operand = operand_of(cells)
    programmed, unit = operand._programmed, float(operand._array.unit)
    x = np.random.default_rng(2).standard_normal((3, 1, 1, 12))
    found = found_by(operand, x)
    for entry in range(3):
        expected = slow(x[entry, 0, 0], programmed, cells, current, unit)
        np.testing.assert_allclose(found[entry, 0, 0], expected, rtol=1e-7, atol=1e-8)


NOISE = (
    {"type": "programming", "basis": "level", "sigma": 0.2},
    {"type": "read", "basis": "level", "sigma": 0.3},
)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("adc_bits", [None, 6])
@pytest.mark.parametrize(("encoding", "periphery"), USES)
def test_compiled_kernels_give_numpys_bits(
    name: str, encoding: Encoding, periphery: dict[str, Any], adc_bits: int | None
) -> None:
    cells = target(LAWS[name][0], encoding, NOISE, adc_bits=adc_bits, **periphery)
    chip = Chip.of(cells, 4, 2)
    x = np.random.default_rng(2).standard_normal((3, 1, 70, 12)).astype(np.float32)
    expected = found_by(operand_of(cells, NUMPY, chip), x) + 0.0
    for kernel in COMPILED:
        found = found_by(operand_of(cells, kernel, chip), x) + 0.0
        np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def test_bits_of_inputs_only_scale_a_column() -> None:
    """Every pulse is the read voltage, so a law that is one shape for all cells is a factor."""
    serial = {"dac_bits": 4, "dac_mode": "bit-serial"}
    x = np.random.default_rng(2).standard_normal((3, 1, 1, 12))
    at_zero = target(LAWS["cubic"][0], "differential", read_v=1e-9, **serial)
    linear = found_by(operand_of(at_zero), x)
    bent = found_by(operand_of(target(LAWS["cubic"][0], "differential", **serial)), x)
    factor = 1 + 0.3 * READ_V - 0.25 * READ_V**2
    np.testing.assert_allclose(bent, factor * linear, rtol=1e-7)
    stated = {**LAWS["sinh"][0], "stated_at": "read"}
    found = found_by(operand_of(target(stated, "differential", **serial)), x)
    np.testing.assert_allclose(found, linear, rtol=1e-7)


@pytest.mark.parametrize("name", LAWS)
def test_without_a_read_voltage_nothing_changes(name: str) -> None:
    cells = target(LAWS[name][0], "offset", NOISE, read_v=None, dac_bits=5, adc_bits=6)
    plain = cells.model_copy(update={"device": cells.device.model_copy(update={"iv": None})})
    chip = Chip.of(cells, 4, 2)
    x = np.random.default_rng(2).standard_normal((3, 1, 5, 12)).astype(np.float32)
    for kernel in KERNELS:
        found = found_by(operand_of(cells, kernel, chip), x)
        np.testing.assert_array_equal(found, found_by(operand_of(plain, kernel, chip), x))
    assert "read_v" not in cells.periphery.model_dump()
    assert "iv" not in plain.device.model_dump()


@pytest.mark.parametrize("name", LAWS)
def test_a_full_range_holds_what_cells_can_do(name: str) -> None:
    """All cells at the highest level and all rows at the highest drive: nothing is clipped."""
    cells = target(LAWS[name][0], "offset", dac_bits=5, adc_bits=12)
    codes = np.full((5, 3), 15, np.int8)
    array = Array("a", codes, np.float32(1).reshape(()), cells, Place("CrossbarMatMul"))
    x = np.ones((1, 1, 1, 5))
    results = []
    for bits in (12, None):
        around = cells.periphery.model_copy(update={"adc_bits": bits})
        on = Array(
            "a", codes, array.unit, cells.model_copy(update={"periphery": around}), array.place
        )
        ideal = Chip.ideal()
        results.append(found_by(CircuitOperand(on, ideal.program(on), ideal, kernel=NUMPY), x))
    np.testing.assert_allclose(*results, rtol=2e-3)


def test_the_law_of_milo_is_that_of_its_source() -> None:
    """Beside a second implementation, where the source has data."""
    law = load_device("rram-milo2021").iv
    assert isinstance(law, Fitted)
    for g in (62.5, 76.2, 93.9, 110.0):
        for volts in (0.1, 0.3, 0.5):
            found = float(law.current(np.asarray(g), np.asarray(volts), 0.5))
            assert found == pytest.approx(milo(g, volts), rel=1e-12)


def test_sinh_is_summed_to_rounding() -> None:
    for ratio in (0.01, 1.0, 5.0, 10.0):
        law, volts = Sinh(law="sinh", v0=0.1), np.linspace(0, 0.1 * ratio, 9)
        found = law.current(np.asarray(20.0), volts, float(volts[-1]))
        np.testing.assert_allclose(found, 20 * 0.1 * np.sinh(volts / 0.1), rtol=1e-14)


@pytest.mark.parametrize(
    ("law", "read_v", "told"),
    [
        (None, 0.2, "states no current at a voltage; add [iv]"),
        ({"law": "cubic", "cubic": -0.25}, 1.5, "falls with the voltage"),
        ({"law": "cubic", "cubic": 0.1, "limit_v": 0.5}, 0.6, "at most 0.5 V"),
        ({**MILO, "range_us": [20.0, 225.0]}, 0.4, "falls with the voltage"),
        ({"law": "sinh", "v0": 0.01}, 0.2, "computed up to 10 v0, 0.1 V"),
    ],
)
def test_reads_that_the_law_does_not_know_are_refused(law: Any, read_v: float, told: str) -> None:
    cells = target({"law": "cubic"}, "offset", read_v=read_v)
    device = Device.model_validate({**cells.device.model_dump(), "iv": law})
    with pytest.raises(OptionError) as caught:
        cells.model_copy(update={"device": device}).check_reading()
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_fitted_law_needs_conductances() -> None:
    text = {"name": "d", "title": "t", "source": "s", "levels": 4, "iv": MILO}
    cells = Target.of(Device.model_validate(text), weight_bits=4, periphery=Periphery(read_v=0.1))
    with pytest.raises(OptionError, match="states no conductance"):
        cells.check_reading()


def test_such_cells_need_the_circuit() -> None:
    cells = target(LAWS["cubic"][0], "offset")
    assert fidelity_of(cells) == "circuit"
    with pytest.raises(OptionError, match="not linear"):
        fidelity_of(cells, "cells")
