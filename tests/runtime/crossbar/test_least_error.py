"""Ranges of least error: the closed form, and the search against slow loops over samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.hardware.devices import ArrayRange, Periphery
from nvmc.runtime.crossbar.adc import Adc, top_code
from nvmc.runtime.crossbar.least_error import least_error_range, squared_error
from nvmc.runtime.crossbar.ranges import WeighingObserver

Float = NDArray[np.float64]


def converted(x: Float, reach: float, top: int) -> Float:
    """What a converter makes of magnitudes, one after the other."""
    step = reach / top
    return np.array([min(round(value / step), top) * step for value in x.tolist()])


@pytest.mark.parametrize(("reach", "top"), [(1.0, 1), (2.5, 7), (0.3, 255)])
def test_the_closed_form_is_the_integral_of_the_squared_error(reach: float, top: int) -> None:
    """Against the midpoint rule, whose steps are a thousandth of the converter's."""
    ends = reach * np.array([0.0, 0.013, 0.4, 0.5, 0.999, 1.0, 1.3, 2.0])
    for low, high in zip(ends, ends[1:], strict=False):
        count = 1000 * top
        middles = low + (high - low) * (np.arange(count) + 0.5) / count
        step = reach / top
        error = middles - np.minimum(np.rint(middles / step), top) * step
        expected = np.mean(np.square(error)) * (high - low)
        found = squared_error(np.array([high]), reach, top) - squared_error(
            np.array([low]), reach, top
        )
        assert found[0] == pytest.approx(expected, rel=1e-3, abs=1e-9 * reach**3)


def samples(law: str) -> Float:
    generator = np.random.default_rng(3)
    drawn = {
        "normal": generator.standard_normal(4000),
        "exponential": generator.exponential(1.0, 4000),
        "heavy": generator.standard_t(3, 4000),
    }
    return np.abs(drawn[law]) * 37.5


def seen(x: Float, counts: Any = 1.0, signed: bool = True) -> WeighingObserver:
    observer = WeighingObserver()
    adc = Adc(None, 1.0, signed=signed, aligned=False)
    for part in np.split(x, 4):
        given = np.broadcast_to(np.asarray(counts, np.float64), part.shape)
        observer.currents(part.copy(), adc, given)
    return observer


@pytest.mark.parametrize("law", ["normal", "exponential", "heavy"])
@pytest.mark.parametrize("bits", [1, 3, 5, 8])
def test_no_range_has_less_error_than_the_one_that_is_found(law: str, bits: int) -> None:
    """A slow loop over the samples, for ranges 4 % apart.

    Found on bins of 1.1 % and ranges 1.1 % apart: near its minimum the error is flat, and 2 % are
    more than both come to.
    """
    x, top = samples(law), top_code(bits, True)

    def error(reach: float) -> float:
        return float(np.mean(np.square(x - converted(x, reach, top))))

    found = seen(x).current_range(bits)
    best = min(error(float(x.max()) * 0.96**i) for i in range(90))
    assert error(found) <= 1.02 * best


def test_what_counts_more_decides_more() -> None:
    """Few large currents of the top slice, many small ones of the lowest: by their squares."""
    x = np.concatenate([np.full(100, 10.0), np.linspace(0.1, 1.0, 3900)])
    counts = np.where(x > 5, 4.0, 1.0)
    generator = np.random.default_rng(0)
    order = generator.permutation(len(x))
    top = top_code(4, False)

    def error(reach: float) -> float:
        return float(np.sum(np.square(counts * (x - converted(x, reach, top)))))

    observer = WeighingObserver()
    observer.currents(x[order], Adc(None, 1.0, signed=False, aligned=False), counts[order])
    found = observer.current_range(4)
    assert error(found) <= 1.02 * min(error(10 * 0.97**i) for i in range(150))
    assert found > 9
    even = WeighingObserver()
    small = np.where(x > 5, 1e-3, 1.0)
    even.currents(x[order], Adc(None, 1.0, signed=False, aligned=False), small[order])
    assert even.current_range(4) == pytest.approx(1.0, rel=0.08)


def test_whole_currents_that_all_have_a_code_are_exact() -> None:
    x = np.repeat(np.arange(8.0), 100)
    assert seen(x).current_range(4) == 7.0


def test_the_largest_of_equal_ranges_and_of_nothing() -> None:
    one = np.array([1.0])
    assert least_error_range(one, one, one, 1) == 1.0
    assert WeighingObserver().current_range(4) == 0.0
    assert seen(np.zeros(8)).current_range(4) == 0.0


def test_inputs_have_a_range_of_their_own() -> None:
    x = samples("heavy").astype(np.float32).reshape(40, 100)
    observer = WeighingObserver()
    observer.inputs(x)
    flat = x.ravel().astype(np.float64)

    def error(reach: float, top: int) -> float:
        return float(np.mean(np.square(flat - converted(flat, reach, top))))

    for top in (7, 15):
        found = observer.input_range(top, 3)
        best = min(error(float(flat.max()) * 0.96**i, top) for i in range(90))
        assert error(found, top) <= 1.02 * best
    observer.inputs(-x)
    assert observer.input_range(15, 7) == pytest.approx(observer.input_range(7, None))
    assert observer.input_range(None, None) == flat.max()


@pytest.mark.parametrize(
    "text", ["eror", "error:", "error:0", "error:0.0", "error:-1", "error:x", "full:2", "kpp"]
)
def test_strange_ranges_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="adc_range|AdcRange|expected"):
        Periphery(adc_bits=4, adc_range=text)


def test_rules_and_factors() -> None:
    ranges = (ArrayRange(array="a", input=1.0, current=3.0),)
    for text, rule in (
        ("error", ("error", 1.0)),
        ("error:0.7", ("error", 0.7)),
        ("calibrated:1.25", ("calibrated", 1.25)),
    ):
        found = Periphery(adc_bits=4, adc_range=text, ranges=ranges)
        assert found.adc_rule == rule and found.adc_calibrated and found.needs_data
    assert not Periphery(adc_range="error").needs_data
    assert not Periphery(adc_bits=4, adc_range=2.0).adc_calibrated
    assert Periphery(dac_range="error").clips
    assert math.isclose(Adc(4, 14.0, signed=True, aligned=False).full_scale, 14.0)
