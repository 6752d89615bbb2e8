"""Chips that age, are verified, share offsets and are read: against plain loops and as names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference_chip as slow
from nvmc.errors import OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Device, Target
from nvmc.hardware.encoding import Encoding
from nvmc.hardware.tiling import Place

ENCODINGS: list[Encoding] = ["sign-magnitude", "differential", "offset", "balanced"]
CURVE = [0.25, 1.5, -1.25]
ROWS = [
    {"time_s": 1.0, "polynomial": CURVE, "bias": {"profile": [0.0, 0.5, -0.5, 1.0]}},
    {"time_s": 1e4, "profile": [1.0, 2.0, 3.0, 2.0], "bias": {"polynomial": [0.5, -1.0]}},
]
EXACT = {
    "polynomial": {"type": "programming", "basis": "us", "sigma": 0.5, "polynomial": CURVE},
    "negative polynomial": {
        "type": "programming",
        "basis": "level",
        "sigma": 0.5,
        "polynomial": [-0.5, 1.0],
    },
    "value": {"type": "programming", "basis": "value", "sigma": 0.25},
    "inverse": {"type": "programming", "basis": "inverse", "sigma": 0.02},
    "flat": {"type": "programming-uniform", "basis": "us", "amplitude": 2.0},
    "flat value": {
        "type": "programming-uniform",
        "basis": "value",
        "amplitude": 0.25,
        "profile": [1.0, 2.0, 0.5, 1.0],
    },
    "flat inverse": {"type": "programming-uniform", "basis": "inverse", "amplitude": 0.02},
    "bias": {
        "type": "programming",
        "basis": "full_range",
        "sigma": 0.1,
        "bias": {"profile": [0.1, 0.2, 0.0, -0.3]},
    },
    "verified": {
        "type": "programming",
        "basis": "us",
        "sigma": 4.0,
        "bias": {"polynomial": [0.5, 1.0]},
        "tolerance": 2.0,
        "max_pulses": 5,
    },
    "verified value": {
        "type": "programming",
        "basis": "value",
        "sigma": 0.4,
        "tolerance": 0.2,
        "max_pulses": 3,
    },
    "table": {"type": "programming", "basis": "us", "sigma": 1.0, "table": ROWS},
    "traps": {
        "type": "telegraph",
        "amplitude": 0.2,
        "basis": "value",
        "occupancy": 0.25,
        "share": 0.5,
        "drawn": "chip",
    },
    "worn": {
        "type": "endurance",
        "writes": 1e5,
        "life": 1e5,
        "shape": 1.0,
        "high": 0.25,
        "closing": 0.25,
        "closing_from": 1e4,
    },
    "switched": {"type": "read-disturb", "reads": 16, "p": 0.03125, "towards": "high"},
    "warm": {
        "type": "temperature-coefficient",
        "per_k": 2.0**-8,
        "std_per_k": 2.0**-8,
        "reference_c": 25.0,
        "temperature_c": 57.0,
    },
    "chip offset": {"type": "global", "scope": "chip", "sigma": 0.5, "basis": "level"},
    "array gain": {"type": "global", "scope": "array", "sigma": 0.5, "basis": "value"},
    "tile offset": {"type": "global", "scope": "tile", "sigma": 0.1, "basis": "full_range"},
}
LAW = {"slope": -0.02, "intercept": 0.03, "min": 0.01, "max": 0.1}
ROUNDED = {
    "saturating": {
        "type": "programming",
        "basis": "us",
        "sigma": 1.0,
        "saturating": {"a": 2.0, "b": 5.0},
    },
    "disturbed": {
        "type": "read-disturb",
        "reads": 1e3,
        "rate": 1e-4,
        "rate_std": 0.5,
        "towards": "zero",
    },
    "constant retention": {"type": "retention", "nu_mean": 0.05, "nu_std": 0.03, "t0_s": 2.0},
    "retention": {"type": "retention", "nu_mean": LAW, "nu_std": LAW, "t0_s": 20.0},
}
TIMED = ("table", "retention", "constant retention")


def device(*noise: dict[str, Any], **options: Any) -> Device:
    head = {"name": "d", "title": "t", "source": "s", "levels": 4, "noise": noise}
    return Device.model_validate(
        {**head, "conductance": {"min_us": 2.0, "max_us": 20.0}, **options}
    )


def array(target: Target, codes: Any, name: str = "w", place: Place | None = None) -> Array:
    return Array(name, np.asarray(codes), np.asarray(0.125), target, place)


def codes_of(bits: int, count: int) -> np.ndarray:
    top = 2**bits - 1
    return np.random.default_rng(5).integers(-top, top + 1, count)


# --- the same as plain loops -------------------------------------------------------------------


def both(noise: list[dict[str, Any]], encoding: Encoding, clip: Any, time: float | None) -> Any:
    """The chip by nvmc and by loops, of a 4 x 3 MatMul on tiles of 2 x 2."""
    target = Target.of(
        device(*noise, clip=clip), weight_bits=5, cell_bits=2, encoding=encoding, rows=2, cols=2
    )
    held = array(target, codes_of(5, 12).reshape(4, 3), "layer", Place("CrossbarMatMul"))
    timed = any(source in [EXACT["table"], *ROUNDED.values()] for source in noise)
    chip = Chip.of(target, 3, 1, time_s=time if timed and target.device.timed else None)
    tiles = tuple(2 * (row // 2) + col // 2 for row in range(4) for col in range(3))
    spec = slow.Spec(5, 2, encoding, 3, clip, (2.0, 20.0), chip.time_s, tiles)
    expected = slow.program(held.codes.ravel().tolist(), 0.125, spec, noise, (3, 1, "layer"))
    made = chip.program(held)
    return made, expected, made.levels.reshape(expected.levels.shape)


# Every source under each encoding and clipping; the timed ones at each time too.
CASES: list[tuple[str, bool | str, float | None]] = [
    *((name, clip, None) for name in [*EXACT, "every"] for clip in (False, True, "zero")),
    *((name, "zero", time) for name in ("table", "every") for time in (0.5, 1.0, 300.0, 1e4, 1e6)),
]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("name", "clip", "time"), CASES)
def test_program_equals_the_slow_loops(name: str, encoding: Encoding, clip: Any, time: Any):
    noise = list(EXACT.values()) if name == "every" else [EXACT[name]]
    made, expected, levels = both(noise, encoding, clip, time)
    assert np.array_equal(levels, expected.levels)
    assert np.array_equal(made.weights.ravel(), expected.weights)
    assert levels.dtype == made.weights.dtype == np.float32
    if expected.pulses is None:
        assert made.pulses is None
    else:
        assert np.array_equal(made.pulses.reshape(levels.shape), expected.pulses)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", ROUNDED)
@pytest.mark.parametrize("time", [None, 10.0, 300.0, 1e6])
def test_program_equals_the_slow_loops_but_for_exp(name: str, encoding: Encoding, time: Any):
    """Libraries round e^x and ln x to 2 ulp; x ~ ln(1e6/2) nu < 4, so e^-x is off by 4 * 4 ulp."""
    _, expected, levels = both([ROUNDED[name]], encoding, False, time)
    np.testing.assert_allclose(levels, expected.levels, rtol=32 * 2.0**-23, atol=32 * 2.0**-23)


READS = {
    "value": {"type": "read", "basis": "value", "sigma": 0.03},
    "additive": {"type": "read", "basis": "level", "sigma": 0.03},
    "us": {"type": "read", "basis": "us", "polynomial": [0.5, 1.0]},
    "saturating": {"type": "read", "basis": "us", "sigma": 2.0, "saturating": {"a": 1.0, "b": 9.0}},
    "one over f": {
        "type": "read",
        "basis": "value",
        "one_over_f": {"q": 0.0088, "exponent": 0.65, "q_max": 0.02, "t_read_s": 250e-9},
    },
}


@pytest.mark.parametrize("name", READS)
def test_read_spread_equals_the_slow_loops(name: str):
    """A power is e^(p ln x) in float32 at worst: |p ln x| < 1, so 8 ulp bound it."""
    timed = {"time_s": 3600.0} if name == "one over f" else {}
    target = Target.of(device(READS[name], **timed), weight_bits=4)
    chip, held = Chip.of(target, 0, 0), array(target, codes_of(4, 40))
    levels = np.random.default_rng(0).uniform(-0.5, 3.5, (2, 40)).astype(np.float32)
    spec = slow.Spec(4, 2, "sign-magnitude", 3, False, (2.0, 20.0), 3600.0)
    cells = zip(levels.ravel(), held.cells.targets.ravel(), strict=True)
    expected = [slow.read_spread(g, target, READS[name], spec) for g, target in cells]
    spread = chip.read_spread(held, levels)
    assert spread is not None and spread.dtype == np.float32
    np.testing.assert_allclose(spread.ravel(), np.array(expected, float), rtol=8 * 2.0**-23)


def test_read_sources_add_up_in_squares():
    noise = [READS["value"], READS["additive"]]
    target = Target.of(device(*noise), weight_bits=4)
    held = array(target, codes_of(4, 40))
    chip = Chip.of(target, 0, 0)
    levels = chip.program(held).levels
    one, two = (
        Chip.of(Target.of(device(n), weight_bits=4), 0, 0).read_spread(held, levels) for n in noise
    )
    np.testing.assert_allclose(chip.read_spread(held, levels), np.hypot(one, two), rtol=2.0**-21)
    assert [name for name, _ in chip.reads] == ["read", "read#1"]


# --- a chip is its name, at every time ---------------------------------------------------------

PCM = Device.model_validate(
    {
        "name": "pcm",
        "title": "t",
        "source": "s",
        "levels": "continuous",
        "sigma": 1.0,
        "conductance": {"min_us": 0.0, "max_us": 25.0},
        "time_s": 20.0,
        "noise": [
            {"type": "programming", "basis": "us", "polynomial": [0.26348, 1.9650, -1.1731]},
            {
                "type": "retention",
                "t0_s": 20.0,
                "nu_mean": {"slope": -0.0155, "intercept": 0.0244, "min": 0.049, "max": 0.1},
                "nu_std": {"slope": -0.0125, "intercept": -0.0059, "min": 0.008, "max": 0.045},
            },
            READS["one over f"],
        ],
    }
)


def test_every_time_is_the_same_chip():
    """ln g(t) = ln g(t0) - nu ln(t/t0): over three times, the two slopes are one nu."""
    target = Target.of(PCM)
    held = array(target, np.linspace(0.2, 1, 50, dtype=np.float32))
    times = (20.0, 3600.0, 86400.0)
    first, second, third = (
        np.log(Chip.of(target, 0, 0, time_s=t).program(held).levels.astype(float)) for t in times
    )
    one = (first - second) / np.log(3600 / 20)
    two = (second - third) / np.log(86400 / 3600)
    # float32 levels: each logarithm is off by 2^-22 at most, and the shorter span is ln 24
    np.testing.assert_allclose(one, two, atol=4 * 2.0**-22 / np.log(24))
    assert np.unique(one).size > 40


@pytest.mark.parametrize("time", [None, 0.0, 5.0, 20.0])
def test_nothing_decays_before_t0(time: float | None):
    target = Target.of(PCM)
    held = array(target, np.linspace(-1, 1, 50, dtype=np.float32))
    kept = Target.of(PCM.model_copy(update={"noise": PCM.noise[:1], "time_s": None}))
    expected = Chip.of(kept, 0, 0).program(held).levels
    chip = Chip.of(target, 0, 0, time_s=time)
    assert np.array_equal(chip.program(held).levels, expected)
    assert chip.time_s == (20.0 if time is None else time)


def test_a_chip_offset_is_one_number():
    target = Target.of(device(EXACT["chip offset"]), weight_bits=4)
    chips = [Chip.of(target, 0, index) for index in range(2)]
    offsets = [
        chip.program(held := array(target, codes_of(4, 50), name)).levels - held.cells.targets
        for chip in chips
        for name in ("a", "b")
    ]
    # A sum g + offset rounds to half an ulp of 4 at most.
    assert all(np.ptp(offset) <= np.spacing(np.float32(4)) for offset in offsets)
    a, b, other, _ = (offset.mean() for offset in offsets)
    assert a == pytest.approx(b, abs=1e-6) and abs(a - other) > 1e-3


def test_an_array_offset_is_one_number_an_array():
    noise = {**EXACT["chip offset"], "scope": "array"}
    target = Target.of(device(noise), weight_bits=4)
    chip = Chip.of(target, 0, 0)
    a, b = (
        chip.program(held := array(target, codes_of(4, 50), name)).levels - held.cells.targets
        for name in ("a", "b")
    )
    assert np.ptp(a) <= np.spacing(np.float32(4)) and abs(a.mean() - b.mean()) > 1e-3


def test_a_tile_offset_is_one_number_a_tile():
    """A 6 x 4 MatMul on tiles of 4 x 2 in two planes: eight offsets, one for each block."""
    target = Target.of(device(EXACT["tile offset"]), weight_bits=4, rows=4, cols=2)
    held = array(target, codes_of(4, 24).reshape(6, 4), place=Place("CrossbarMatMul"))
    offset = Chip.of(target, 0, 0).program(held).levels - held.cells.targets
    blocks = [
        offset[plane, rows, cols]
        for plane in range(2)
        for rows in (slice(0, 4), slice(4, 6))
        for cols in (slice(0, 2), slice(2, 4))
    ]
    assert all(np.ptp(block) <= np.spacing(np.float32(4)) for block in blocks)
    assert np.unique([round(float(block.mean()), 4) for block in blocks]).size == 8


def test_a_tile_offset_needs_to_know_the_tiles():
    target = Target.of(device(EXACT["tile offset"]), weight_bits=4)
    with pytest.raises(OptionError, match="array 'w' does not say which operator uses it"):
        Chip.of(target, 0, 0).program(array(target, codes_of(4, 4)))
    assert Chip.ideal().program(array(target, codes_of(4, 4))).pulses is None


def test_read_noise_makes_a_chip_that_needs_the_circuit():
    noisy = Target.of(device(READS["value"]), weight_bits=4)
    silent = Target.of(device({**READS["value"], "sigma": 0.0}), weight_bits=4)
    held = array(noisy, codes_of(4, 20))
    chip = Chip.of(noisy, 0, 0)
    assert chip.needs_circuit and np.array_equal(chip.program(held).weights, held.ideal)
    for other in (Chip.ideal(), Chip.of(silent, 0, 0)):
        assert not other.needs_circuit and other.read_spread(held, held.cells.targets) is None


# --- faults of this field ----------------------------------------------------------------------


def test_every_cell_has_an_exponent_of_its_own():
    """Not one per level, nor one shared by slices, polarities or channels."""
    noise = {"type": "retention", "nu_mean": 0.5, "nu_std": 0.1, "t0_s": 1.0}
    for encoding in ENCODINGS:
        target = Target.of(device(noise), weight_bits=4, encoding=encoding)
        held = array(target, np.full((20, 30), 5))
        cells = held.cells
        levels = Chip.of(target, 0, 0, time_s=1e3).program(held).levels
        nu = -np.log(cells.conducted(levels) / cells.conducted(cells.targets)) / np.log(1e3)
        # Equal only where two float32 normals are, or their rounded results: few pairs.
        assert np.unique(nu).size > 0.98 * nu.size


def test_the_global_generator_is_left_alone():
    noise = [*EXACT.values(), *ROUNDED.values(), *READS.values()]
    target = Target.of(device(*noise, time_s=100.0), weight_bits=4)
    before = np.random.get_state()
    held = array(target, codes_of(4, 20), place=Place("CrossbarParameter"))
    chip = Chip.of(target, 0, 0)
    chip.read_spread(held, chip.program(held).levels)
    after = np.random.get_state()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_chip_programmed_twice_is_the_same_chip():
    noise = [*EXACT.values(), *ROUNDED.values()]
    target = Target.of(device(*noise), weight_bits=4)
    held = array(target, codes_of(4, 20), place=Place("CrossbarParameter"))
    goal = held.cells.targets.copy()
    one, two = (Chip.of(target, 0, 0, time_s=50.0).program(held) for _ in range(2))
    assert np.array_equal(one.levels, two.levels) and np.array_equal(one.pulses, two.pulses)
    assert np.array_equal(held.cells.targets, goal)


def test_a_silent_source_leaves_the_others_alone():
    """Two of a type: at sigma = 0 the second must not take over the first one's stream."""
    first = {"type": "global", "scope": "array", "basis": "level"}
    second = {**first, "sigma": 0.25}
    target = Target.of(device(first, second, sigma=1.0), weight_bits=4)
    held = array(target, codes_of(4, 20))
    silent, tiny = (Chip.of(target, 0, 0, sigma=s).program(held).levels for s in (0.0, 1e-9))
    assert np.abs(silent - tiny).max() < 1e-7


# --- random chips ------------------------------------------------------------------------------

small = st.floats(-1, 1, width=16)
strength = st.floats(0, 1, width=16)
programmings = st.fixed_dictionaries(
    {
        "type": st.just("programming"),
        "basis": st.sampled_from(["level", "full_range", "value", "us"]),
        "sigma": strength,
    },
    optional={
        "polynomial": st.lists(small, min_size=1, max_size=4),
        "bias": st.fixed_dictionaries({"polynomial": st.lists(small, min_size=1, max_size=3)}),
    },
)
verified = st.builds(
    lambda source, tolerance, most: {**source, "tolerance": tolerance, "max_pulses": most},
    programmings,
    st.floats(0.015625, 1, width=16),
    st.integers(1, 6),
)
offsets = st.fixed_dictionaries(
    {
        "type": st.just("global"),
        "basis": st.sampled_from(["level", "full_range", "value", "us"]),
        "scope": st.sampled_from(["chip", "array", "tile"]),
        "sigma": strength,
    }
)
stuck = st.fixed_dictionaries(
    {"type": st.just("stuck-at"), "p_low": st.floats(0, 0.5), "p_high": st.floats(0, 0.5)}
)


@given(
    st.lists(programmings | verified | offsets | stuck, min_size=1, max_size=4),
    st.sampled_from(ENCODINGS),
    st.sampled_from([False, True, "zero"]),
)
def test_random_chips_equal_the_slow_loops(noise: list[Any], encoding: Encoding, clip: Any):
    """Bit for bit, but a silent verified source pulses nothing."""
    made, expected, levels = both(noise, encoding, clip, None)
    assert np.array_equal(levels, expected.levels)
    assert np.array_equal(made.weights.ravel(), expected.weights)
    if made.pulses is not None and not any(n.get("sigma") == 0 for n in noise):
        assert np.array_equal(made.pulses.reshape(levels.shape), expected.pulses)
