"""Endurance and read disturb: their rate laws, in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from nvmc.errors import OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import SOURCES, Device, Target, parse_noise

ALPHA = 1e-4  # of each statistical test; seeds are fixed
SHAPE = (300, 400)


def source(kind: str, **options: Any) -> Any:
    return SOURCES[kind].model_validate({"type": kind, **options})


def levels(text: str, code: int = 2, **options: Any) -> np.ndarray:
    head = {"name": "d", "title": "t", "source": "s", "levels": 4, **options}
    device = Device.model_validate(head).with_noise([parse_noise(text)])
    target = Target.of(device, weight_bits=2)
    held = Array("w", np.full(SHAPE, code, np.int8), np.ones((), np.float32), target)
    return Chip.of(target, 3, 0).program(held).levels


def failing(writes: float, life: float = 1e6, shape: float = 2.0, high: float = 0.25) -> str:
    return f"endurance:writes={writes},life={life},shape={shape},high={high}"


# --- endurance ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("writes", "shape"), [(1e5, 2.0), (1e6, 2.0), (1e6, 0.7), (1e7, 2.0), (3e5, 1.0)]
)
def test_cells_fail_by_weibull_s_law(writes: float, shape: float):
    """Against scipy's distribution; a quarter of the failed stick at the top."""
    failed = stats.weibull_min(shape, scale=1e6).cdf(writes)
    found = levels(failing(writes, shape=shape))
    for level, p in ((0, 0.75 * failed), (3, 0.25 * failed), (2, 1 - failed)):
        assert stats.binomtest(int(np.sum(found == level)), found.size, p).pvalue > ALPHA
    assert source("endurance", writes=1e6, life=1e6, shape=shape, high=0).failed == pytest.approx(
        1 - 1 / math.e
    )


def test_few_writes_fail_few_cells():
    """1e-12 of them, not the rounding of 1 - (1 - 1e-12); beyond all numbers all have failed."""
    assert source("endurance", writes=1.0, life=1e6, shape=2.0, high=0).failed == pytest.approx(
        1e-12, rel=1e-9
    )
    assert source("endurance", writes=1e18, life=1e-18, shape=1e3, high=0).failed == 1
    assert not parse_noise(failing(0)).active


def test_more_writes_only_add_failures():
    few, many = levels(failing(2e5)), levels(failing(5e5))
    failed = few != 2
    assert np.array_equal(many[failed], few[failed]) and np.sum(many != 2) > failed.sum()


@pytest.mark.parametrize(("writes", "window"), [(1e4, 1.0), (1e5, 0.9), (1e6, 0.8), (1e16, 0.0)])
def test_a_window_closes_with_the_logarithm_of_the_writes(writes: float, window: float):
    text = f"endurance:writes={writes},closing=0.1,closing_from=1e4"
    assert parse_noise(text).window == pytest.approx(window)  # type: ignore[attr-defined]
    for code in range(4):
        expected = np.clip(code, 1.5 * (1 - window), 1.5 * (1 + window))
        np.testing.assert_allclose(levels(text, code), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"writes": 1e6}, "give life"),
        ({"writes": 1e6, "life": 1e6, "shape": 1.0}, "give all or none"),
        ({"writes": 1e6, "closing": 0.1}, "give both or none"),
        ({"writes": -1.0, "closing": 0.1, "closing_from": 1.0}, "greater than or equal to 0"),
    ],
)
def test_what_is_wrong_with_endurance(options: dict[str, Any], problem: str):
    with pytest.raises(ValidationError, match=problem):
        source("endurance", **options)


# --- read disturb ------------------------------------------------------------------------------


@pytest.mark.parametrize(("towards", "end"), [("low", 0.0), ("high", 3.0), ("zero", -1 / 3)])
def test_a_rate_takes_every_cell_a_part_of_the_way(towards: str, end: float):
    """On 2 to 20 µS, 6 µS a step, zero conductance is level -1/3."""
    text = f"read-disturb:reads=1e6,rate=1e-7,towards={towards}"
    found = levels(text, conductance={"min_us": 2.0, "max_us": 20.0})
    np.testing.assert_allclose(found, end + (2 - end) * math.exp(-0.1), rtol=1e-6)


def test_reads_add_up():
    """N reads and N more are 2 N."""
    one, two = (levels(f"read-disturb:reads={n},rate=1e-7,towards=high") for n in (1e6, 2e6))
    np.testing.assert_allclose(3 - (3 - one) ** 2 / (3 - 2), two, rtol=1e-5)


def test_rates_are_log_normal_and_a_cell_s_own():
    text = "read-disturb:reads={},rate=1e-7,rate_std=0.5,towards=low"
    logs = [np.log(np.log(2 / levels(text.format(n)).astype(float))).ravel() for n in (1e6, 1e7)]
    assert stats.kstest(logs[0], stats.norm(math.log(0.1), 0.5).cdf).pvalue > ALPHA
    np.testing.assert_allclose(logs[1] - logs[0], math.log(10), atol=1e-4)


@pytest.mark.parametrize(("reads", "p"), [(1e6, 1e-7), (10, 0.02), (1, 0.3)])
def test_a_read_switches_a_cell_with_its_probability(reads: float, p: float):
    found = levels(f"read-disturb:reads={reads},p={p},towards=high")
    chance = 1 - (1 - p) ** reads
    assert stats.binomtest(int(np.sum(found == 3)), found.size, chance).pvalue > ALPHA
    assert set(np.unique(found)) == {2, 3}
    more = levels(f"read-disturb:reads={2 * reads},p={p},towards=high")
    assert np.all(more[found == 3] == 3)


def test_rare_switches_are_not_rounded_away():
    rare = source("read-disturb", reads=1e3, p=1e-18, towards="low")
    assert rare.switched == pytest.approx(1e-15, rel=1e-9)
    assert source("read-disturb", reads=1.0, p=1.0, towards="low").switched == 1


@pytest.mark.parametrize("extra", ["reads=0,rate=1e-3", "reads=10,rate=0", "reads=10,p=0"])
def test_no_reads_and_no_rate_disturb_nothing(extra: str):
    assert not parse_noise(f"read-disturb:{extra},towards=low").active


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ("rate=0.1,p=0.1,towards=low", "give either rate or p"),
        ("towards=low", "give either rate or p"),
        ("p=0.1,rate_std=0.1,towards=low", "rate_std is of rate"),
        ("p=0.1", "towards: is missing"),
    ],
)
def test_what_is_wrong_with_read_disturb(extra: str, problem: str):
    with pytest.raises(OptionError, match=problem):
        parse_noise(f"read-disturb:reads=10,{extra}")
