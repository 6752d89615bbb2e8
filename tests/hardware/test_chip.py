"""Chips: programmed cells follow the physics page, and a chip is its name."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import reference_chip as slow
from nvmc.errors import ArtifactError, OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import SOURCES, Device, NoiseSource, Target, load_device
from nvmc.hardware.encoding import Encoding, quantize, scale_of
from nvmc.hardware.tiling import Channels, Place

ENCODINGS: list[Encoding] = ["sign-magnitude", "differential", "offset", "balanced"]
FEFET = {"type": "programming", "basis": "level", "sigma": 0.1, "profile": [1.0, 2.0, 2.0, 1.0]}
EVERY = [
    FEFET,
    {"type": "stuck-at", "p_low": 0.2, "p_high": 0.1},
    {"type": "bitflip", "p": 0.2},
    {"type": "additive", "sigma": 0.1},
    {"type": "multiplicative", "sigma": 0.2},
    {"type": "uniform", "amplitude": 0.1},
    {"type": "programming", "basis": "level", "sigma": 0.3},
]


def device(*noise: dict[str, Any], levels: int | str = 4, **options: Any) -> Device:
    return Device.model_validate(
        {"name": "d", "title": "t", "source": "s", "levels": levels, "noise": noise, **options}
    )


def array(target: Target, codes: Any, scale: float = 0.125, name: str = "w") -> Array:
    return Array(name, np.asarray(codes), np.asarray(scale), target)


def uniform_codes(bits: int, count: int) -> np.ndarray:
    top = 2**bits - 1
    codes = np.random.default_rng(5).integers(-top, top + 1, count)
    return np.where(codes < 0, -1, 1) if bits == 1 else codes  # one bit has no zero


# --- the same as plain loops -------------------------------------------------------------------


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("bits", "cell"), [(1, 1), (4, 2), (5, 2), (4, 1)])
@pytest.mark.parametrize("noise", [*([n] for n in EVERY), EVERY], ids=lambda n: n[-1]["type"])
def test_program_equals_the_slow_loops(
    noise: list[dict[str, Any]], bits: int, cell: int, encoding: Encoding, clip: bool
):
    target = Target.of(
        device(*noise, clip=clip), weight_bits=bits, cell_bits=cell, encoding=encoding
    )
    codes = uniform_codes(bits, 12)
    made = Chip.of(target, 3, 1).program(array(target, codes.reshape(3, 4), name="layer"))
    spec = slow.Spec(bits, cell, encoding, 3, clip)
    expected = slow.program(codes.tolist(), 0.125, spec, noise, (3, 1, "layer"))
    assert np.array_equal(made.levels.reshape(expected.levels.shape), expected.levels)
    assert np.array_equal(made.sign.ravel(), expected.sign)
    assert np.array_equal(made.weights.ravel(), expected.weights)
    assert made.levels.dtype == made.weights.dtype == np.float32


def test_drift_equals_the_slow_loops():
    """Libraries round e^x to within 2 ulp each, and each product adds half of one."""
    drift = {"type": "lognormal-drift", "sigma": 0.5}
    target = Target.of(device(drift), weight_bits=4)
    codes = uniform_codes(4, 50)
    made = Chip.of(target, 3, 1).program(array(target, codes))
    spec = slow.Spec(4, 2, "sign-magnitude", 3)
    expected = slow.program(codes.tolist(), 0.125, spec, [drift], (3, 1, "w"))
    np.testing.assert_allclose(made.weights, expected.weights, rtol=6 * 2.0**-23)


# --- the ideal chip ----------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("bits", [1, 3, 8, 16])
@pytest.mark.parametrize("channels", [None, Channels(Place("CrossbarConv"), (4, 3, 5))])
def test_ideal_chip_is_codes_times_scale(bits: int, encoding: Encoding, channels: Channels | None):
    weight = np.random.default_rng(1).standard_normal((4, 3, 5)).astype(np.float32)
    weight[2] = 0
    scale = scale_of(weight, bits, channels).astype(np.float32)
    codes = quantize(weight, scale, bits)
    target = Target.of(load_device("rram4"), weight_bits=bits, encoding=encoding)
    held = Array("w", codes, scale, target)
    expected = codes.astype(np.float32) * scale
    silent = Chip.of(target, 0, 0, sigma=0.0)
    for chip in (Chip.ideal(), silent):
        made = chip.program(held)
        assert np.array_equal(made.weights, expected)
        assert np.array_equal(held.layout.combine(made.levels, made.sign) * held.unit, expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_ideal_chip_keeps_analog_weights(encoding: Encoding, dtype: type):
    weight = np.random.default_rng(1).standard_normal((8, 9)).astype(dtype)
    silent = device({**FEFET, "sigma": 0.0, "profile": None}, levels="continuous")
    target = Target.of(silent, encoding=encoding)
    for chip in (Chip.ideal(), Chip.of(target, 0, 0)):
        made = chip.program(array(target, weight, 1.0))
        assert np.array_equal(made.weights, weight.astype(np.float32))
        assert made.levels.min() >= 0 and made.levels.max() <= 1
        assert made.levels.max() == 1 or made.levels.min() == 0  # where max|W| sits, by its sign


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("bits", [None, 4])
def test_zeros_make_zero_targets_and_finite_chips(bits: int | None, encoding: Encoding):
    target = Target.of(device(FEFET), weight_bits=bits or "none", encoding=encoding)
    held = array(target, np.zeros((2, 3), np.float32 if bits is None else np.int8), 1.0)
    assert not Chip.ideal().program(held).weights.any()
    assert np.all(np.isfinite(Chip.of(target, 0, 0).program(held).weights))


# --- the papers' laws --------------------------------------------------------------------------

LAWS = {"rram4": (1, 1, 1, 1), "fefet1": (1, 4, 4, 1), "fefet2": (1, 2, 2, 1)}


@pytest.mark.parametrize("name", LAWS)
def test_each_level_is_normal_with_its_own_sigma(name: str):
    """Kolmogorov-Smirnov on 10^6 cells a device, each level apart (TRICE, Eq. 13 and 15-17).

    Twelve tests at 0.001 / 12 each: a sound law fails one seed in a thousand, and this one passes.
    """
    sigma = 0.25
    target = Target.of(load_device(name))
    held = array(target, uniform_codes(4, 500_000))
    levels = Chip.of(target, 11, 0, sigma).program(held).levels
    assert levels.size == 10**6
    for level, factor in enumerate(LAWS[name]):
        cells = levels[held.cells.targets == level].astype(np.float64)
        assert cells.size > 200_000
        law = stats.norm(level, factor * sigma).cdf
        assert stats.kstest(cells, law).pvalue > 0.001 / 12


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", LAWS)
def test_the_weight_has_the_spread_of_its_cells(name: str, encoding: Encoding):
    """s sqrt(sum 4^(iB) sigma(g_i)^2): (n - 1) S^2 / sigma^2 is chi-square, the mean normal.

    Two bounds for each of 5 codes: alpha = 0.001 / 90 over all parameters.
    """
    n, scale, sigma, alpha = 50_000, 0.125, 0.2, 0.001 / 90
    target = Target.of(load_device(name), encoding=encoding)
    for code in (-15, -6, 0, 1, 11):
        held = array(target, np.full(n, code), scale)
        spread = [sigma * LAWS[name][int(g)] for g in held.cells.targets[:, 0]]
        expected = scale * np.sqrt(np.sum((target.layout.coefficients * spread) ** 2))
        error = Chip.of(target, 2, 0, sigma).program(held).weights - np.float64(code * scale)
        low, high = stats.chi2.ppf([alpha / 2, 1 - alpha / 2], n - 1)
        assert low < (n - 1) * error.var(ddof=1) / expected**2 < high
        assert abs(error.mean()) < stats.norm.isf(alpha / 2) * expected / np.sqrt(n)


def test_a_zero_level_is_not_clipped_in_silence():
    """Half of all cells at g = 0 lie below 0; clipped, their mean would be 0.4 sigma."""
    n = 100_000
    target = Target.of(load_device("rram4"))
    levels = Chip.of(target, 0, 0).program(array(target, np.zeros(n, int))).levels
    below = np.count_nonzero(levels < 0)
    assert abs(below - n) < 5 * np.sqrt(2 * n * 0.25)
    above = array(target, np.full(n, 15))
    assert np.any(Chip.of(target, 0, 0).program(above).levels > 3)


@pytest.mark.parametrize("level", [0, 1, 3])
def test_clipped_levels_follow_the_clipped_law(level: int):
    """Mean and variance of min(max(N(g, s), 0), 3) in closed form, to 5 standard errors."""
    n, sigma = 200_000, 0.4
    clipped = Target.of(
        device({"type": "programming", "basis": "level"}, sigma=sigma, clip=True),
        weight_bits=2,
    )
    cells = Chip.of(clipped, 1, 0).program(array(clipped, np.full(n, level))).levels
    assert cells.min() >= 0 and cells.max() <= 3
    a, b = (0 - level) / sigma, (3 - level) / sigma
    inside, density = stats.norm.cdf(b) - stats.norm.cdf(a), stats.norm.pdf
    first = level * inside + sigma * (density(a) - density(b)) + 3 * stats.norm.sf(b)
    second = (
        (level**2 + sigma**2) * inside
        + 2 * level * sigma * (density(a) - density(b))
        + sigma**2 * (a * density(a) - b * density(b))
        + 9 * stats.norm.sf(b)
    )
    variance = second - first**2
    sample = cells.astype(np.float64)
    assert abs(sample.mean() - first) < 5 * np.sqrt(variance / n)
    kurtosis = np.mean((sample - first) ** 4)
    assert abs(sample.var() - variance) < 5 * np.sqrt((kurtosis - variance**2) / n)


def test_the_idle_cell_of_a_pair_is_noisy():
    target = Target.of(load_device("rram4"), encoding="differential")
    levels = Chip.of(target, 0, 0).program(array(target, np.full(1000, 5))).levels
    idle = levels[1::2]
    assert np.count_nonzero(idle) == idle.size and idle.min() < 0


def test_every_cell_has_a_normal_of_its_own():
    """Not one per level, nor one shared by slices, polarities or channels."""
    for encoding in ENCODINGS:
        target = Target.of(load_device("fefet2"), encoding=encoding)
        held = array(target, np.full((20, 30), 5))
        errors = Chip.of(target, 0, 0).program(held).levels - held.cells.targets
        # Equal only where two float32 normals are: 1800 cells of 2^-23 resolution, few pairs.
        assert np.unique(errors).size > 0.99 * errors.size


def test_cells_with_fewer_bits_use_the_lowest_levels_of_the_device():
    """A 4-level cell that holds one bit aims for 0 and 1, spreads as they do, and sticks at 3."""
    stuck = {"type": "stuck-at", "p_high": 1.0}
    target = Target.of(device(stuck, clip=True), weight_bits=4, cell_bits=1)
    held = array(target, uniform_codes(4, 50))
    assert held.cells.targets.max() == 1 and held.cells.highest_level == 3
    assert np.all(Chip.of(target, 0, 0).program(held).levels == 3)
    spread = {"type": "programming", "basis": "level", "sigma": 0.1, "profile": [1, 4, 4, 1]}
    target = Target.of(device(spread), weight_bits=4, cell_bits=1)
    sigma = target.device.noise[0].spread(array(target, [0, 15]).cells)  # type: ignore[attr-defined]
    assert sigma[0].tolist() == pytest.approx([0.1, 0.4])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_flipped_bit_of_one_turns_the_weight_round(encoding: Encoding):
    """A weight flips with probability p; each cell of a differential pair by itself, so that one
    flip leaves 0 (2 p (1 - p)) and two turn it round (p^2). Counts within 5 standard deviations."""
    n, p = 40_000, 0.2
    target = Target.of(device({"type": "bitflip", "p": p}), weight_bits=1, encoding=encoding)
    held = array(target, uniform_codes(1, n), scale=0.5)
    found = Chip.of(target, 0, 0).program(held).weights / held.ideal
    pair = encoding in ("differential", "balanced")
    turned = {-1.0: p * p, 0.0: 2 * p * (1 - p)} if pair else {-1.0: p}
    assert set(np.unique(found)) == {1.0, *turned}
    for value, share in turned.items():
        spread = np.sqrt(n * share * (1 - share))
        assert abs(np.count_nonzero(found == value) - n * share) < 5 * spread


def test_cells_alone_hold_no_bit_of_a_sign():
    flips = device({"type": "bitflip", "p": 0.1, "bits": "cells"})
    with pytest.raises(OptionError, match="a 1-bit weight under sign-magnitude is its sign alone"):
        Target.of(flips, weight_bits=1)
    assert Target.of(flips, weight_bits=1, encoding="offset").layout.plane_bits.tolist() == [1]


def test_codes_of_zero_are_no_codes_of_one_bit():
    target = Target.of(load_device("bitflip"), weight_bits=1)
    with pytest.raises(ArtifactError, match="1-bit codes of 0; .*compile again"):
        array(target, [1, 0, -1])


@pytest.mark.parametrize("name", ["additive", "uniform"])
def test_weight_noise_is_a_fraction_of_each_channels_range(name: str):
    """The channel scaled by 8 = 2^3 has exactly eight times the noise."""
    codes = np.tile(uniform_codes(4, 100), (2, 1))
    target = Target.of(load_device(name), weight_bits=4, per_channel=True)
    alike = Array("w", codes, np.array([[1.0], [1.0]]), target)
    scaled = Array("w", codes, np.array([[1.0], [8.0]]), target)
    first, second = (Chip.of(target, 0, 0).program(a).weights for a in (alike, scaled))
    assert np.array_equal(second, first * np.array([[1], [8]], np.float32))


# --- a chip is a name --------------------------------------------------------------------------


def _levels(target: Target, name: str = "w", seed: int = 0, chip: int = 0, **options: Any) -> Any:
    return Chip.of(target, seed, chip, **options).program(array(target, CODES, name=name)).levels


CODES = uniform_codes(4, 200)
SILENT = ("read", "temperature-coefficient", "own", "correlated", "activation")
"""Sources that draw nothing when a chip is programmed, what a law of one's own draws, what asks for
the lines of tiles (test_correlated.py has it), or acts on no cell (test_activation_noise.py)."""


def test_a_chip_does_not_depend_on_order_or_company():
    target = Target.of(load_device("fefet1"))
    names = ["a", "b", "c"]
    alone = {name: _levels(target, name) for name in names}
    for order in itertools.permutations(names):
        chip = Chip.of(target, 0, 0)
        for name in order:
            made = chip.program(array(target, CODES, name=name))
            assert np.array_equal(made.levels, alone[name])


@pytest.mark.parametrize("kind", [kind for kind in SOURCES if kind not in SILENT])
def test_seed_chip_and_array_reach_every_source(kind: str):
    options = {
        "bitflip": {"p": 0.3},
        "stuck-at": {"p_low": 0.3},
        "uniform": {"amplitude": 0.3},
        "programming": {"sigma": 0.3, "basis": "level"},
        "programming-uniform": {"amplitude": 0.3, "basis": "level"},
        "telegraph": {"amplitude": 0.3, "basis": "level", "drawn": "chip"},
        "endurance": {"writes": 1e6, "life": 1e6, "shape": 1.0, "high": 0.5},
        "read-disturb": {"reads": 1e6, "p": 1e-6, "towards": "low"},
        "global": {"sigma": 0.3, "basis": "level", "scope": "array"},
        "retention": {"nu_mean": 0.1, "nu_std": 0.1, "t0_s": 1.0},
    }
    noise: dict[str, Any] = {"type": kind, **options.get(kind, {"sigma": 0.3})}
    target = Target.of(device(noise), weight_bits=4)
    time = 100.0 if target.device.timed else None

    def weights(seed: int, chip: int, name: str) -> np.ndarray:
        held = array(target, CODES, name=name)
        return Chip.of(target, seed, chip, time_s=time).program(held).weights

    base = weights(0, 0, "w")
    assert np.array_equal(base, weights(0, 0, "w"))
    for other in ((1, 0, "w"), (0, 1, "w"), (0, 0, "v")):
        assert not np.array_equal(base, weights(*other))


def test_a_sigma_sweep_reuses_the_normals():
    """Doubling sigma doubles each error; the sum g + error rounds to an ulp of 4 at most."""
    target = Target.of(load_device("fefet2"))
    goal = array(target, CODES).cells.targets
    one, two = (_levels(target, sigma=s) - goal for s in (0.125, 0.25))
    assert np.abs(two - 2 * one).max() <= 3 * np.spacing(np.float32(4))
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.999999


def test_a_second_source_leaves_the_first_alone():
    first = device(FEFET)
    more = first.with_noise([SOURCES["additive"].model_validate({"type": "additive", "sigma": 1})])
    again = first.with_noise([SOURCES["programming"].model_validate(FEFET)])
    one, two, three = (Target.of(d, weight_bits=4) for d in (first, more, again))
    assert np.array_equal(_levels(one), _levels(two))
    goal = array(one, CODES).cells.targets
    extra = _levels(three) - _levels(one)
    assert np.count_nonzero(extra) > 0.99 * extra.size
    assert not np.allclose(extra, _levels(one) - goal)  # draws of its own


def test_a_source_swept_to_zero_leaves_the_others_alone():
    """Two of a type: at sigma = 0 the second must not take over the first one's stream."""
    swept = {"type": "programming", "basis": "level"}
    both = Target.of(device(swept, {**swept, "sigma": 0.25}, sigma=0.1), weight_bits=4)
    tiny = np.float32(1e-9)  # vanishes beside levels of order 1 but for the zero level's errors
    difference = np.abs(_levels(both, sigma=0.0) - _levels(both, sigma=float(tiny)))
    assert difference.max() < 1e-7


def test_the_global_generator_is_left_alone():
    before = np.random.get_state()
    for name in ("fefet1", "bitflip", "stuck-at", "uniform"):
        target = Target.of(load_device(name), weight_bits=4)
        Chip.of(target, 0, 0).program(array(target, CODES))
    after = np.random.get_state()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@given(st.integers(-5, -1))
def test_negative_names_are_refused(number: int):
    target = Target.of(load_device("rram4"))
    with pytest.raises(OptionError, match=f"seed is {number}"):
        Chip.of(target, number, 0)
    with pytest.raises(OptionError, match=f"chip is {number}"):
        Chip.of(target, 0, number)


def test_programming_does_not_move_the_targets():
    target = Target.of(device(*EVERY, clip=True), weight_bits=4)
    held = array(target, CODES)
    goal, sign = held.cells.targets.copy(), held.sign.copy()
    Chip.of(target, 0, 0).program(held)
    assert np.array_equal(held.cells.targets, goal) and np.array_equal(held.sign, sign)


def test_sources_are_classes_of_the_base():
    assert all(issubclass(source, NoiseSource) for source in SOURCES.values())


@pytest.mark.parametrize("name", ["rram4", "fefet2", "bitflip"])
def test_programming_takes_under_four_times_the_cells(name: str):
    """Targets, spread and normals at once are 3; signs and one plane's index are the rest."""
    target = Target.of(load_device(name))
    held = array(target, uniform_codes(4, 1_000_000).astype(np.int8))
    tracemalloc.start()
    made = Chip.of(target, 0, 0).program(held)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * made.levels.nbytes


# --- beyond float32 ----------------------------------------------------------------------------

EXTREME: dict[str, dict[str, Any]] = {
    "polynomial": {"type": "programming", "basis": "full_range", "polynomial": [1e18, -1e18]},
    "profile": {"type": "programming", "basis": "us", "profile": [1e18, 1e18, 0.0, 1e18]},
    "saturating": {"type": "programming", "basis": "us", "saturating": {"a": 1e18, "b": 1e-18}},
    "bias": {
        "type": "programming",
        "basis": "value",
        "polynomial": [1.0],
        "bias": {"polynomial": [-1e18, 1e18, 1e18]},
    },
    "additive": {"type": "additive"},
    "multiplicative": {"type": "multiplicative"},
    "uniform": {"type": "uniform", "amplitude": 1e18},
    "lognormal-drift": {"type": "lognormal-drift"},
    "retention": {"type": "retention", "t0_s": 1e-18, "nu_mean": -1e18, "nu_std": 1e18},
    "read": {
        "type": "read",
        "basis": "value",
        "one_over_f": {"q": 1e18, "exponent": 5.0, "q_max": 1e18, "t_read_s": 1e-18},
    },
}
"""The greatest numbers that a device file may have."""


@pytest.mark.parametrize("off", [0.0, 19_999.9])
@pytest.mark.parametrize("name", EXTREME)
def test_cells_beyond_float32_warn_of_nothing(name: str, off: float) -> None:
    """Infinite or NaN, and wrong: no warning on the terminal (warnings are errors here)."""
    noise = EXTREME[name]
    strength = {} if {"amplitude", "nu_mean", "one_over_f"} & noise.keys() else {"sigma": 1e18}
    strength |= {"time_s": 1.0} if "one_over_f" in noise else {}
    moved = device(noise, conductance={"min_us": off, "max_us": 2e4}, clip=False, **strength)
    target = Target.of(moved, weight_bits=4)
    codes = uniform_codes(4, 64).reshape(8, 8)
    for scale in (0.125, 1e18):
        chip, programmed = (
            Chip.of(
                target, 3, 1, time_s=1e18 if "one_over_f" in noise or name == "retention" else None
            ),
            array(target, codes, scale),
        )
        found = chip.program(programmed)
        chip.weights(programmed)
        chip.read_spread(programmed, found.levels)
