"""Chips that are noisy in part: the numbers of the whole chip where noisy, on target elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Target, load_device, parse_noise
from nvmc.hardware.restriction import AblatedChip, Selection
from nvmc.rng import stream

NOISE = [
    parse_noise("stuck-at:p_low=0.05,p_high=0.05"),
    parse_noise("bitflip:p=0.03"),
    parse_noise("multiplicative:sigma=0.1"),
    parse_noise("programming:sigma=0.05"),
]
NAMES = ("programming", "stuck-at", "bitflip", "multiplicative", "programming#1")


def array(encoding: Any = "sign-magnitude", name: str = "w") -> Array:
    target = Target.of(
        load_device("rram4").with_noise(NOISE), weight_bits=5, cell_bits=2, encoding=encoding
    )
    codes = stream(0, 0, "codes").integers(-31, 32, (16, 17)).astype(np.int8)
    return Array(name, codes, np.float32(0.125).reshape(()), target)


def chip(held: Array) -> Chip:
    return Chip.of(held.target, 4, 2, sigma=0.2)


ENCODINGS = ["sign-magnitude", "differential", "offset", "balanced"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_everything_is_the_whole_chip(encoding: str) -> None:
    held = array(encoding)
    slices = frozenset(range(held.target.layout.slices))
    everything = Selection(frozenset(["w"]), slices, True, frozenset(NAMES))
    whole = chip(held).program(held)
    for only in (Selection(), everything):
        partial = AblatedChip.within(chip(held), only)
        assert partial.active == NAMES
        found = partial.program(held)
        for name in ("levels", "sign", "weights"):
            assert np.array_equal(getattr(found, name), getattr(whole, name))


@pytest.mark.parametrize(
    "only",
    [
        Selection(arrays=frozenset()),
        Selection(arrays=frozenset(["v"])),
        Selection(sources=frozenset()),
        Selection(slices=frozenset(), whole=False),
    ],
)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_nothing_is_the_ideal_chip(encoding: str, only: Selection) -> None:
    held = array(encoding)
    found = AblatedChip.within(chip(held), only).program(held)
    assert np.array_equal(found.levels, held.cells.targets)
    assert np.array_equal(found.sign, held.sign)
    # the recombination of whole levels is exact, and so are steps of 1/8
    assert np.array_equal(found.weights, held.ideal)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_slice_is_noisy_alone(encoding: str) -> None:
    held = array(encoding)
    layout = held.target.layout
    whole = chip(held).program(held)
    for i in range(layout.slices):
        planes = np.arange(layout.planes) // layout.polarities == i
        alone = AblatedChip.within(chip(held), Selection(slices=frozenset([i]), whole=False))
        found = alone.program(held)
        assert np.array_equal(found.levels[planes], whole.levels[planes])
        assert np.array_equal(found.levels[~planes], held.cells.targets[~planes])
        assert np.array_equal(found.sign, held.sign)
        expected = layout.combine(found.levels, held.sign) * held.unit
        assert np.array_equal(found.weights, expected)


def test_what_sits_in_no_slice_stays_when_a_slice_is_taken_out() -> None:
    held = array()
    whole = chip(held).program(held)
    found = AblatedChip.within(chip(held), Selection(slices=frozenset([1, 2]))).program(held)
    assert np.array_equal(found.sign, whole.sign)
    assert not np.array_equal(found.sign, held.sign)
    before = held.target.layout.combine(found.levels, found.sign) * held.unit
    factor = whole.weights / (held.target.layout.combine(whole.levels, whole.sign) * held.unit)
    # two float32 roundings in each of the two quotients and products
    np.testing.assert_allclose(found.weights, before * factor, rtol=8 * 2.0**-24)


@pytest.mark.parametrize("name", NAMES)
def test_a_source_left_alone_draws_what_it_always_draws(name: str) -> None:
    """As on a chip whose other sources are silent but listed, so that names stay."""
    held = array()
    index = NAMES.index(name)
    sources = chip(held).sources
    silent = {
        "programming": parse_noise("programming:sigma=0"),
        "stuck-at": parse_noise("stuck-at:p_low=0"),
        "bitflip": parse_noise("bitflip:p=0"),
        "multiplicative": parse_noise("multiplicative:sigma=0"),
    }
    muted = tuple(s if i == index else silent[s.type] for i, s in enumerate(sources))
    expected = Chip(4, 2, muted).program(held)
    only = AblatedChip.within(chip(held), Selection(sources=frozenset([name])))
    assert only.active == (name,)
    found = only.program(held)
    assert np.array_equal(found.weights, expected.weights)
    assert not np.array_equal(found.weights, held.ideal)


def test_read_noise_follows_the_selection() -> None:
    target = Target.of(
        load_device("rram4").with_noise([parse_noise("read:basis=level,sigma=0.1")]),
        weight_bits=4,
        cell_bits=2,
    )
    held = Array("w", np.arange(-3, 3).reshape(2, 3), np.float32(1).reshape(()), target)
    whole = Chip.of(target, 0, 0, 0.1)
    levels = whole.program(held).levels
    spread = whole.read_spread(held, levels)
    assert spread is not None and np.all(spread > 0)
    assert (
        AblatedChip.within(whole, Selection(arrays=frozenset())).read_spread(held, levels) is None
    )
    quiet = AblatedChip.within(whole, Selection(sources=frozenset(["programming"])))
    assert quiet.read_spread(held, levels) is None and not quiet.needs_circuit
    upper = AblatedChip.within(whole, Selection(slices=frozenset([1]))).read_spread(held, levels)
    assert upper is not None
    assert np.array_equal(upper[1], spread[1]) and not upper[0].any()
