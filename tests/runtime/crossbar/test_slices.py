"""Slices of input bits, charges that are added up before the ADC, and inputs of both signs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Device, Periphery, Target
from nvmc.hardware.devices.laws import Conductance
from nvmc.hardware.tiling import Place
from nvmc.rng import CountedDraw
from nvmc.runtime.adc_codes import reachable_codes
from nvmc.runtime.crossbar.dac import Dac
from nvmc.runtime.crossbar.mvm import Reads
from nvmc.runtime.crossbar.native import KERNELS, NUMPY
from nvmc.runtime.crossbar.operand import CircuitOperand

PLACE = Place("CrossbarMatMul")
SEED, INDEX = 4, 2
READ = {"type": "read", "basis": "level", "sigma": 0.3}
SERIAL = {"dac_bits": 6, "dac_mode": "bit-serial"}


def target(*noise: dict[str, Any], encoding: Any = "differential", **periphery: Any) -> Target:
    text = {"name": "d", "title": "t", "source": "s", "levels": 16, "noise": noise}
    return Target.of(
        Device.model_validate(text),
        weight_bits=4 if encoding != "offset" else 3,
        encoding=encoding,
        rows=8,
        cols=4,
        periphery=Periphery.model_validate(periphery),
    )


def array_of(cells: Target, shape: tuple[int, int] = (20, 5)) -> Array:
    top = 2 ** (cells.weight_bits or 4) - 1
    codes = np.random.default_rng(1).integers(-top, top + 1, shape)
    return Array("a", codes, np.ones((), np.float32), cells, PLACE)


def whole(*shape: int, top: int = 63, signed: bool = True) -> NDArray[np.float32]:
    """Whole numbers up to `top`, each entry with one that is: they are their own codes."""
    x = np.random.default_rng(2).integers(-top if signed else 0, top + 1, shape).astype(np.float32)
    x[:, 0, 0, 0] = top
    return x


def read(
    array: Array, x: NDArray[Any], kernel: str = KERNELS[0], reads: Reads | None = None
) -> NDArray[Any]:
    chip = Chip.of(array.target, SEED, INDEX)
    operand = CircuitOperand(array, chip.program(array), chip, kernel=kernel)
    return operand.mvm(PLACE, entries=len(x), dtype=x.dtype)(x, reads=reads or Reads())


@pytest.mark.parametrize("inputs", ["two-phase", "offset", "bipolar"])
@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("size", range(1, 9))
def test_slices_recombine_to_their_codes(size: int, bits: int, inputs: str) -> None:
    """Each of at most `size` bits, the last of what is left; signs are weights or drives."""
    if size > bits or (inputs == "offset" and bits == 1):
        return
    stated = {"dac_bits": bits, "dac_mode": "bit-serial", "dac_slice_bits": size}
    dac = Dac(Periphery.model_validate({**stated, "signed_inputs": inputs}))
    top = 2 ** (bits - (inputs == "offset")) - 1
    codes, drive = dac.drive(np.arange(-top, top + 1, dtype=np.float32)[None])
    pulses = list(dac.expand(codes, drive))
    np.testing.assert_array_equal(
        sum(p.weight * p.drive for p in pulses), codes + drive.offset[:, None]
    )
    assert dac.slices == -(-bits // size)
    assert len(pulses) == dac.pulses == dac.slices * (2 if inputs == "two-phase" else 1)
    assert [p.index for p in pulses] == list(range(dac.pulses))
    assert max(np.abs(p.drive).max() for p in pulses) <= dac.largest == 2**size - 1
    assert sum(p.last for p in pulses) == dac.phases
    assert any(p.drive.min() < 0 for p in pulses) == (inputs == "bipolar")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("encoding", ["differential", "sign-magnitude", "offset"])
@pytest.mark.parametrize("size", [1, 2, 4, 6])
def test_charges_of_linear_cells_add_up_to_the_whole_codes(
    size: int, encoding: str, kernel: str
) -> None:
    """Without noise of reads: the codes of a multi-level DAC, whatever the slices."""
    more: dict[str, Any] = {"encoding": encoding, "subtract": "digital", "adc_bits": 5}
    x = whole(4, 1, 3, 20)
    expected = read(array_of(target(dac_bits=6, **more)), x, kernel)
    added = target(**SERIAL, dac_slice_bits=size, accumulate="analog", **more)
    np.testing.assert_array_equal(read(array_of(added), x, kernel), expected)
    if size < 6:
        each = target(**SERIAL, dac_slice_bits=size, **more)
        assert not np.array_equal(read(array_of(each), x, kernel), expected)


@pytest.mark.parametrize("kernel", KERNELS)
def test_one_conversion_by_hand(kernel: str) -> None:
    """Two rows of levels 3 and 5, codes 13 = 3 + 2 * 4 + 1 * 4 and 6; five bits over 8 * 15 * 15.

    The currents of the slices 0, 1 (of 2 bits) are 3*1 + 5*2 = 13 and 3*3 + 5*1 = 14: in all
    13 + 4 * 14 = 69. Both ADCs have signed codes to 15.
    """
    codes = np.array([[3], [5]])
    x = np.array([[[[13.0, 6.0]]]], np.float32)
    x = np.concatenate([x, np.array([[[[15.0, 0.0]]]], np.float32)])
    stated = {
        "dac_bits": 4,
        "dac_mode": "bit-serial",
        "dac_slice_bits": 2,
        "dac_range": "calibrated",
    }
    for sum_up, steps in (("analog", 2 * 15 * 15 / 15), ("digital", 2 * 15 * 3 / 15)):
        ranges = [{"array": "a", "input": 15.0}]
        cells = target(**stated, accumulate=sum_up, adc_bits=5, ranges=ranges)
        found = read(Array("a", codes, np.ones((), np.float32), cells, PLACE), x, kernel)
        if sum_up == "analog":
            expected = steps * round(69 / steps)
        else:
            expected = steps * (round(13 / steps) + 4 * round(14 / steps))
        assert found[0].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("accumulate", ["analog", "digital"])
@pytest.mark.parametrize("inputs", ["two-phase", "bipolar"])
def test_noise_of_reads_in_slices(inputs: str, accumulate: str, kernel: str) -> None:
    """In closed form, exact currents: var = sum_b 4^b sum_r x_b^2 2 sigma^2 of a pair."""
    cells = target(READ, **SERIAL, dac_slice_bits=2, signed_inputs=inputs, accumulate=accumulate)
    array = array_of(cells, (8, 4))
    x = np.broadcast_to(whole(1, 1, 1, 8), (4000, 1, 1, 8))
    noise = read(array, x, kernel) - read(array_of(target(dac_bits=6), (8, 4)), x[:1])
    sizes = np.abs(x[0, 0, 0]).astype(int)
    wanted = 0.3 * np.sqrt(2 * sum(16.0**k * np.sum((sizes >> 2 * k & 3) ** 2) for k in range(3)))
    assert noise.std() == pytest.approx(wanted, rel=0.03)  # of 16,000 normals: 0.0056
    assert abs(noise.mean()) < 5 * wanted / np.sqrt(noise.size)


def test_noise_of_conversions_is_drawn_once_a_sum() -> None:
    """By the numbers of the last pulse of each phase."""
    cells = target(**SERIAL, dac_slice_bits=2, accumulate="analog", adc_bits=8, adc="ideal:noise=2")
    array, x = array_of(cells, (8, 4)), whole(2, 1, 3, 8)
    step = 8 * 15 * 63 / 127
    draws = CountedDraw(SEED, INDEX, "a", "adc noise", "node 0")
    expected = np.zeros((2, 1, 3, 4))
    for entry in range(2):
        for phase, part in enumerate((np.maximum(x[entry], 0), np.maximum(-x[entry], 0))):
            normals = draws.normal((phase * 3 + 2, 0, entry), (1, 3, 4))
            steps = part @ array.codes / step + 2 * normals
            expected[entry] += (-1) ** phase * step * np.clip(np.rint(steps), -127, 127)
    for kernel in KERNELS:
        np.testing.assert_allclose(read(array, x, kernel), expected, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("mode", [{"dac_bits": 6}, SERIAL])
def test_bipolar_inputs_take_one_conversion(mode: dict[str, Any], kernel: str) -> None:
    """A current of both signs is rounded once, not its positive and its negative part."""
    cells = target(**mode, signed_inputs="bipolar", accumulate="digital", adc_bits=6)
    array, x = array_of(cells, (8, 4)), whole(4, 1, 3, 8)
    expected = np.zeros((4, 1, 3, 4))
    serial = mode is SERIAL
    step = 8 * 15 * (1 if serial else 63) / 31
    for bit in range(6) if serial else [None]:
        size = np.abs(x).astype(int)
        drive = x if bit is None else np.sign(x) * (size >> bit & 1)
        expected += (1 if bit is None else 2**bit) * step * np.rint(drive @ array.codes / step)
    np.testing.assert_allclose(read(array, x, kernel), expected, rtol=1e-5, atol=1e-2)


def test_bipolar_currents_have_codes_of_both_signs_wherever_they_are_read() -> None:
    """Where polarities are read one by one, too: half of the codes of currents of one sign."""
    more: dict[str, Any] = {"dac_bits": 4, "adc_bits": 6, "subtract": "digital"}
    plain, bipolar = (
        array_of(target(**more, signed_inputs=inputs)) for inputs in ("two-phase", "bipolar")
    )
    chip = Chip.ideal()
    adcs = [
        CircuitOperand(each, chip.program(each), chip).circuit(PLACE).adcs[0]
        for each in (plain, bipolar)
    ]
    assert [(adc.low, adc.high) for adc in adcs] == [(0, 63), (-31, 31)]
    assert adcs[1].reach == adcs[0].reach
    found = reachable_codes(bipolar), reachable_codes(plain)
    assert found[0] is not None and found[1] is not None and found[0] > found[1] / 2
    both = max(np.abs(part).sum(0).max() for part in np.split(np.maximum(plain.codes, 0), [8, 16]))
    assert found[1] >= both / (8 * 15) * 0.9


@pytest.mark.parametrize("encoding", ["offset", "differential"])
@pytest.mark.parametrize("reference", ["none", "column", "exact"])
def test_the_off_current_of_bipolar_inputs_is_taken_off(reference: str, encoding: str) -> None:
    """With fine ADCs the products are those of the codes, as with two phases."""
    cells = target(
        encoding=encoding,
        dac_bits=6,
        adc_bits=16,
        signed_inputs="bipolar",
        subtract="digital",
        reference=reference,
    )
    conductance = Conductance(min_us=10.0, max_us=40.0)
    device = cells.device.model_copy(update={"conductance": conductance})
    array = array_of(cells.model_copy(update={"device": device}))
    x = whole(4, 1, 3, 20)
    found = read(array, x)
    # 3 tiles, each lane and its reference within half a step of 8 * (15 + 5) * 63 / 32767
    np.testing.assert_allclose(found, x @ array.codes, rtol=0, atol=3 * 2 * 2 * 0.16)


@pytest.mark.parametrize("kernel", KERNELS)
def test_columns_saturate_before_their_charges_are_added_up(kernel: str) -> None:
    """As in CrossSim: the current of every slice is clipped, not their sum."""
    cells = target(**SERIAL, accumulate="analog", column_limit=20.0, adc_bits=12)
    array, x = array_of(cells, (8, 4)), whole(3, 1, 2, 8)
    step = 8 * 15 * 63 / 2047
    expected = np.zeros((3, 1, 2, 4))
    for sign in (1, -1):
        part = np.maximum(sign * x, 0).astype(int)
        sums = [2**b * np.clip((part >> b & 1) @ array.codes, -20, 20) for b in range(6)]
        expected += sign * step * np.rint(sum(sums) / step)
    np.testing.assert_allclose(read(array, x, kernel), expected, rtol=1e-5, atol=1e-2)
    assert NUMPY in KERNELS


@pytest.mark.parametrize("inputs", ["two-phase", "bipolar"])
@pytest.mark.parametrize("accumulate", ["analog", "digital"])
def test_no_entry_depends_on_the_others(accumulate: str, inputs: str) -> None:
    cells = target(
        READ,
        **SERIAL,
        dac_slice_bits=4,
        accumulate=accumulate,
        signed_inputs=inputs,
        adc_bits=6,
        adc="flash:comparator=0.5,offset=1,noise=0.5",
    )
    array, x = array_of(cells), whole(5, 1, 3, 20)
    x[::2] = np.abs(x[::2])
    for kernel in KERNELS:
        together = read(array, x, kernel)
        for entry in range(5):
            alone = read(array, x[entry : entry + 1], kernel, Reads(first=entry))
            np.testing.assert_array_equal(alone[0], together[entry])


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"dac_bits": 4, "dac_slice_bits": 2}, "dac_slice_bits is 2, but multi-level inputs have"),
        ({"accumulate": "analog"}, "accumulate is analog, but multi-level inputs have one pulse"),
        ({**SERIAL, "dac_slice_bits": 7}, "dac_slice_bits is 7; expected at most the 6 dac_bits"),
        ({**SERIAL, "dac_slice_bits": 0}, "greater than or equal to 1"),
        ({"signed_inputs": "bipolar", "read_v": 0.2}, "bipolar inputs put negative voltages on"),
    ],
)
def test_what_cannot_be_is_refused(stated: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Periphery.model_validate(stated)


def test_settings_at_their_defaults_are_not_written() -> None:
    """So that networks of before keep their manifests and keys."""
    found = Periphery(dac_bits=4, dac_mode="bit-serial").model_dump()
    assert "dac_slice_bits" not in found and "accumulate" not in found
