"""Streams: a chip is a name, not a moment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvmc.rng import Draw, stream
from reference_chip import stream as recipe

KEY = (7, 3, "conv1.weight", "programming")
OTHERS = [
    (8, 3, "conv1.weight", "programming"),
    (7, 4, "conv1.weight", "programming"),
    (7, 3, "conv2.weight", "programming"),
    (7, 3, "conv1.weight", "additive"),
    (7, 3, "conv1.weightprogramming"),
    (7, 3, "programming", "conv1.weight"),
    (3, 7, "conv1.weight", "programming"),
]

GOLDEN_RAW = [6924899763491654851, 16327234918463038607]
GOLDEN_NORMAL = [0.3539053797721863, -0.6754515767097473, 0.25182896852493286]


@given(
    seed=st.integers(0, 2**128),
    chip=st.integers(0, 2**40),
    names=st.lists(st.text(max_size=20), max_size=3),
)
def test_stream_follows_the_documented_recipe(seed: int, chip: int, names: list[str]):
    ours, theirs = stream(seed, chip, *names), recipe(seed, chip, *names)
    assert np.array_equal(ours.integers(2**63, size=8), theirs.integers(2**63, size=8))


def test_first_numbers_do_not_change():
    """Read off once with NumPy 2.4; a change redraws every chip anyone ever named."""
    raw = stream(*KEY).bit_generator.random_raw(2)
    assert [int(word) for word in raw] == GOLDEN_RAW
    assert Draw(*KEY).normal((3,)).tolist() == pytest.approx(GOLDEN_NORMAL, rel=2**-23)


def test_same_key_gives_the_same_bits():
    first, second = Draw(*KEY), Draw(*KEY)
    assert np.array_equal(first.normal((5, 7)), second.normal((5, 7)))
    assert np.array_equal(first.uniform((5, 7)), second.uniform((5, 7)))


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_another_key_gives_independent_numbers(other: tuple):
    """Correlation of n independent pairs is N(0, 1/n): 5 sigma is passed once in 1.7 million."""
    n = 100_000
    a, b = Draw(*KEY).normal((n,)), Draw(*other).normal((n,))
    assert not np.any(a[:100] == b[:100])
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(n)
    assert abs(np.corrcoef(a[1:], b[:-1])[0, 1]) < 5 / np.sqrt(n - 1)


def test_pieces_of_a_draw_are_the_draw():
    """Sources may draw plane by plane: an odd first piece leaves half a Philox word over."""
    whole, pieces = Draw(*KEY).normal((15,)), Draw(*KEY)
    assert np.array_equal(whole, np.concatenate([pieces.normal((5,)), pieces.normal((10,))]))


def test_global_generator_is_neither_read_nor_moved():
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()  # noqa: NPY002
    first = Draw(*KEY).normal((4,))
    after = np.random.get_state()  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(first, Draw(*KEY).normal((4,)))


def test_uniforms_resolve_rare_failures():
    """In float32 one draw in 2^24 is exactly 0, below any failure rate; in float64 none is here."""
    u = Draw(*KEY).uniform((1 << 22,))
    assert u.dtype == np.float64 and 0 <= u.min() and u.max() < 1
    assert np.any(u * 2**24 != np.floor(u * 2**24))
