"""DACs that are not linear: against a loop over single rows, and in what they cannot be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from nvmc.errors import OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Device, Periphery, Target
from nvmc.hardware.devices.laws import Conductance
from nvmc.hardware.tiling import Matrix, Place
from nvmc.rng import Draw
from nvmc.runtime.crossbar.dac_errors import inl_of
from nvmc.runtime.crossbar.mvm import Reads
from nvmc.runtime.crossbar.native import KERNELS
from nvmc.runtime.crossbar.operand import CircuitOperand
from nvmc.training.circuit.choice import check_rules

PLACE = Place("CrossbarMatMul")
SEED, INDEX = 4, 2
INL = 0.8
READ = {"type": "read", "basis": "level", "sigma": 0.3}
USES: dict[str, dict[str, Any]] = {
    "at once": {},
    "slices": {"dac_mode": "bit-serial", "dac_slice_bits": 2},
    "charges": {"dac_mode": "bit-serial", "dac_slice_bits": 4, "accumulate": "analog"},
    "bipolar": {"signed_inputs": "bipolar"},
    "bipolar slices": {
        "signed_inputs": "bipolar",
        "dac_mode": "bit-serial",
        "dac_slice_bits": 3,
    },
    "offset": {"signed_inputs": "offset"},
    "offset slices": {
        "signed_inputs": "offset",
        "dac_mode": "bit-serial",
        "dac_slice_bits": 3,
    },
    "in turn": {"rows_on": 3, "row_split": "even"},
}


def target(*noise: dict[str, Any], encoding: Any = "differential", **periphery: Any) -> Target:
    text = {"name": "d", "title": "t", "source": "s", "levels": 16, "noise": noise}
    return Target.of(
        Device.model_validate(text),
        weight_bits=4 if encoding != "offset" else 3,
        encoding=encoding,
        rows=8,
        cols=4,
        periphery=Periphery.model_validate({"dac_bits": 6, "dac_inl": INL, **periphery}),
    )


def array_of(cells: Target, shape: tuple[int, ...] = (20, 5)) -> Array:
    top = 2 ** (cells.weight_bits or 4) - 1
    codes = np.random.default_rng(1).integers(-top, top + 1, shape)
    return Array("a", codes, np.ones((), np.float32), cells, PLACE)


def inputs(*shape: int, top: int = 63) -> NDArray[Any]:
    x = np.random.default_rng(2).integers(-top, top + 1, shape).astype(np.float64)
    x[..., 0] = top
    return x


def read(
    array: Array,
    x: NDArray[Any],
    kernel: str = KERNELS[0],
    index: int | None = INDEX,
    reads: Reads | None = None,
) -> NDArray[Any]:
    chip = Chip.ideal() if index is None else Chip.of(array.target, SEED, index)
    operand = CircuitOperand(array, chip.program(array), chip, kernel=kernel)
    return operand.mvm(PLACE, entries=len(x), dtype=x.dtype)(x, reads=reads or Reads())


def errors(rows: int, groups: int = 1) -> list[NDArray[np.float64]]:
    """The peaks of the bow and of the S of every row's DAC."""
    draws = Draw(SEED, INDEX, "a", "dac", "inl")
    return [INL * draws.normal((groups, rows)).astype(np.float64) for _ in range(2)]


def put(code: float, bow: float, curl: float, top: int) -> float:
    """What a DAC of codes to `top` puts on its row."""
    x = abs(code) / top
    s = 2 * x - 1
    more = bow * 4 * x * (1 - x) + curl * (3 * math.sqrt(3) / 2) * (s - s**3)
    return math.copysign(abs(code) + more, code)


@pytest.mark.parametrize("encoding", ["differential", "offset"])
@pytest.mark.parametrize("use", USES)
def test_every_row_has_the_curve_of_its_dac(use: str, encoding: Any) -> None:
    """A loop over rows and pulses; exact currents, less what an offset adds as it is driven."""
    cells = target(encoding=encoding, **USES[use])
    array, periphery = array_of(cells), cells.periphery
    size = periphery.dac_slice_bits if periphery.dac_mode == "bit-serial" else 6
    offset = 31 if periphery.signed_inputs == "offset" else 0
    x = inputs(3, 1, 2, 20, top=31 if offset else 63)
    bow, curl = errors(20)

    def driven(code: float, row: int) -> float:
        total = 0.0
        for first in range(0, 6, size):
            part = math.copysign((abs(int(code)) >> first) % 2**size, code)
            total += 2**first * put(part, bow[0, row], curl[0, row], 2**size - 1)
        return total

    expected = np.zeros((3, 1, 2, 5))
    stored = array.codes + (7 if encoding == "offset" else 0)
    for n, v, r in np.ndindex(3, 2, 20):
        code = x[n, 0, v, r]
        on_row = driven(code + offset, r) - (driven(offset, r) if offset else 0.0)
        expected[n, 0, v] += on_row * stored[r] - code * (stored[r] - array.codes[r])
    np.testing.assert_allclose(read(array, x), expected, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("use", USES)
def test_kernels_give_numpys_bits(use: str) -> None:
    """With noisy reads and an ADC, groups and entries of either sign; alone and together."""
    cells = target(READ, encoding="offset", adc_bits=7, **USES[use])
    array = Array("a", array_of(cells, (3, 20, 5)).codes, np.ones((), np.float32), cells, PLACE)
    x = inputs(5, 3, 40, 20).astype(np.float32)
    x[::2] = np.abs(x[::2])
    expected = read(array, x, KERNELS[-1])
    for kernel in KERNELS:
        np.testing.assert_array_equal(read(array, x, kernel), expected)
        alone = read(array, x[2:3], kernel, reads=Reads(first=2))
        np.testing.assert_array_equal(alone[0], expected[2])


def test_ends_are_exact_and_peaks_have_their_law() -> None:
    """A bow in the middle, an S at s = 1/sqrt 3; a normal for every row and chip."""
    periphery = Periphery(dac_bits=8, dac_inl=0.5)
    chip = Chip.of(target(), SEED, INDEX)
    found = inl_of(periphery, chip, "a", Matrix(1, 4000, 1), 255.0)
    assert found is not None
    codes = np.zeros((3, 1, 1, 4000))
    codes[1], codes[2] = 255, 127.5
    more = found.put(codes) - codes
    np.testing.assert_array_equal(more[:2], 0)
    assert more[2].std() == pytest.approx(0.5, rel=0.05)  # of 4000 normals: 0.011
    s = 1 / math.sqrt(3)
    both = found.put(np.full((1, 1, 1, 4000), 255 * (1 + s) / 2)) - 255 * (1 + s) / 2
    # there the bow has 1 - s^2 = 2/3 of its peak
    assert both.std() == pytest.approx(0.5 * math.hypot(1, 2 / 3), rel=0.05)
    other = inl_of(periphery, Chip.of(target(), SEED, INDEX + 1), "a", Matrix(1, 4000, 1), 255.0)
    assert other is not None and abs(np.corrcoef(found.bow, other.bow)[0, 1]) < 0.08


def test_the_ideal_chip_has_linear_dacs_and_inl_scales_a_chip() -> None:
    array, x = array_of(target()), inputs(3, 1, 2, 20)
    plain = array_of(target(dac_inl=0.0))
    exact = read(plain, x)
    np.testing.assert_array_equal(read(array, x, index=None), read(plain, x, index=None))
    double = read(array_of(target(dac_inl=2 * INL)), x) - exact
    np.testing.assert_allclose(double, 2 * (read(array, x) - exact), rtol=1e-9, atol=1e-6)
    assert "dac_inl" not in Periphery(dac_bits=6).model_dump()


def test_reference_columns_are_driven_by_the_same_dacs() -> None:
    """So what the off-current adds by their errors is taken off; a nominal sum leaves it."""
    x = inputs(3, 1, 2, 20)
    found: list[NDArray[Any]] = []
    for reference, off in (("column", 30.0), ("none", 30.0), ("none", 1e-6)):
        cells = target(encoding="offset", reference=reference)
        conductance = Conductance(min_us=off, max_us=off + 15)
        device = cells.device.model_copy(update={"conductance": conductance})
        found.append(read(array_of(cells.model_copy(update={"device": device})), x))
    column, nominal, without = found
    np.testing.assert_allclose(column, without, rtol=0, atol=0.1)
    assert np.abs(nominal - without).max() > 10


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({}, "dac_inl is 0.5, but inputs are exact"),
        ({"dac_bits": 1}, "dac_inl is 0.5, but DACs of 1 bit have no codes between ends"),
        ({"dac_bits": 6, "dac_mode": "bit-serial"}, "DACs of 1 bit have no codes between"),
        ({"dac_inl": -1.0, "dac_bits": 4}, "greater than or equal to 0"),
    ],
)
def test_what_cannot_be_is_refused(stated: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Periphery.model_validate({"dac_inl": 0.5, **stated})


def test_training_refuses_them() -> None:
    with pytest.raises(OptionError, match="leave --dac-inl out, or let only"):
        check_rules(Periphery(dac_bits=4, dac_inl=0.5))
