"""Levels that are not evenly spaced: a chip computes with what its cells conduct.

With g_l the conductance of level l, T the highest level in use and D = (g_T - g_0) / T, a cell for
digit l counts (g_l - g_0) / D where the digital side expects l. Values are compared in float32: a
recombined weight is a sum of a few products, each rounded to 2^-24 of the full range.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Conductance, Device, Target, parse_noise
from nvmc.hardware.devices.laws import Bias
from nvmc.hardware.restriction import AblatedChip, Selection
from nvmc.hardware.tiling import Place
from nvmc.rng import Draw
from nvmc.runtime.crossbar.operand import CircuitOperand

ENCODINGS = ("sign-magnitude", "differential", "offset", "balanced")
US = (1.0, 2.0, 4.0, 9.0)
CODES = np.arange(-15, 16).astype(np.int8)
ROUNDED = 8 * 2**-24 * 15


def device(*noise: str, us: tuple[float, ...] = US, **given: Any) -> Device:
    conductance = Conductance(min_us=us[0], max_us=us[-1], levels_us=us)
    sources = tuple(map(parse_noise, noise))
    return Device(
        name="u",
        title="",
        source="s",
        levels=len(us),
        conductance=conductance,
        noise=sources,
        **given,
    )


def array_on(cells: Device, **given: Any) -> Array:
    chosen = {"weight_bits": 4, "cell_bits": 2, **given}
    return Array("w", CODES, np.float32(1), Target.of(cells, **chosen))


def weights_on(array: Array, sigma: float | None = None) -> Any:
    return Chip.of(array.target, 3, 5, sigma).program(array).weights


def digits(value: int, cell_bits: int, count: int) -> list[int]:
    return [(value >> (cell_bits * i)) & (2**cell_bits - 1) for i in range(count)]


def read_as(value: int, cell_bits: int, us: tuple[float, ...]) -> float:
    """What cells that hold the whole number `value` count for together."""
    top = 2**cell_bits - 1
    step = (us[top] - us[0]) / top
    held = digits(value, cell_bits, -(-value.bit_length() // cell_bits) or 1)
    return sum(2 ** (cell_bits * i) * (us[d] - us[0]) / step for i, d in enumerate(held))


def balanced(code: int, cell_bits: int, us: tuple[float, ...]) -> float:
    """What pairs count for whose cells lie on both sides of the middle."""
    top, total = 2**cell_bits - 1, 0.0
    for i, digit in enumerate(digits(abs(code), cell_bits, 4 // cell_bits)):
        signed = digit if code > 0 else -digit
        up, down = us[(top + signed) // 2], us[(top - signed) // 2]
        total += 2 ** (cell_bits * i) * (up - down) * top / (us[top] - us[0])
    return total


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("cell_bits", [1, 2])
def test_a_chip_computes_with_the_conductances_of_its_levels(encoding: Any, cell_bits: int):
    array = array_on(device(), encoding=encoding, cell_bits=cell_bits)
    if encoding == "offset":
        wanted = [read_as(int(code) + 15, cell_bits, US) - 15 for code in CODES]
    elif encoding == "balanced":
        wanted = [balanced(int(code), cell_bits, US) for code in CODES]
    else:
        wanted = [np.sign(code) * read_as(abs(int(code)), cell_bits, US) for code in CODES]
    np.testing.assert_allclose(weights_on(array), wanted, rtol=0, atol=ROUNDED)


def test_a_column_conducts_the_sum_of_inputs_times_conductances():
    """Sum_r x_r g_r in µS, less what level 0 conducts, over one step: codes 0 to 3 in one cell."""
    array = Array(
        "w",
        np.arange(4, dtype=np.int8),
        np.float32(1),
        Target.of(device(), weight_bits=2, cell_bits=2),
    )
    x = np.array([0.5, 1.0, 2.0, 0.25])
    step = (US[3] - US[0]) / 3
    wanted = (x @ np.array(US) - US[0] * x.sum()) / step
    assert x @ weights_on(array) == pytest.approx(wanted, rel=1e-6)
    levels = Chip.of(array.target, 0, 0).program(array).levels
    conducted = (levels[0] + array.target.off_level) * array.target.step_us
    assert conducted.tolist() == pytest.approx(US, rel=1e-6)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_circuit_computes_with_the_same_levels(encoding: Any):
    """Ideal periphery: the analog sum of conductances is the product with the chip's weights."""
    array = array_on(device(), encoding=encoding)
    chip = Chip.of(array.target, 3, 5)
    codes = np.stack([CODES, CODES[::-1]], axis=1)
    array = Array("w", codes, np.float32(1), array.target)
    operand = CircuitOperand(array, chip.program(array), chip)
    x = np.random.default_rng(0).standard_normal((4, 1, 1, 31))
    found = operand.mvm(Place("CrossbarMatMul"), entries=4, dtype=x.dtype)(x)
    wanted = x @ chip.program(array).weights.astype(np.float64)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=31 * 5 * ROUNDED)
    assert not np.allclose(found, x @ codes, atol=0.1)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_two_levels_are_always_even(encoding: Any):
    array = array_on(device(us=(5.0, 20.0)), encoding=encoding, cell_bits=1)
    assert np.array_equal(weights_on(array), array.ideal)


def test_the_lowest_two_levels_alone_are_read_without_error():
    """The digital side scales to the levels in use: one bit a cell of four uneven levels."""
    array = array_on(device(), cell_bits=1)
    assert array.target.highest_level == pytest.approx(8)  # (9 - 1) µS in steps of 1 µS
    assert np.array_equal(weights_on(array), array.ideal)


def test_a_list_of_even_levels_changes_no_bit():
    noise = "programming:sigma=0.2,basis=level,profile=1;2;3;4"
    listed = device(noise, us=(1.0, 2.0, 3.0, 4.0))
    plain = listed.model_copy(update={"conductance": Conductance(min_us=1.0, max_us=4.0)})
    for sources in (listed, plain):
        assert weights_on(array_on(sources)).tolist() != CODES.tolist()
    assert np.array_equal(weights_on(array_on(listed)), weights_on(array_on(plain)))


def test_the_ideal_chip_has_even_levels():
    array = array_on(device())
    assert np.array_equal(Chip.ideal().program(array).weights, array.ideal)
    assert not np.array_equal(weights_on(array), array.ideal)


def test_analog_weights_aim_between_levels():
    weights = np.array([-1.0, 0.3, 0.7], np.float32)
    array = Array("w", weights, np.float32(1), Target.of(device(), weight_bits="none"))
    assert array.target.places is None and np.array_equal(weights_on(array), weights)


@pytest.mark.parametrize("cell_bits", [1, 2])
@pytest.mark.parametrize(
    ("basis", "us_of_one"),
    [
        ("level", lambda target: (US[3] - US[0]) / 3),
        ("full_range", lambda target: US[3] - US[0]),
        ("us", lambda target: 1.0),
        ("value", lambda target: np.array(US)[target]),
    ],
)
def test_a_spread_means_the_same_conductance_whatever_is_in_use(
    basis: str, us_of_one: Any, cell_bits: int
):
    array = array_on(device(f"programming:sigma=0.1,basis={basis}"), cell_bits=cell_bits)
    levels = Chip.of(array.target, 3, 5).program(array).levels
    target = array.cells.targets.astype(int)
    normal = Draw(3, 5, "w", "programming").normal(levels.shape)
    wanted = np.array(US)[target] + 0.1 * us_of_one(target) * normal
    conducted = (levels + array.target.off_level) * array.target.step_us
    np.testing.assert_allclose(conducted, wanted, rtol=0, atol=16 * 2**-24 * 10)


def test_a_profile_is_of_levels_and_a_bias_adds_to_where_they_lie():
    noise = parse_noise("programming:sigma=0.1,basis=level,profile=1;2;3;4")
    biased = noise.model_copy(update={"bias": Bias(polynomial=(0.5,))})
    array = array_on(device().model_copy(update={"noise": (biased,)}))
    levels = Chip.of(array.target, 3, 5).program(array).levels
    target = array.cells.targets.astype(int)
    places = (np.array(US) - US[0]) / (US[3] - US[0]) * 3
    normal = Draw(3, 5, "w", "programming").normal(levels.shape)
    wanted = places[target] + 0.5 + 0.1 * np.array([1, 2, 3, 4])[target] * normal
    np.testing.assert_allclose(levels, wanted, rtol=0, atol=16 * 2**-24 * 10)


def test_flipped_bits_are_of_digits_before_they_are_programmed():
    array = array_on(device("bitflip:p=1,bits=cells"))
    wanted = [(1 if code >= 0 else -1) * read_as(15 - abs(int(code)), 2, US) for code in CODES]
    np.testing.assert_allclose(weights_on(array), wanted, rtol=0, atol=ROUNDED)


def test_stuck_cells_and_clipping_know_the_top_conductance():
    stuck = array_on(device("stuck-at:p_high=1"), cell_bits=1)
    assert Chip.of(stuck.target, 0, 0).program(stuck).levels.tolist() == [[8.0] * 31] * 4
    far = array_on(device("programming:sigma=9,basis=level", clip=True))
    levels = Chip.of(far.target, 0, 0).program(far).levels
    assert levels.min() == 0 and levels.max() == 3


def test_reads_are_noisy_by_where_cells_are():
    array = array_on(device("read:sigma=0.1,basis=level,profile=1;2;3;4"))
    chip = Chip.of(array.target, 3, 5)
    spread = chip.read_spread(array, chip.program(array).levels)
    assert spread is not None
    factors = np.array([1, 2, 3, 4])[array.cells.targets.astype(int)]
    np.testing.assert_allclose(spread, 0.1 * factors, rtol=1e-6)


def test_a_layer_left_out_is_perfect_and_a_layer_alone_is_as_on_the_chip():
    array = array_on(device())
    chip = Chip.of(array.target, 0, 0)
    without = AblatedChip.within(chip, Selection(arrays=frozenset({"other"})))
    alone = AblatedChip.within(chip, Selection(arrays=frozenset({"w"})))
    assert np.array_equal(without.program(array).weights, array.ideal)
    assert np.array_equal(alone.program(array).weights, weights_on(array))
    low = AblatedChip.within(chip, Selection(slices=frozenset({0}))).program(array).levels
    assert np.array_equal(low[1], array.cells.targets[1])
    assert np.array_equal(low[0], chip.program(array).levels[0])
