"""Random numbers of stochastic networks: named, and of the law they should have."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from nvmc.compiled.masks import ChipMasks, Mask

KEEP = Mask("drop", "m", (0, 3, 5), 0, "float32", "keep", rate=0.3)
NORMAL = Mask("noise", "n", (0, 6), 0, "float32", "normal", mean=2.0, scale=0.5)
UNIFORM = Mask("draw", "u", (0, 7), 0, "float32", "uniform", low=-1.0, high=3.0)


def words(seed: int, chip: int, names: tuple[str, ...], number: int, image: int, blocks: int):
    """The random words of one image, from Philox alone: what docs/simulate.md says."""
    key = [chip]
    for name in names:
        digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
        key += [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(2, np.uint64)
    start = [image * blocks, number, 0, 0]
    return np.random.Philox(key=state, counter=start).random_raw(4 * blocks).astype("<u8")


def drawn(mask: Mask, number: int, first: int, count: int, chip: int | None = 4) -> np.ndarray:
    return ChipMasks([mask], 9, chip).feed(number, first, count)[mask.input]


def test_a_mask_is_what_its_words_say() -> None:
    """15 numbers of 16 bits fill one block of 256."""
    for number, image in ((0, 0), (3, 11)):
        bits = words(9, 4, ("drop", "mask"), number, image, 1).view("<u2")[:15]
        expected = np.where(bits >= round(0.3 * 65536), 1 / 0.7, 0).astype(np.float32)
        assert np.array_equal(drawn(KEEP, number, image, 1).ravel(), expected)


def test_uniforms_are_what_their_words_say() -> None:
    bits = words(9, 4, ("draw", "mask"), 2, 5, 1).view("<u4")[:7]
    expected = np.float32(-1) + np.float32(4) * ((bits >> 8) * np.float32(2**-24))
    assert np.array_equal(drawn(UNIFORM, 2, 5, 1).ravel(), expected.astype(np.float32))


def test_normals_are_numpys_of_the_image() -> None:
    """NumPy's ziggurat on the stream of the node, from counter (0, pass, 0, image) on."""
    key = [4]
    for name in ("noise", "mask"):
        digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
        key += [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]
    state = np.random.SeedSequence(9, spawn_key=key).generate_state(2, np.uint64)
    philox = np.random.Philox(key=state, counter=[0, 3, 0, 8])
    expected = 2 + 0.5 * np.random.Generator(philox).standard_normal(6, dtype=np.float32)
    assert np.array_equal(drawn(NORMAL, 3, 8, 1)[0], expected.astype(np.float32))


@pytest.mark.parametrize("mask", [KEEP, UNIFORM, NORMAL, replace(KEEP, shape=(3, 0, 40), axis=1)])
def test_an_image_draws_the_same_in_any_batch(mask: Mask) -> None:
    assert mask.axis is not None
    whole = np.moveaxis(drawn(mask, 1, 0, 20), mask.axis, 0)
    for first, count in ((0, 1), (7, 13), (19, 1)):
        part = np.moveaxis(drawn(mask, 1, first, count), mask.axis, 0)
        assert np.array_equal(part, whole[first : first + count])
    assert len(np.unique(whole.reshape(20, -1), axis=0)) == 20


def test_names_tell_numbers_apart() -> None:
    """Seed, chip, the ideal chip, pass and node: each changes every mask."""
    wide = replace(KEEP, shape=(0, 400))
    found = [
        drawn(wide, 0, 0, 1),
        drawn(wide, 1, 0, 1),
        drawn(wide, 0, 0, 1, chip=0),
        drawn(wide, 0, 0, 1, chip=None),
        drawn(replace(wide, node="other"), 0, 0, 1),
        ChipMasks([wide], 8, 4).feed(0, 0, 1)["m"],
    ]
    kept = np.array([(mask > 0).ravel() for mask in found], dtype=float)
    # Independent masks of 400 numbers correlate by 1/sqrt(400) = 0.05; 5 standard errors.
    correlations = np.corrcoef(kept)[np.triu_indices(len(kept), 1)]
    assert np.abs(correlations).max() < 0.25


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.3, 0.5, 0.97])
def test_law_of_dropout(rate: float) -> None:
    """0 at the rate, else 1 / (1 - rate), and independent of the neighbour."""
    mask = replace(KEEP, shape=(0, 1000), rate=rate)
    values = drawn(mask, 0, 0, 1000)
    assert set(np.unique(values)) <= {0, np.float32(1 / (1 - rate))}
    dropped, n = np.mean(values == 0), values.size
    # 2^-17 by rounding the rate to 16 bits, and 5 standard errors of a binomial share.
    assert abs(dropped - rate) <= 2**-17 + 5 * np.sqrt(rate * (1 - rate) / n)
    pairs = np.mean((values[:, 1:] == 0) & (values[:, :-1] == 0))
    assert abs(pairs - rate**2) <= 2**-15 + 5 * np.sqrt(max(rate**2, 1 / n) / n)


def test_law_of_uniforms() -> None:
    values = drawn(replace(UNIFORM, shape=(0, 1000), low=0.0, high=1.0), 0, 0, 100)
    assert values.min() >= 0 and values.max() < 1
    assert np.array_equal(values * 2**24, np.round(values * 2**24))
    # Kolmogorov-Smirnov: 1.95 / sqrt(n) is exceeded once in a thousand.
    ordered, n = np.sort(values.ravel()), values.size
    assert np.max(np.abs(ordered - (np.arange(n) + 0.5) / n)) < 1.95 / np.sqrt(n)


def test_without_an_image_axis_a_pass_has_one_draw() -> None:
    mask = replace(UNIFORM, shape=(2, 3), axis=None)
    assert drawn(mask, 0, 0, 8).shape == (2, 3)
    assert np.array_equal(drawn(mask, 0, 0, 8), drawn(mask, 0, 16, 5))
    assert not np.array_equal(drawn(mask, 0, 0, 8), drawn(mask, 1, 0, 8))
