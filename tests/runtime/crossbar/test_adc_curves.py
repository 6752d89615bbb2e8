"""Converters that are not ideal, in the circuit: against loops over single conversions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Device, Periphery, Target
from nvmc.hardware.devices.adc.kinds import parse_adc
from nvmc.hardware.tiling import Matrix, Place
from nvmc.rng import CountedDraw, Draw
from nvmc.runtime.crossbar.adc import top_code
from nvmc.runtime.crossbar.converters import wiring_of
from nvmc.runtime.crossbar.mvm import Reads
from nvmc.runtime.crossbar.native import KERNELS
from nvmc.runtime.crossbar.operand import CircuitOperand

PLACE = Place("CrossbarMatMul")
SEED, INDEX = 4, 2
LEVELS = 16


def target(adc: str, rows: int = 4, cols: int = 3, **periphery: Any) -> Target:
    """Weights of 4 bits in one cell each, pairs subtracted before the ADC: one lane."""
    device = Device.model_validate({"name": "d", "title": "t", "source": "s", "levels": LEVELS})
    stated = {"dac_bits": 3, "adc_bits": 5, "adc": adc, **periphery}
    return Target.of(
        device,
        weight_bits=4,
        encoding="differential",
        rows=rows,
        cols=cols,
        periphery=Periphery.model_validate(stated),
    )


def codes_of(*shape: int) -> NDArray[np.int64]:
    return np.random.default_rng(1).integers(-15, 16, shape)


def array_of(codes: NDArray[Any], cells: Target) -> Array:
    return Array("a", codes, np.ones((), np.float32), cells)


def read(
    array: Array,
    x: NDArray[Any],
    chip: Chip | None = None,
    kernel: str = KERNELS[0],
    reads: Reads | None = None,
) -> NDArray[Any]:
    found = Chip.of(array.target, SEED, INDEX) if chip is None else chip
    operand = CircuitOperand(array, found.program(array), found, kernel=kernel)
    mvm = operand.mvm(PLACE, entries=len(x), dtype=np.float32)
    return mvm(x, reads=reads or Reads())


def inputs(*shape: int) -> NDArray[np.float32]:
    """Whole numbers 0 to 7, each entry with a 7 in it, so that they are their own codes."""
    x = np.random.default_rng(2).integers(0, 8, shape).astype(np.float32)
    x[..., 0, 0] = 7
    return x


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_conversion_is_that_of_its_columns_converter(kernel: str) -> None:
    """A loop over tiles, columns and thresholds; 9 rows and 7 columns on tiles of 4 by 3."""
    cells = target("flash:comparator=0.8,gain=0.05", adc_share=2)
    codes, x = codes_of(9, 7), inputs(5, 1, 2, 9)
    kind = parse_adc("flash:comparator=0.8,gain=0.05")
    made: dict[str, Draw] = {}
    expected = np.zeros((5, 1, 2, 7))
    for first in (0, 4, 8):
        height = min(4, 9 - first)
        reach = height * 15 * 7
        step = reach / 15
        converters: list[tuple[int, int]] = []  # (tile, first column), in the order of draws
        for tile, start in enumerate((0, 3, 6)):
            converters += [(tile, c) for c in range(start, min(start + 3, 7), 2)]
        drawn = kind.curves(
            30,
            15,
            np.array([tile for tile, _ in converters]),
            lambda name: made.setdefault(name, Draw(SEED, INDEX, "a", "adc", name)),
        )
        for col in range(7):
            owner = max(
                i for i, (tile, c) in enumerate(converters) if tile == col // 3 and c <= col
            )
            edges = (drawn.edges[owner] - 15).astype(np.float32)
            for n in range(5):
                for v in range(2):
                    part = x[n, 0, v, first : first + height]
                    current = np.float32(part @ codes[first : first + height, col])
                    u = current * np.float32(1 / step)
                    expected[n, 0, v, col] += step * (sum(u >= edge for edge in edges) - 15)
    found = read(array_of(codes, cells), x, kernel=kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("adc", ["ideal", "sar", "pipeline:noise=0"])
def test_kinds_without_errors_change_no_bit(adc: str) -> None:
    codes, x = codes_of(9, 7), inputs(5, 1, 2, 9)
    plain = read(array_of(codes, target("ideal")), x)
    np.testing.assert_array_equal(read(array_of(codes, target(adc, adc_share=4)), x), plain)


def test_the_ideal_chip_has_ideal_converters() -> None:
    codes, x = codes_of(9, 7), inputs(5, 1, 2, 9)
    erring = target("sar:mismatch=0.1,noise=1", adc_rounding="stochastic")
    found = read(array_of(codes, erring), x, Chip.ideal())
    np.testing.assert_array_equal(found, read(array_of(codes, target("ideal")), x))


def test_chips_have_converters_of_their_own() -> None:
    cells = target("sar:mismatch=0.1")
    codes, x = codes_of(9, 7), inputs(5, 1, 2, 9)
    found = [read(array_of(codes, cells), x, Chip.of(cells, SEED, i)) for i in (0, 1, 0)]
    assert np.any(found[0] != found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_groups_that_share_a_tile_share_converters_along_it() -> None:
    """Two groups of 2 by 3 lie along the diagonal of a tile of 4 by 6."""
    wiring = wiring_of(Matrix(4, 2, 3), (4, 6), 4, 0)
    np.testing.assert_array_equal(wiring.of_column, [[0, 0, 0], [0, 1, 1], [2, 2, 2], [2, 3, 3]])
    np.testing.assert_array_equal(wiring.tiles, [0, 0, 1, 1])
    apart = wiring_of(Matrix(1, 9, 7), (4, 3), 2, 4)
    np.testing.assert_array_equal(apart.of_column, [[0, 0, 1, 2, 2, 3, 4]])
    np.testing.assert_array_equal(apart.tiles, [0, 0, 1, 1, 2])


@pytest.mark.parametrize("kernel", KERNELS)
def test_noise_is_a_normal_for_each_conversion(kernel: str) -> None:
    cells = target("ideal:noise=0.7", rows=16)
    codes, x = codes_of(9, 7), inputs(5, 1, 2, 9)
    draws = CountedDraw(SEED, INDEX, "a", "adc noise", "node 0")
    step = 9 * 15 * 7 / 15
    z = np.stack([draws.normal((0, 3, n), (1, 2, 7)) for n in range(5)])
    current = (x @ codes).astype(np.float32)
    u = current * np.float32(1 / step) + z * np.float32(0.7)
    expected = step * np.clip(np.floor(u + 0.5), -15, 15)
    found = read(array_of(codes, cells), x, kernel=kernel, reads=Reads(part=3))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)
    halves = [read(array_of(codes, cells), x[i:j], reads=Reads(i, 3)) for i, j in ((0, 2), (2, 5))]
    np.testing.assert_array_equal(np.concatenate(halves), found)


@pytest.mark.parametrize("kernel", KERNELS)
def test_codes_rounded_at_random_are_right_on_average(kernel: str) -> None:
    """The mean over n conversions is within five of its deviations, sqrt(f (1 - f) / n)."""
    cells = target("ideal", rows=16, adc_rounding="stochastic")
    codes, count = codes_of(9, 7), 4000
    x = np.broadcast_to(inputs(1, 1, 1, 9), (count, 1, 1, 9))
    found = read(array_of(codes, cells), np.ascontiguousarray(x), kernel=kernel)
    step = 9 * 15 * 7 / 15
    exact = x[0, 0, 0] @ codes / step
    got = found[:, 0, 0] / step
    assert np.all(np.abs(got - np.rint(got)) < 1e-4)
    assert set(np.rint(got).T[0].tolist()) == {math.floor(exact[0]), math.ceil(exact[0])}
    share = exact - np.floor(exact)
    np.testing.assert_array_less(
        np.abs(got.mean(axis=0) - exact), 5 * np.sqrt(share * (1 - share) / count) + 1e-4
    )


def test_reference_columns_have_converters_of_their_own() -> None:
    """Off-current alone: what is left is the difference of the two converters' offsets."""
    device = Device.model_validate(
        {
            "name": "d",
            "title": "t",
            "source": "s",
            "levels": LEVELS,
            "conductance": {"min_us": 50.0, "max_us": 100.0},
        }
    )
    stated = {"dac_bits": 3, "adc_bits": 8, "adc": "ideal:offset=3", "reference": "column"}
    around = Periphery.model_validate(stated)
    cells = Target.of(
        device,
        weight_bits=3,
        encoding="offset",
        rows=16,
        cols=4,
        periphery=around,
    )
    array = Array("a", np.full((9, 7), -7), np.ones((), np.float32), cells, place=PLACE)
    x = inputs(1, 1, 1, 9)
    found = read(array, x)[0, 0, 0] + 7 * x.sum()
    offset = 3 * Draw(SEED, INDEX, "a", "adc", "offset").normal((2, 7))
    beside = 3 * Draw(SEED, INDEX, "a", "reference column", "adc", "offset").normal((2, 2))
    step = 9 * (7 + 15) * 7 / top_code(8, signed=False)
    current = x.sum() * 15 / step

    def code(off: NDArray[Any]) -> NDArray[Any]:
        return np.floor(current + off + 0.5)

    expected = step * np.array([1, 8]) @ (code(offset) - code(beside)[:, np.arange(7) // 4])
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert np.any(expected)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("adc", ["flash:comparator=0.6,offset=1", "ideal:noise=0.4"])
def test_inputs_of_one_sign_are_read_alike_beside_those_of_both(adc: str, kernel: str) -> None:
    """A converter that errs gives no current a code: only entries with negative inputs have one."""
    codes, x = codes_of(9, 7), inputs(6, 1, 3, 9)
    x[1::2, 0, 1, 2] = -3
    array = array_of(codes, target(adc))
    together = read(array, x, kernel=kernel)
    for entry in range(len(x)):
        alone = read(array, x[entry : entry + 1], kernel=kernel, reads=Reads(first=entry))
        np.testing.assert_array_equal(alone[0], together[entry])
