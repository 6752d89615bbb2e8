"""The devices named after a paper: spread and mean of their cells against the paper's formulas.

The formulas stand here a second time, in float64, in the units of the papers, and share no code
with `nvmc.hardware.devices`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Device, Target, load_device, parse_noise

N = 100_000
HOUR, DAY, YEAR = 3600.0, 86400.0, 365.25 * 86400.0

# Estimates over N cells lie within Z standard errors of the truth with probability 1 - 2e-6 each.
Z = 4.8


def cells_at(x: float, device: Device, **options: Any) -> Array:
    """N analog cells at the level x of 0 ... 1; the last weight sets the range."""
    target = Target.of(device, weight_bits="none", encoding="sign-magnitude")
    weights = np.full(N + 1, x, np.float32)
    weights[-1] = 1.0
    return Array("w", weights, np.array(1.0), target, **options)


def conductances(device: Device, x: float, time_s: float | None = None) -> NDArray[np.float64]:
    """What N cells of level x conduct on one chip, in µS."""
    assert device.conductance is not None
    low, high = device.conductance.min_us, device.conductance.max_us
    array = cells_at(x, device)
    chip = Chip.of(array.target, 7, 3, time_s=time_s)
    levels = chip.program(array).levels[0, :N].astype(np.float64)
    return low + (high - low) * levels


def check_normal(values: NDArray[np.float64], mean: float, sigma: float, range_us: float) -> None:
    """Mean and spread of normals: standard errors sigma / sqrt(N) and sigma / sqrt(2 N).

    Levels and laws are computed in float32, so that either is good to 2^-22 of the range.
    """
    rounding = 2.0**-22 * range_us
    assert abs(np.mean(values) - mean) < Z * sigma / math.sqrt(N) + rounding
    assert abs(np.std(values, ddof=1) - sigma) < Z * sigma / math.sqrt(2 * N) + rounding


def unclipped(device: Device) -> Device:
    """The same cells where what falls below 0 µS may stay there, so that the moments are simple."""
    return device.model_copy(update={"clip": False})


# --- spread ------------------------------------------------------------------------------------


def pcm_sigma(g: float) -> float:
    x = g / 25
    return max(0.0, 0.26348 + 1.9650 * x - 1.1731 * x * x)


WAN = {
    1.0: (0.348, 16.030, -43.853, 45.393, -16.815),
    DAY: (0.701, 22.086, -50.773, 47.095, -16.458),
    2 * DAY: (0.782, 20.274, -43.507, 37.062, -11.934),
}


def wan_sigma(time_s: float) -> Callable[[float], float]:
    return lambda g: sum(c * (g / 40) ** i for i, c in enumerate(WAN[time_s]))


# days: A and B of A (1 - exp(-I/B)) in nA.
SONOS_SPREAD = {
    0: (19.88665, 176.3115),
    1: (25.59102, 186.85544),
    5: (34.57909, 207.34309),
}
# CrossSim 3.2.0's coefficients, by days.
SONOS_DRIFT = {
    1: (
        *(1.72684e-01, 5.72552e-02, -6.85715e-04, 3.50271e-06, -9.37682e-09, 1.40575e-11),
        *(-1.19803e-14, 5.41293e-18, -8.85448e-22, -1.66869e-25, 5.95180e-29),
    ),
    2: (
        *(2.50712e-01, 6.62195e-02, -6.83218e-04, 2.99442e-06, -6.78255e-09, 7.70482e-12),
        *(-3.04983e-15, -2.15919e-18, 2.94617e-21, -1.23359e-24, 1.85329e-28),
    ),
    3: (
        *(-1.75300e-02, 9.76883e-02, -9.63791e-04, 4.55551e-06, -1.22391e-08, 1.93786e-11),
        *(-1.85899e-14, 1.07659e-17, -3.58211e-21, 5.96785e-25, -3.30410e-29),
    ),
    4: (
        *(4.03338e-02, 1.03111e-01, -1.04740e-03, 4.83961e-06, -1.28132e-08, 1.99484e-11),
        *(-1.85139e-14, 1.00008e-17, -2.84944e-21, 3.01008e-25, 1.18747e-29),
    ),
    5: (
        *(3.19927e-01, 1.06596e-01, -1.04054e-03, 4.50290e-06, -1.10352e-08, 1.56477e-11),
        *(-1.27592e-14, 5.45513e-18, -7.26841e-22, -2.43893e-25, 7.14608e-29),
    ),
}


def sonos_sigma(days: int) -> Callable[[float], float]:
    a, b = SONOS_SPREAD[days]
    return lambda g: a * (1 - math.exp(-100 * g / b)) / 100  # 100 nA are 1 µS


SPREADS: dict[str, tuple[str, float | None, Callable[[float], float]]] = {
    "PCM at 20 s": ("pcm-joshi2020", 20.0, pcm_sigma),
    "Wan at 1 s": ("rram-wan2022", 1.0, wan_sigma(1.0)),
    "Wan by default": ("rram-wan2022", None, wan_sigma(1.0)),
    "Wan at 1 day": ("rram-wan2022", DAY, wan_sigma(DAY)),
    "Wan at 2 days": ("rram-wan2022", 2 * DAY, wan_sigma(2 * DAY)),
    "Milo": ("rram-milo2021", None, lambda g: 4.782321 - 0.009107 * g),
    "SONOS by default": ("sonos-agrawal2022", None, sonos_sigma(0)),
    "SONOS at 1 day": ("sonos-agrawal2022", DAY, sonos_sigma(1)),
    "SONOS at 5 days": ("sonos-agrawal2022", 5 * DAY, sonos_sigma(5)),
}


@pytest.mark.parametrize("case", SPREADS)
@pytest.mark.parametrize("x", [0.0, 0.1, 0.35, 0.7, 1.0])
def test_spread_follows_the_papers_law(case: str, x: float):
    name, time_s, sigma = SPREADS[case]
    device = unclipped(load_device(name))
    assert device.conductance is not None
    low, high = device.conductance.min_us, device.conductance.max_us
    g = low + (high - low) * x
    values = conductances(device, x, time_s)
    mean = g if "SONOS at" not in case else float(np.mean(values))  # its drift is tested below
    check_normal(values, mean, sigma(g), high)


@pytest.mark.parametrize("days", SONOS_DRIFT)
def test_sonos_drifts_as_cross_sim_states_it(days: int):
    """Over all currents, in float64, to the 2e-7 of float32 times the largest partial sum."""
    device = load_device("sonos-agrawal2022")
    currents = np.linspace(0, 1600, 321)
    target = Target.of(device, weight_bits="none", encoding="sign-magnitude")
    array = Array("w", (currents / 1600).astype(np.float32), np.array(1.0), target)
    chip = Chip.of(target, 7, 3, sigma=0.0, time_s=days * DAY)
    us = device.conductance.min_us if device.conductance else 0.0
    levels = replace(chip, clip=False).program(array).levels[0].astype(np.float64)
    found = 100 * (us + (16 - us) * levels)
    coefficients = SONOS_DRIFT[days]
    drift = np.polyval(coefficients[::-1], currents)
    largest = max(abs(c) * 1600.0**i for i, c in enumerate(coefficients))
    assert np.abs(found - (currents + drift)).max() < 2e-7 * largest + 1600 * 2.0**-22


@pytest.mark.parametrize("days", SONOS_DRIFT)
def test_idle_sonos_cells_stay_idle(days: int):
    """-0.02 to 0.32 nA where nothing was stored, of 1600 nA; clipped at 0 where below."""
    values = 100 * conductances(load_device("sonos-agrawal2022"), 0.0, days * DAY)
    expected = max(0.0, SONOS_DRIFT[days][0])
    assert expected < 0.33
    # The off-current itself, 1.6e-4 nA, five of its spreads, and float32 next to a level of 1.
    assert np.abs(values - expected).max() < 1.6e-4 + 5 * 35 * 1.6e-4 / 200 + 2e-4


def test_spread_between_measured_times_is_linear_in_log_time():
    device = unclipped(load_device("rram-wan2022"))
    middle = math.sqrt(1.0 * DAY)
    expected = 0.5 * wan_sigma(1.0)(12.0) + 0.5 * wan_sigma(DAY)(12.0)
    check_normal(conductances(device, 0.3, middle), 12.0, expected, 40.0)


@pytest.mark.parametrize("name", ["pcm-joshi2020", "rram-wan2022", "sonos-agrawal2022"])
def test_no_cell_conducts_less_than_nothing(name: str):
    """At g = 0 half the cells are clipped: the mean of max(0, N(0, s)) is s / sqrt(2 pi)."""
    device = load_device(name)
    values = conductances(device, 0.0)
    assert values.min() == pytest.approx(0, abs=2e-6)
    if name != "sonos-agrawal2022":  # whose spread is 0 at 0
        sigma = pcm_sigma(0) if name == "pcm-joshi2020" else wan_sigma(1.0)(0)
        mean, std = sigma / math.sqrt(2 * math.pi), sigma * math.sqrt(0.5 - 0.5 / math.pi)
        assert abs(np.mean(values) - mean) < Z * std / math.sqrt(N)


def cross_sim_wan(g: float) -> float:
    return 1.053 + 0.2374 * g - 0.01167 * g**2 + 1.536e-4 * g**3


def cross_sim_pcm(g: float) -> float:
    return 0.28638599 + 0.07585724 * g - 0.00178767 * g**2


@pytest.mark.parametrize(
    ("name", "ours", "theirs", "idle"),
    [
        ("rram-wan2022", wan_sigma(1.0), cross_sim_wan, (0.203, 0.615)),
        ("pcm-joshi2020", pcm_sigma, cross_sim_pcm, (0.154, 0.167)),
    ],
)
def test_idle_cells_of_both_simulators(name: str, ours: Any, theirs: Any, idle: Any):
    """Clipped at 0 µS, N(0, s) has the spread s sqrt(1/2 - 1/(2 pi)), in aihwkit as in CrossSim.

    Which of two fits through one figure is nearer to it cannot be said from here; the files say by
    how much they differ.
    """
    factor = math.sqrt(0.5 - 0.5 / math.pi)
    assert (ours(0) * factor, theirs(0) * factor) == pytest.approx(idle, abs=5e-4)
    values = conductances(load_device(name), 0.0)
    assert np.std(values) == pytest.approx(idle[0], rel=0.02)
    at = np.linspace(0, load_device(name).conductance.max_us * 0.98, 200)  # type: ignore[union-attr]
    more = [theirs(g) - ours(g) for g in at]
    low, high = (0.15, 0.71) if name == "rram-wan2022" else (0.002, 0.023)
    assert (min(more), max(more)) == pytest.approx((low, high), abs=0.006)


def test_milo_is_the_line_of_cross_sim_and_never_idle():
    """Its lowest state conducts 50 µS, 12 spreads from 0: nothing of it is clipped anywhere."""
    values = conductances(load_device("rram-milo2021"), 0.0)
    check_normal(values, 50.0, 4.782321 - 0.009107 * 50, 225.0)
    assert values.min() > 25


# --- PCM in time -------------------------------------------------------------------------------


def pcm_nu(x: float) -> tuple[float, float]:
    mean = min(max(-0.0155 * math.log(x) + 0.0244, 0.049), 0.1)
    return mean, min(max(-0.0125 * math.log(x) - 0.0059, 0.008), 0.045)


@pytest.mark.parametrize("time_s", [20.0, HOUR, DAY, YEAR])
@pytest.mark.parametrize("x", [0.1, 0.4, 1.0])
def test_pcm_drifts_by_its_closed_form(time_s: float, x: float):
    """g(t) = g0 e^(-L nu), L = ln(t/20 s), with g0 and nu independent normals, nu at least 0.

    For nu of mean m and spread s, clipped at 0, E e^(-k nu) is
    e^(-k m + k² s²/2) Phi(m/s - k s) + Phi(-m/s), and E g(t)^j = E g0^j E e^(-j L nu).
    """
    values = conductances(unclipped(load_device("pcm-joshi2020")), x, time_s)
    length = math.log(time_s / 20.0)
    m, s = pcm_nu(x)

    def phi(z: float) -> float:
        return 0.5 * math.erfc(-z / math.sqrt(2))

    def kept(k: float) -> float:
        return math.exp(-k * m + k * k * s * s / 2) * phi(m / s - k * s) + phi(-m / s)

    g, sigma = 25 * x, pcm_sigma(25 * x)
    mean = g * kept(length)
    spread = math.sqrt((g * g + sigma * sigma) * kept(2 * length) - mean * mean)
    fourth = float(np.mean((values - np.mean(values)) ** 4)) / spread**4
    rounding = 2.0**-20 * g
    assert abs(np.mean(values) - mean) < Z * spread / math.sqrt(N) + rounding
    # A sample variance has the relative variance (kurtosis - 1) / N; a spread a quarter of that.
    error = spread * math.sqrt((fourth - 1) / (4 * N))
    assert abs(np.std(values) - spread) < Z * error + rounding


@pytest.mark.parametrize("time_s", [20.0, DAY, YEAR])
@pytest.mark.parametrize("x", [0.004, 0.3, 1.0])
def test_pcm_read_noise_follows_its_law(time_s: float, x: float):
    """sigma = g(t) min(0.0088/x^0.65, 0.2) sqrt(ln((t + t_r)/(2 t_r))), x as aimed for.

    To the 1e-5 of float32's powers.
    """
    array = cells_at(x, load_device("pcm-joshi2020"))
    chip = Chip.of(array.target, 0, 0, time_s=time_s)
    levels = chip.program(array).levels
    spread = chip.read_spread(array, levels)
    assert spread is not None
    fraction = min(0.0088 / x**0.65, 0.2)
    fraction *= math.sqrt(math.log((time_s + 250e-9) / (2 * 250e-9)))
    np.testing.assert_allclose(spread[0, :N], levels[0, :N] * fraction, rtol=1e-5)
    assert chip.needs_circuit


def test_sonos_read_noise_follows_its_law():
    for x in (0.0, 0.05, 0.4, 1.0):
        array = cells_at(x, load_device("sonos-agrawal2022"))
        spread = Chip.of(array.target, 0, 0).read_spread(array, array.cells.targets)
        assert spread is not None
        expected = 12.58037 * (1 - math.exp(-(1600 * x + 1600 * 1e-7 * (1 - x)) / 215.36557))
        rounding = 2.0**-22 * 12.58037  # exp(-I/B) is next to 1 in float32
        assert 1600 * float(spread[0, 0]) == pytest.approx(expected, rel=1e-5, abs=rounding)


# --- ranges and what is asked for --------------------------------------------------------------


@pytest.mark.parametrize(("name", "limit"), [("rram-wan2022", 2), ("sonos-agrawal2022", 5)])
def test_a_time_after_the_last_measurement_is_refused(name: str, limit: int):
    device = load_device(name)
    assert device.time(limit * DAY) == limit * DAY
    with pytest.raises(OptionError, match=rf"time is .* vouches for at most {limit * DAY:g} s"):
        device.time(limit * DAY + 1)


def test_a_device_without_times_has_none():
    with pytest.raises(OptionError, match="no noise source that depends on time"):
        load_device("rram-milo2021").time(HOUR)


PAPERS = ["pcm-joshi2020", "rram-wan2022", "rram-milo2021", "sonos-agrawal2022"]


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize("encoding", ["sign-magnitude", "differential", "offset", "balanced"])
def test_targets_stay_in_the_range_of_the_fit(name: str, encoding: Any):
    """Levels outside 0 ... top, where the polynomials go anywhere, are never aimed for."""
    target = Target.of(load_device(name), encoding=encoding)
    weights = np.random.default_rng(0).uniform(-1, 1, 1000).astype(np.float32)
    weights[:2] = -1, 1
    targets = Array("w", weights, np.array(1.0), target).cells.targets
    assert targets.min() >= 0 and targets.max() == target.highest_level


@pytest.mark.parametrize("name", ["fefet1", "fefet2"])
def test_fefets_conduct_70_kilohm_on_and_20_gigaohm_off(name: str):
    conductance = load_device(name).conductance
    assert conductance is not None
    assert 1e6 / conductance.max_us == pytest.approx(70e3, rel=1e-5)
    assert 1e6 / conductance.min_us == pytest.approx(20e9, rel=1e-12)


def test_stt_mram_asks_for_its_spread_and_its_flip_rate():
    device = load_device("stt-mram")
    assert device.conductance is not None
    assert 1e6 / device.conductance.min_us == pytest.approx(6000, rel=1e-5)
    assert 1e6 / device.conductance.max_us == pytest.approx(3000, rel=1e-5)
    with pytest.raises(OptionError, match="no sigma; give --sigma"):
        device.sources()
    with pytest.raises(OptionError, match="no rate of flipped bits; give .*bitflip:p="):
        device.sources(0.05)
    flipping = device.with_noise([parse_noise("bitflip:p=0.001")])
    assert [s.type for s in flipping.sources(0.05)] == ["programming", "bitflip"]
    assert device.with_noise([parse_noise("bitflip:p=0")]).sources(0.0)


def test_stt_mram_spreads_each_state_by_a_fraction_of_its_conductance():
    device = load_device("stt-mram").with_noise([parse_noise("bitflip:p=0")])
    target = Target.of(device)
    codes = np.zeros((2, N // 8), np.int16)
    codes[1] = 255
    array = Array("w", codes, np.array(1.0), target)
    levels = Chip.of(target, 0, 0, sigma=0.05).program(array).levels.astype(np.float64)
    for state, g in ((0, 166.667), (1, 333.333)):
        us = 166.667 + (333.333 - 166.667) * levels[:, state]
        assert us.size == N
        check_normal(us.ravel(), g, 0.05 * g, 333.333)
