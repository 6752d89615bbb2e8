"""Laws of spread and mean error: their values, where they hold, and in time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from nvmc.hardware.devices import SOURCES, Cells, Conductance
from nvmc.rng import Draw

N = 200_000
DAY = 86400.0
# Wan et al., Nature 2022, Extended Data Fig. 3 as fitted by aihwkit: sigma in us, x = g/40 us.
WAN = {
    1.0: [0.348, 16.030, -43.853, 45.393, -16.815],
    DAY: [0.701, 22.086, -50.773, 47.095, -16.458],
    2 * DAY: [0.782, 20.274, -43.507, 37.062, -11.934],
}


def source(kind: str, **options: Any) -> Any:
    return SOURCES[kind].model_validate({"type": kind, **options})


def programming(**options: Any) -> Any:
    return source("programming", **{"basis": "us", "sigma": 1.0, **options})


def cells(levels: Any, low: float = 0.0, high: float = 40.0, **options: Any) -> Cells:
    """Analog cells on levels 0 ... 1."""
    targets = np.atleast_2d(np.asarray(levels, np.float32))
    conductance = Conductance(min_us=low, max_us=high)
    return Cells(targets, 1.0, (), 1.0, conductance=conductance, **options)


@pytest.mark.parametrize("time", WAN)
def test_a_table_gives_each_measured_law_at_its_time(time: float):
    """Horner's rule in float32: ten roundings of terms of at most 51 us."""
    table = tuple({"time_s": t, "polynomial": tuple(c)} for t, c in WAN.items())
    x = np.linspace(0, 1, 11)
    spread = 40 * programming(table=table).spread(cells(x, time_s=time))[0]
    expected = np.polynomial.polynomial.polyval(x, WAN[time])
    np.testing.assert_allclose(spread, expected, atol=10 * 51 * 2.0**-24)


def test_between_two_times_the_spread_is_linear_in_log_time():
    flat = [{"time_s": t, "polynomial": (s,)} for t, s in ((1.0, 1.0), (1e4, 3.0), (1e6, 7.0))]
    law = programming(table=tuple(flat))
    expected = {None: 1, 0.1: 1, 1.0: 1, 10.0: 1.5, 100.0: 2, 1e4: 3, 1e5: 5, 1e6: 7, 1e9: 7}
    for time, spread in expected.items():
        found = 40 * law.spread(cells([0.5], time_s=time))
        np.testing.assert_allclose(found, spread, rtol=2.0**-21)


def test_a_polynomial_is_never_below_zero():
    """Milo et al., 2021: 4.782321 - 0.009107 g us on 50 to 225 us; x = g/225 us."""
    law = programming(polynomial=(4.782321, -0.009107 * 225))
    g = np.array([50.0, 100.0, 225.0])
    spread = 175 * law.spread(cells((g - 50) / 175, 50.0, 225.0))[0]
    np.testing.assert_allclose(spread, 4.782321 - 0.009107 * g, rtol=2.0**-20)
    negative = programming(polynomial=(1.0, -2.0)).spread(cells([0, 0.25, 0.5, 0.75, 1]))
    np.testing.assert_allclose(40 * negative[0], [1, 0.5, 0, 0, 0], rtol=2.0**-21, atol=0)


def test_a_saturating_law_starts_at_nothing_and_ends_at_a():
    """Agrawal et al., IEDM 2022: 19.88665 (1 - exp(-I/176.3115)) nA, I up to 1600 nA."""
    law = programming(saturating={"a": 19.88665, "b": 176.3115})
    current = np.array([0.0, 16.0, 160.0, 1600.0])
    spread = 1600 * law.spread(cells(current / 1600, high=1600.0))[0]
    np.testing.assert_allclose(
        spread, -19.88665 * np.expm1(-current / 176.3115), atol=19.88665 * 4 * 2.0**-23
    )


def test_levels_without_conductance_are_their_own_scale():
    """Basis level: x = level / top, and b counts levels."""
    held = Cells(np.array([[0, 1, 2, 3]], np.float32), 3.0, (2,), 1.0)
    poly = programming(basis="level", polynomial=(0.5, 3.0)).spread(held)
    np.testing.assert_allclose(poly[0], [0.5, 1.5, 2.5, 3.5], rtol=2.0**-22)
    curve = programming(basis="level", saturating={"a": 1.0, "b": 2.0}).spread(held)
    np.testing.assert_allclose(curve[0], -np.expm1(-np.arange(4) / 2), rtol=2.0**-21)


@pytest.mark.parametrize(
    ("sigma", "bias", "mean", "std"),
    [
        (1.0, {"polynomial": (1.0, -4.0)}, -1.0, 2.0),
        (0.5, {"polynomial": (0.0, 2.0)}, 1.0, 1.0),
        (0.0, {"polynomial": (1.0,)}, 1.0, 0.0),
    ],
)
def test_programmed_cells_follow_their_law(sigma: float, bias: Any, mean: float, std: float):
    """At x = 1/2, in us: N(g + bias, sigma law); the mean error is not scaled by sigma."""
    law = programming(sigma=sigma, polynomial=(1.0, 2.0), bias=bias)
    held = cells(np.full(N, 0.5))
    error = 40 * (law.apply(held.targets, held, Draw(5, 0, "law"))[0] - 0.5).astype(float)
    assert law.active
    if std == 0:
        np.testing.assert_allclose(error, mean, atol=40 * 2.0**-24)
    else:
        assert stats.kstest(error, stats.norm(mean, std).cdf).pvalue > 1e-4


def test_a_profile_holds_its_ends_beyond_the_levels():
    """A present level may lie anywhere; the law of a read does not run off its table."""
    held = Cells(np.array([[0, 1, 2, 3]], np.float32), 3.0, (2,), 1.0)
    read = source("read", basis="level", profile=(1.0, 2.0, 4.0, 8.0))
    found = read.spread(np.array([[-1.0, 0.5, 2.5, 4.0]], np.float32), held)
    assert found.tolist() == [[1.0, 1.5, 6.0, 8.0]]


ROW = {"time_s": 1.0, "polynomial": (1.0,)}
LATE = {"time_s": 2.0, "polynomial": (1.0,)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"polynomial": (1.0,), "profile": (1.0, 2.0)}, "profile and polynomial are both given"),
        ({"polynomial": ()}, "at least 1 item"),
        ({"polynomial": (float("nan"),)}, "finite number"),
        ({"saturating": {"a": 1.0, "b": 0.0}}, "greater than 0"),
        ({"table": (ROW,)}, "two rows or more"),
        ({"table": (LATE, ROW)}, "their time_s rising"),
        ({"table": (ROW, LATE), "polynomial": (1.0,)}, "remove the other laws"),
        ({"table": (ROW, LATE), "tolerance": 1.0, "max_pulses": 2}, "remove tolerance"),
        ({"table": (ROW, {"time_s": 2.0})}, "a row of table needs"),
        ({"bias": {}}, "bias needs one of profile and polynomial"),
        ({"tolerance": 1.0}, "give both or none"),
        ({"max_pulses": 3}, "give both or none"),
        ({"tolerance": 0.0, "max_pulses": 3}, "greater than 0"),
        ({"tolerance": 1.0, "max_pulses": 0}, "greater than or equal to 1"),
    ],
)
def test_laws_that_contradict_themselves(options: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        programming(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"basis": "value"}, "neither sigma nor a law"),
        ({"basis": "level", "one_over_f": {}}, "Field required"),
    ],
)
def test_reads_that_say_too_little(options: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        source("read", **options)


def test_one_over_f_is_its_formula_and_a_fraction():
    """Nandakumar et al.: g min(0.0088/x^0.65, 0.2) sqrt(ln((t + t_r)/(2 t_r)))."""
    noise = {"q": 0.0088, "exponent": 0.65, "q_max": 0.2, "t_read_s": 250e-9}
    read = source("read", basis="value", one_over_f=noise)
    x = np.array([0.001, 0.0081, 0.01, 0.3, 1.0])
    for time in (20.0, 3600.0, 3.15576e7):
        spread = read.spread(x[None].astype(np.float32), cells([x], time_s=time))[0]
        grown = math.sqrt(math.log((time + 250e-9) / (2 * 250e-9)))
        expected = x * np.minimum(0.0088 / x**0.65, 0.2) * grown
        # x^-0.65 in float32 is e^(-0.65 ln x) at worst: 0.65 ln 1000 = 4.5, times 4 ulp
        np.testing.assert_allclose(spread, expected, rtol=20 * 2.0**-23)
    drifted, held = np.full((1, 1), 0.15, np.float32), cells([0.3], time_s=3600.0)
    half = read.spread(drifted, held) / read.spread(held.targets, held)
    np.testing.assert_allclose(half, 0.5, rtol=4 * 2.0**-23)
    with pytest.raises(ValidationError, match="set basis to 'value'"):
        source("read", basis="level", one_over_f=noise)
    with pytest.raises(ValidationError, match="one_over_f and polynomial"):
        source("read", basis="value", one_over_f=noise, polynomial=(1.0,))
    with pytest.raises(ValueError, match="needs the time since programming"):
        read.spread(np.ones((1, 1), np.float32), cells([1.0]))
