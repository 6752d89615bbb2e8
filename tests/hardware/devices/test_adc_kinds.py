"""Kinds of ADC: their curves against conversions that are carried out step by step."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from nvmc.cost.components import COMPONENTS
from nvmc.errors import OptionError
from nvmc.hardware.devices import Periphery
from nvmc.hardware.devices.adc.base import Curves, Streams
from nvmc.hardware.devices.adc.kinds import KINDS, adc_text, parse_adc
from nvmc.rng import Draw

TOPS = [1, 2, 3, 14, 15, 254, 255]


def streams(seed: int = 3) -> Streams:
    made: dict[str, Draw] = {}
    return lambda name: made.setdefault(name, Draw(seed, 0, name))


def curves(text: str, top: int, count: int = 3, zero: int = 0, seed: int = 3) -> Curves:
    return parse_adc(text).curves(top, zero, np.arange(count) // 2, streams(seed))


def normals(name: str, *shape: int, seed: int = 3) -> NDArray[np.float64]:
    return Draw(seed, 0, name).normal(shape).astype(np.float64)


def converted(found: Curves, v: NDArray[np.float64]) -> NDArray[np.int64]:
    """Codes of currents, shape (converters, currents)."""
    places = [np.searchsorted(edges, v, side="right") for edges in found.edges]
    return np.stack([codes[p] for codes, p in zip(found.codes, places, strict=True)])


def inputs(top: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(-3, top + 3, 4000)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("top", TOPS)
def test_without_errors_every_kind_is_ideal(kind: str, top: int) -> None:
    assert not parse_adc(kind).active
    found = curves(kind, top)
    np.testing.assert_allclose(found.edges, [np.arange(top) + 0.5] * 3, atol=1e-9)
    np.testing.assert_array_equal(found.codes, [range(top + 1)] * 3)


@pytest.mark.parametrize("top", TOPS)
def test_flash_counts_the_comparators_that_fire(top: int) -> None:
    z, r = normals("comparator", 3, top), 1 + 0.05 * normals("ladder", 3, top + 1)
    found = curves("flash:comparator=0.8,ladder=0.05", top)
    v = inputs(top)
    for converter, codes in enumerate(converted(found, v)):
        own = r[converter]
        total = own[0] / 2 + sum(own[1:-1]) + own[-1] / 2
        fired = np.zeros(len(v), np.int64)
        for k in range(top):
            level = top * (own[0] / 2 + sum(own[1 : k + 1])) / total
            fired += v >= level + 0.8 * z[converter, k]
        np.testing.assert_array_equal(codes, fired)


@pytest.mark.parametrize("split", [0, 3])
@pytest.mark.parametrize("top", [14, 15, 62, 63])
def test_sar_searches_bit_by_bit(top: int, split: int) -> None:
    """With mismatch so large that references do not ascend."""
    bits = top.bit_length()
    z = normals("mismatch", 3, bits + 2)
    offsets = normals("comparator", 3, 1)
    found = curves(f"sar:mismatch=0.1,comparator=0.7,split={split},parasitic=0.4", top)
    v, ascending = inputs(top), True
    for converter, codes in enumerate(converted(found, v)):
        sizes = [2.0 ** (i if i < split else i - split) for i in range(bits)] + [1.0]
        c = [s + 0.1 * math.sqrt(s) * n for s, n in zip(sizes, z[converter], strict=False)]
        bridge, behind = 0.0, 0.0
        if split:
            ideal = 2.0**split / (2.0**split - 1)
            bridge = ideal + 0.1 * math.sqrt(ideal) * z[converter, -1]
            behind = sum(c[:split]) + c[bits] + 0.4
        passed = bridge / (bridge + behind) if split else 1.0
        weights = [c[i] * (passed if i < split else 1.0) for i in range(bits)]
        whole = sum(weights) + (c[bits] + (0.4 if split else 0.0)) * passed

        def reference(code: int, w: list[float] = weights, all_of_it: float = whole) -> float:
            return 2.0**bits * sum(w[i] for i in range(bits) if code >> i & 1) / all_of_it

        levels = [reference(code) for code in range(1 << bits)]
        ascending = ascending and levels == sorted(levels)
        for current, code in zip(v.tolist(), codes.tolist(), strict=True):
            kept = 0
            for bit in reversed(range(bits)):
                trial = kept | 1 << bit
                if current + 0.5 >= reference(trial) + 0.7 * offsets[converter, 0]:
                    kept = trial
            assert code == min(kept, top)
    assert not ascending or top < 60


def test_a_split_array_errs_by_what_its_lower_bits_count_for() -> None:
    """Closed form: a stray capacitance p makes the lower bits count for C_b / (C_b + 2^L + p)."""
    found = curves("sar:split=2,parasitic=1", 15, count=1)
    passed = (4 / 3) / (4 / 3 + 5)
    whole = 3 + passed * 5  # upper bits, lower bits, the unit at the end and the stray one
    steps = np.diff(np.concatenate([[-0.5], found.edges[0]]))
    upper, lower = 16 / whole, 16 * passed / whole
    np.testing.assert_allclose(steps, ([lower] * 3 + [upper - 3 * lower]) * 3 + [lower] * 3)


@pytest.mark.parametrize("text", ["mismatch=0.06,comparator=0.7", "amplifier=0.02,comparator=9"])
@pytest.mark.parametrize("kind", ["pipeline", "cyclic"])
@pytest.mark.parametrize("top", [1, 14, 15, 63])
def test_stages_hand_on_what_is_left(kind: str, text: str, top: int) -> None:
    bits, adc = top.bit_length(), parse_adc(f"{kind}:{text}")
    error, lost, offset = (getattr(adc, n) for n in ("mismatch", "amplifier", "comparator"))
    if kind == "pipeline":
        c = 1 + error * normals("mismatch", 3, bits - 1, 2)
        shifts = normals("comparator", 3, bits, 2)
    else:
        c = np.repeat(1 + error * normals("mismatch", 3, 1, 2), bits - 1, axis=1)
        pair = np.repeat(normals("comparator", 3, 1, 2), bits - 1, axis=1)
        shifts = np.concatenate([pair, normals("last", 3, 1, 2)], axis=1)
    found, half = curves(f"{kind}:{text}", top), 2.0 ** (bits - 1)
    v = inputs(top)
    for converter, codes in enumerate(converted(found, v)):
        shift = offset * shifts[converter] / half
        for current, code in zip(v.tolist(), codes.tolist(), strict=True):
            left, total = (current + 0.5 - half) / half, 0
            for stage in range(bits - 1):
                c1, c2 = c[converter, stage]
                low, high = shift[stage, 0] - 0.25, shift[stage, 1] + 0.25
                digit = int(left >= low) + int(left >= high) - 1
                left = ((1 + c2 / c1) * left - digit * c2 / c1) / (1 + lost * (c1 + c2) / c1)
                total = 2 * total + digit
            total += 0 if left >= shift[-1, 0] else -1
            assert code == min(max(total + int(half), 0), top)


def test_comparators_of_stages_are_made_good_within_a_quarter() -> None:
    """Offsets up to a quarter of the reference change nothing but for the last comparator's."""
    found, ideal = curves("pipeline:comparator=4", 255, seed=5), np.arange(255) + 0.5
    last = 4 * normals("comparator", 3, 8, 2, seed=5)[:, -1, 0]
    v = inputs(255)
    within = (v > 0) & (v < 255)
    for codes, shift in zip(converted(found, v), last, strict=True):
        off = codes[within] - np.searchsorted(ideal, v[within], side="right")
        assert np.abs(off).max() <= math.ceil(abs(shift) / 128)


def test_a_wrong_gain_of_a_stage_makes_codes_fall() -> None:
    found = curves("pipeline:mismatch=0.1", 63)
    steps = np.diff(found.codes, axis=1)
    assert steps.min() < 0 < steps.max()


def test_columns_of_a_tile_share_its_ramp() -> None:
    found = curves("ramp:slope=0.05,curvature=2,comparator=0.5", 15, count=5)
    slope, bend = normals("slope", 3, 1), normals("curvature", 3, 1)
    own = normals("comparator", 5, 1)
    ideal = np.arange(15) + 0.5
    for converter in range(5):
        tile, x = converter // 2, ideal / 15
        expected = ideal * (1 + 0.05 * slope[tile]) + 2 * bend[tile] * 4 * x * (1 - x)
        np.testing.assert_allclose(
            found.edges[converter], np.maximum.accumulate(expected + 0.5 * own[converter])
        )


def test_delays_add_up() -> None:
    """The variance of edge k is delay^2 (k - 3/4); 4000 lines know it to 12 % at five sigma."""
    found = curves("time-based:delay=0.02", 15, count=4000)
    spread = found.edges.var(axis=0) / 0.02**2
    np.testing.assert_allclose(spread, np.arange(1, 16) - 0.75, rtol=5 * math.sqrt(2 / 4000))


def test_gain_turns_about_no_current_and_offset_shifts() -> None:
    found = curves("ideal:gain=0.1,offset=0.7", 14, zero=7)
    g, o = 1 + 0.1 * normals("gain", 3, 1), 0.7 * normals("offset", 3, 1)
    read = (found.edges - 7) * g + 7 + o  # what the quantiser sees of a current at the edge
    np.testing.assert_allclose(read, [np.arange(14) + 0.5] * 3, rtol=1e-6)


def test_widths_vary_between_ends_that_hold() -> None:
    found = curves("ideal:dnl=0.3", 255, count=200)
    np.testing.assert_allclose(found.edges[:, [0, -1]], [[0.5, 254.5]] * 200)
    widths = np.diff(found.edges, axis=1)
    # of a normal below -1/0.3, which is cut, one in 2300; five sigma of 50800 widths
    np.testing.assert_allclose(widths.std(), 0.3, rtol=0.02)
    z = normals("dnl", 200, 254)
    plain = np.maximum(1 + 0.3 * z, 0)
    sums = np.cumsum(plain + 1 - plain.mean(axis=1, keepdims=True), axis=1)
    np.testing.assert_allclose(found.edges[:, 1:], np.maximum.accumulate(0.5 + sums, axis=1))


def test_bends_are_zero_at_the_ends_and_as_high_as_they_say() -> None:
    found = curves("ideal:inl=2", 1000, count=2)
    draws = Draw(3, 0, "inl")
    bow, curl = (draws.normal((2, 1))[:, 0].astype(np.float64) for _ in range(2))
    moved = found.edges - (np.arange(1000) + 0.5)
    np.testing.assert_allclose(moved[:, [0, -1]], 0, atol=0.05)
    x = (np.arange(1000) + 0.5) / 1000
    even, odd = (moved + moved[:, ::-1]) / 2, (moved - moved[:, ::-1]) / 2
    np.testing.assert_allclose(even, 2 * bow[:, None] * (4 * x * (1 - x)), atol=1e-4)
    np.testing.assert_allclose(np.abs(odd).max(axis=1), 2 * np.abs(curl), rtol=1e-3)


def test_an_error_more_leaves_the_others_draws_alone() -> None:
    one = curves("sar:mismatch=0.02", 255).edges
    two = curves("sar:mismatch=0.02,offset=1", 255).edges
    np.testing.assert_allclose(np.diff(one, axis=1), np.diff(two, axis=1), atol=1e-9)


def test_kinds_are_written_as_they_are_read() -> None:
    for text in ("ideal", "flash:comparator=0.3", "sar:noise=0.5,mismatch=0.01,split=4"):
        assert adc_text(parse_adc(text)) == text
    held = Periphery(adc_bits=6, adc=parse_adc("sar:mismatch=0.01"), adc_share=4)
    assert Periphery.model_validate(held.model_dump(mode="json")) == held
    plain = Periphery(adc_bits=6).model_dump()
    assert not {"adc", "adc_share", "adc_rounding"} & plain.keys()


def test_the_cost_model_calls_kinds_the_same() -> None:
    """All but the survey's regression, which is over published chips of any kind."""
    assert COMPONENTS["adc"].keys() - {"survey"} <= KINDS.keys()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sigma", "'sigma' is unknown|unknown"),
        ("sar:mismach=0.1", "did you mean 'mismatch'"),
        ("sar:mismatch=0.5", "mismatch: .*0.1"),
        ("flash:comparator=-1", "comparator: .*greater than or equal to 0"),
        ("ideal:noise", "is not KEY=VALUE"),
        ("sar:type=flash", "'type' is given twice"),
    ],
)
def test_what_is_wrong_with_a_kind_is_one_line(text: str, told: str) -> None:
    with pytest.raises(OptionError, match=told) as caught:
        parse_adc(text)
    assert "\n" not in str(caught.value)


def test_errors_of_an_adc_that_is_not_there_are_refused() -> None:
    with pytest.raises(OptionError, match="adc needs adc_bits"):
        Periphery(adc=parse_adc("sar:mismatch=0.01"))
    with pytest.raises(OptionError, match="adc_share needs adc_bits"):
        Periphery(adc_share=2)
