"""What levels conduct, and times since programming that make no sense."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvmc.errors import OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Device, Target, load_device, parse_noise


def device(*noise: dict[str, Any], **options: Any) -> Device:
    head = {"name": "d", "title": "t", "source": "s", "levels": 4, "noise": noise}
    conductance = {"min_us": 2.0, "max_us": 20.0}
    return Device.model_validate({**head, "conductance": conductance, **options})


def array(target: Target, codes: Any) -> Array:
    return Array("w", np.asarray(codes), np.asarray(0.125), target)


def codes_of(bits: int, count: int) -> np.ndarray:
    top = 2**bits - 1
    return np.random.default_rng(5).integers(-top, top + 1, count)


# --- conductance -------------------------------------------------------------------------------


@given(st.floats(0, 10), st.floats(10.5, 100))
def test_a_finite_on_off_ratio_leaves_the_ideal_chip_alone(low: float, high: float):
    """Level 0 conducts min_us; what the whole column conducts at level 0 is subtracted."""
    target = Target.of(device(conductance={"min_us": low, "max_us": high}), weight_bits=4)
    held = array(target, codes_of(4, 20))
    assert np.array_equal(Chip.of(target, 0, 0).program(held).weights, held.ideal)
    assert target.step_us == pytest.approx((high - low) / 3)
    assert target.off_level == held.cells.off_level == pytest.approx(3 * low / (high - low))
    top = held.cells.conducted(np.float32(3.0)) * target.step_us
    assert top == pytest.approx(high, rel=2.0**-22)


def test_without_conductance_level_0_conducts_nothing():
    target = Target.of(load_device("rram4"))
    assert target.step_us is None and target.off_level == 0
    with pytest.raises(ValueError, match="states no conductance"):
        _ = array(target, [0]).cells.step_us


def test_clip_zero_only_keeps_conductances_above_nothing():
    """Level 0 conducts one third of a step here, so levels end at -1/3 and not at the top."""
    noise = {"type": "programming", "basis": "level", "sigma": 1.0}
    target = Target.of(device(noise, clip="zero"), weight_bits=2)
    levels = Chip.of(target, 0, 0).program(array(target, codes_of(2, 1000))).levels
    assert levels.min() == -np.float32(1 / 3) and levels.max() > 3.5


# --- times that make no sense ------------------------------------------------------------------


@pytest.mark.parametrize("time", [-1.0, float("nan"), float("inf")])
def test_a_time_must_be_finite_and_positive(time: float):
    with pytest.raises(OptionError, match="time is .* s; expected a finite number"):
        Chip.of(Target.of(load_device("pcm-joshi2020")), 0, 0, time_s=time)


def test_a_time_that_nothing_depends_on_is_refused():
    with pytest.raises(OptionError, match="'rram4' has no noise source that depends on time"):
        Chip.of(Target.of(load_device("rram4")), 0, 0, time_s=3600.0)
    aged = load_device("rram4").with_noise([parse_noise("retention:nu_mean=0.1,t0_s=1")])
    assert Chip.of(Target.of(aged), 0, 0, time_s=3600.0).time_s == 3600
