"""Ranges that are more than one magnitude, and codes that are not even: against slow loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import ArrayRange, Device, Periphery, Target
from nvmc.hardware.tiling import Place
from nvmc.runtime.crossbar.adc import Adc
from nvmc.runtime.crossbar.lloyd_max import lloyd_max
from nvmc.runtime.crossbar.native import KERNELS
from nvmc.runtime.crossbar.operand import CircuitOperand
from nvmc.runtime.crossbar.split_ranges import SplitObserver

PLACE = Place("CrossbarMatMul")
HALF_UP = 0.5


def target(seen: dict[str, Any] | None, bits: int = 4, **periphery: Any) -> Target:
    """Weights of 4 bits in two cells of 2 bits; pairs subtracted before the ADC: two lanes."""
    device = Device.model_validate({"name": "d", "title": "t", "source": "s", "levels": 4})
    stated = {"dac_bits": 3, "adc_bits": bits, "adc_range": "calibrated", **periphery}
    known = () if seen is None else (ArrayRange(array="a", input=7.0, **seen),)
    return Target.of(
        device,
        weight_bits=4,
        cell_bits=2,
        encoding="differential",
        rows=16,
        cols=16,
        periphery=Periphery.model_validate({**stated, "ranges": known}),
    )


CODES = np.random.default_rng(1).integers(-15, 16, (9, 5))
X = np.random.default_rng(2).integers(0, 8, (4, 1, 3, 9)).astype(np.float32)
X[..., 0, 0] = 7


def read(cells: Target, kernel: str = KERNELS[0], chip: Chip | None = None) -> NDArray[Any]:
    array = Array("a", CODES, np.ones((), np.float32), cells)
    found = chip or Chip.of(cells, 4, 2)
    operand = CircuitOperand(array, found.program(array), found, kernel=kernel)
    return operand.mvm(PLACE, entries=len(X), dtype=np.float32)(X)


def lanes() -> NDArray[np.float64]:
    """Currents of the two slices, shape (2, entries, 1, vectors, cols)."""
    low, high = np.sign(CODES) * (np.abs(CODES) % 4), np.sign(CODES) * (np.abs(CODES) // 4)
    return np.stack([X.astype(np.float64) @ low, X.astype(np.float64) @ high])


def nearest(u: NDArray[Any]) -> NDArray[Any]:
    return np.floor(u + HALF_UP)


@pytest.mark.parametrize("kernel", KERNELS)
def test_each_slice_has_a_range_of_its_own(kernel: str) -> None:
    parts = (31.0, 77.0)
    found = read(target({"current": 77.0, "parts": parts}, adc_range_of="slice"), kernel)
    steps = [reach / 7 for reach in parts]
    codes = [np.clip(nearest(i / s), -7, 7) for i, s in zip(lanes(), steps, strict=True)]
    expected = steps[0] * codes[0] + 4 * steps[1] * codes[1]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("kernel", KERNELS)
def test_each_column_has_a_range_of_its_own(kernel: str) -> None:
    parts = np.random.default_rng(3).uniform(20, 80, 10)
    parts[3] = 0  # a column without current
    seen = {"current": 80.0, "parts": tuple(parts.tolist())}
    found = read(target(seen, adc_range_of="column"), kernel)
    steps = np.where(parts > 0, parts, 80) / 7
    expected: Any = 0.0
    for lane, worth in ((0, 1), (1, 4)):
        own = steps[5 * lane : 5 * lane + 5]
        expected = expected + worth * own * np.clip(nearest(lanes()[lane] / own), -7, 7)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("low", "high"), [(-20.0, 61.0), (-61.0, 20.0), (-9.0, 0.0), (0.0, 44.0)])
def test_codes_reach_from_the_lowest_current_to_the_highest(low: float, high: float) -> None:
    """The smallest of all steps that a loop finds; no current keeps a code of its own."""
    best = min(
        (max(high / (15 - k) if k < 15 else 0.0, -low / k if k else 0.0), k)
        for k in range(16)
        if k or not low
        if k < 15 or not high
    )
    seen: dict[str, Any] = {"current": high, "lowest": low}
    found = read(target(seen, adc_steps="asymmetric"))
    step, below = best
    codes = np.clip(np.rint(lanes() / step), -below, 15 - below)
    np.testing.assert_allclose(found, step * (codes[0] + 4 * codes[1]), rtol=1e-4, atol=1e-2)
    adc = Adc(4, high, signed=True, aligned=False)
    adc.spread(2, ArrayRange(array="a", input=1.0, **seen))
    assert adc.high - adc.low == 15 and adc.low <= 0 <= adc.high
    assert adc.low * adc.step <= low + 1e-9 and adc.high * adc.step >= high - 1e-9


@pytest.mark.parametrize("kernel", KERNELS)
def test_uneven_codes_stand_for_their_levels(kernel: str) -> None:
    levels = np.sort(np.random.default_rng(5).uniform(-70, 70, 15))
    seen = {"current": 70.0, "levels": tuple(levels.tolist())}
    found = read(target(seen, adc_steps="lloyd-max"), kernel)
    nearest_level = levels[np.abs(lanes()[..., None] - levels).argmin(axis=-1)]
    np.testing.assert_allclose(found, nearest_level[0] + 4 * nearest_level[1], rtol=1e-5, atol=1e-3)


def test_errors_of_a_kind_move_uneven_edges_too() -> None:
    levels = tuple((np.linspace(-1, 1, 15) ** 3 * 70).tolist())
    seen = {"current": 70.0, "levels": levels}
    cells = target(seen, adc_steps="lloyd-max", adc="flash:comparator=0.5")
    found = [read(cells, kernel) for kernel in KERNELS]
    for each in found:
        np.testing.assert_array_equal(each, found[0])
    assert np.any(found[0] != read(target(seen, adc_steps="lloyd-max")))
    np.testing.assert_array_equal(
        read(cells, chip=Chip.ideal()), read(target(seen, adc_steps="lloyd-max"))
    )


def test_levels_of_a_normal_are_those_of_the_literature() -> None:
    """Max, 1960, table I: two and four levels of a standard normal."""
    values = np.linspace(-6, 6, 20001)
    weights = np.exp(-(values**2) / 2)
    np.testing.assert_allclose(lloyd_max(values, weights, 2), [-0.7979, 0.7979], atol=2e-3)
    np.testing.assert_allclose(
        lloyd_max(values, weights, 4), [-1.510, -0.4528, 0.4528, 1.510], atol=2e-3
    )


def test_levels_err_no_more_than_the_best_of_all_partitions() -> None:
    """Against dynamic programming over all ways to cut nine values into three runs."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        values, weights = np.sort(rng.uniform(-1, 1, 9)), rng.uniform(0.1, 1, 9)

        def cost(i: int, j: int, v: Any = values, w: Any = weights) -> float:
            mean = np.average(v[i:j], weights=w[i:j])
            return float(np.sum(w[i:j] * (v[i:j] - mean) ** 2))

        best = min(
            cost(0, i) + cost(i, j) + cost(j, 9) for i in range(1, 8) for j in range(i + 1, 9)
        )
        levels = lloyd_max(values, weights, 3)
        error = np.sum(weights * np.min((values[:, None] - levels) ** 2, axis=1))
        assert best - 1e-12 <= error <= 2 * best + 1e-12  # a local optimum, not a bad one
    np.testing.assert_array_equal(lloyd_max(np.array([1.0, 2]), np.array([1.0, 0]), 3), [1, 1, 1])
    np.testing.assert_array_equal(lloyd_max(np.zeros(0), np.zeros(0), 2), [0, 0])


def test_what_calibration_sees_of_lanes_columns_and_signs() -> None:
    rng = np.random.default_rng(0)
    currents = rng.normal(0, [1, 1, 1, 10, 10, 10], (50, 1, 40, 6)) + 0.5
    counts = np.broadcast_to([1.0, 1, 1, 4, 4, 4], (50, 1, 1, 6))
    adc = Adc(None, 1.0, signed=True, aligned=False)
    adc.lanes = 2
    seen = SplitObserver()
    for part, worth in zip(np.split(currents, 2), np.split(counts, 2), strict=True):
        seen.currents(part, adc, worth)
    columns = seen.ranges_of_columns
    assert columns is not None
    np.testing.assert_allclose(columns, np.abs(currents).max(axis=(0, 1, 2)))
    halves = np.split(np.abs(currents), 2, axis=-1)
    expected = [np.quantile(half, 0.9999, method="inverted_cdf") for half in halves]
    np.testing.assert_allclose(seen.ranges_of_slices(None), expected, rtol=0.03)
    ends = np.quantile(currents, [0.00005, 0.99995], method="inverted_cdf")
    np.testing.assert_allclose(seen.ends, ends, rtol=0.05)
    plain, weighed = np.array(seen.levels(15, False)), np.array(seen.levels(15, True))
    even = ends[0] + (ends[1] - ends[0]) * np.arange(15) / 14

    def error(levels: NDArray[Any]) -> float:
        off: NDArray[np.float64] = np.square(currents[..., None] - levels)
        return float(off.min(axis=-1).mean())

    assert error(plain) < 0.6 * error(even)  # most currents are small ones
    assert np.ptp(weighed) > 0 and np.any(weighed != plain)


def test_columns_that_are_read_in_parts_are_not_told_apart() -> None:
    """As those of a GRU, whose last gate waits for the others."""
    adc = Adc(None, 1.0, signed=True, aligned=False)
    seen = SplitObserver()
    for cols in (4, 2):
        seen.currents(np.ones((1, 1, 1, cols)), adc, np.ones((1, 1, 1, cols)))
    assert seen.ranges_of_columns is None
    assert seen.ranges_of_slices(None) == (1.0,)


def test_one_range_for_all_is_seen_as_before() -> None:
    """Lanes of equal distribution: the slice's range of least error is the array's."""
    rng = np.random.default_rng(0)
    half = rng.normal(size=(50, 1, 40, 3))
    currents = np.concatenate([half, half], axis=-1)
    adc = Adc(None, 1.0, signed=True, aligned=False)
    adc.lanes = 2
    seen = SplitObserver()
    seen.currents(currents, adc, np.ones((50, 1, 1, 6)))
    assert seen.ranges_of_slices(7) == (seen.current_range(4),) * 2
    assert seen.ranges_of_slices(None) == (seen.current,) * 2


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"adc_range_of": "slice", "adc_range": "full"}, "slice ranges come from data"),
        ({"adc_steps": "lloyd-max", "adc_range": 3.0}, "lloyd-max steps come from data"),
        ({"adc_range_of": "column", "adc_range": "error"}, "column ranges are not found by least"),
        ({"adc_steps": "asymmetric", "adc_range": "error:2"}, "asymmetric steps are not found"),
        ({"adc_range_of": "slice", "adc_steps": "lloyd-max"}, "are not both modelled"),
        ({"adc_range_of": "column", "reference": "column"}, "give reference exact or none"),
        ({"adc_steps": "lloyd-max", "adc_bits": 12}, "give at most 10 adc_bits"),
        ({"adc_range_of": "slice", "adc_bits": None, "adc_range": "full"}, "needs adc_bits"),
    ],
)
def test_what_does_not_fit_is_refused(stated: dict[str, Any], told: str) -> None:
    given: dict[str, Any] = {"adc_bits": 4, "adc_range": "calibrated", **stated}
    with pytest.raises(OptionError, match=told) as caught:
        Periphery(**given)
    assert "\n" not in str(caught.value)
