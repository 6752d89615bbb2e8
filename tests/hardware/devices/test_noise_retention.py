"""Retention in closed form: PCM of Joshi et al. at 20 s, an hour, a day and a year."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Device, Target

N = 100_000
YEAR = 365.25 * 86400
TIMES = {"20 s": 20.0, "1 h": 3600.0, "1 d": 86400.0, "1 year": YEAR}
G_MAX = 25.0


def device(*noise: dict[str, Any], **options: Any) -> Device:
    head = {"name": "pcm", "title": "t", "source": "s", "levels": "continuous", "sigma": 1.0}
    content = {**head, "conductance": {"min_us": 0.0, "max_us": G_MAX}, "noise": noise}
    return Device.model_validate({**content, **options})


PROGRAMMING = {"type": "programming", "basis": "us", "polynomial": [0.26348, 1.9650, -1.1731]}
RETENTION = {
    "type": "retention",
    "t0_s": 20.0,
    "nu_mean": {"slope": -0.0155, "intercept": 0.0244, "min": 0.049, "max": 0.1},
    "nu_std": {"slope": -0.0125, "intercept": -0.0059, "min": 0.008, "max": 0.045},
}
PCM = device(PROGRAMMING, RETENTION)


def kept(power: float, time: float, mean: float, std: float) -> float:
    """E[(t/t0)^(-power nu)], nu ~ N(mean, std) clipped at 0."""
    decay = power * math.log(max(time, 20.0) / 20.0)
    clipped = stats.norm.cdf(-mean / std)
    shifted = math.exp(-decay * mean + (decay * std) ** 2 / 2)
    return clipped + shifted * stats.norm.cdf(mean / std - decay * std)


def pcm_nu(x: float) -> tuple[float, float]:
    """Mean and spread of nu before clipping, as published (Joshi et al., 2020)."""
    mean = min(max(-0.0155 * math.log(x) + 0.0244, 0.049), 0.1)
    return mean, min(max(-0.0125 * math.log(x) - 0.0059, 0.008), 0.045)


def sample(target: Target, x: float, time: float) -> np.ndarray:
    """Conductances of N cells programmed to x g_max, in microsiemens."""
    weights = np.full(N, x, np.float32)
    weights[0] = 1.0  # the largest weight sits at g_max
    held = Array("w", weights, np.asarray(1.0), target)
    return G_MAX * Chip.of(target, 7, 0, time_s=time).program(held).levels[0, 1:].astype(float)


@pytest.mark.parametrize("time", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize("x", [0.02, 0.1, 0.3, 0.7, 1.0])
def test_pcm_matches_the_closed_form_at(time: float, x: float):
    """(g + sigma z) (t/t0)^-nu with independent z and nu: two moments, each to 5 errors.

    E g(t) = g E k and E g(t)^2 = (g^2 + sigma^2) E k^2, k = (t/t0)^-nu. float32 adds less than
    1e-6 of g, which 5 / sqrt(N) of the spread exceeds a hundred times.
    """
    g = sample(Target.of(PCM), x, time)
    sigma = 0.26348 + 1.9650 * x - 1.1731 * x**2
    mean = G_MAX * x * kept(1, time, *pcm_nu(x))
    variance = ((G_MAX * x) ** 2 + sigma**2) * kept(2, time, *pcm_nu(x)) - mean**2
    assert abs(g.mean() - mean) < 5 * math.sqrt(variance / g.size)
    fourth = np.mean((g - mean) ** 4)
    assert abs(g.var() - variance) < 5 * math.sqrt((fourth - variance**2) / g.size)


@pytest.mark.parametrize(("mean", "std"), [(0.05, 0.0), (0.02, 0.05), (0.0, 0.1)])
def test_constant_exponents_are_clipped_at_zero(mean: float, std: float):
    """No cell gains; with a mean of 0 half of them keep what they had."""
    noise = {"type": "retention", "t0_s": 20.0, "nu_mean": mean, "nu_std": std}
    target = Target.of(device(noise, sigma=None))
    g = sample(target, 0.5, 86400.0) / G_MAX
    assert g.max() <= 0.5
    if std == 0:
        np.testing.assert_allclose(g, 0.5 * (86400 / 20) ** -mean, rtol=2.0**-20)
        return
    p = stats.norm.cdf(-mean / std)
    assert stats.binomtest(int(np.count_nonzero(g == 0.5)), g.size, p).pvalue > 1e-4
    first, second = (0.5**n * kept(n, 86400.0, mean, std) for n in (1, 2))
    assert abs(g.mean() - first) < 5 * math.sqrt((second - first**2) / g.size)


def test_a_decaying_cell_tends_to_no_conductance_not_to_its_lowest_level():
    """On 5 to 25 us per cell at level 1/2 has 15 us; it passes 5 us, which is level 0."""
    noise = {"type": "retention", "t0_s": 1.0, "nu_mean": 0.5}
    target = Target.of(
        device(noise, sigma=None, conductance={"min_us": 5.0, "max_us": 25.0}), encoding="offset"
    )
    held = Array("w", np.array([0.0, 1.0], np.float32), np.asarray(1.0), target)
    level = Chip.of(target, 0, 0, time_s=1e4).program(held).levels[0, 0]
    assert 5 + 20 * level == pytest.approx(15 / 1e2, rel=1e-5)


def test_drift_leaves_zero_conductance_alone():
    target = Target.of(device({**RETENTION}, sigma=None), encoding="differential")
    held = Array("w", np.array([1.0, 0.5], np.float32), np.asarray(1.0), target)
    levels = Chip.of(target, 0, 0, time_s=YEAR).program(held).levels
    assert not levels[1].any() and np.all(levels[0] < held.cells.targets[0])
