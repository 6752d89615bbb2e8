"""What rounding a weight to codes changes."""

from __future__ import annotations

import numpy as np
import pytest

from nvmc.hardware.encoding import quantize, scale_of
from nvmc.hardware.tiling import Channels, Place
from nvmc.passes.graph.rounding import rounding_of

PLACE = Place("CrossbarConv")
SIGNS = np.where(np.random.default_rng(0).random((4, 3, 3, 3)) < 0.5, -1, 1).astype(np.float32)
ALPHA = np.array([1, 0.5, 0.25, 0.125], np.float32).reshape(4, 1, 1, 1)


def rounded(weight, bits: int, per_channel: bool = False):
    channels = Channels(PLACE, weight.shape)
    scale = scale_of(weight, bits, channels if per_channel or bits == 1 else None)
    scale = scale.astype(np.float32)
    return rounding_of(weight, quantize(weight, scale, bits), scale, bits, channels)


def test_the_error_is_that_of_norms():
    weight = np.random.default_rng(1).standard_normal((4, 3, 3, 3)).astype(np.float32)
    for bits in (1, 3, 8):
        channels = Channels(PLACE, weight.shape)
        scale = scale_of(weight, bits, channels).astype(np.float32)
        codes = quantize(weight, scale, bits)
        off = np.linalg.norm(weight - codes * scale.astype(np.float64)) / np.linalg.norm(weight)
        found = rounding_of(weight, codes, scale, bits, channels)
        assert found.error == pytest.approx(off, rel=1e-6)
        assert not found.binary and not found.zeroed and not found.zeros


def test_one_magnitude_a_channel_is_binary_and_exact_at_one_bit():
    found = rounded(SIGNS * ALPHA, 1)
    assert (found.binary, found.error, found.channels) == (True, 0.0, 4)
    assert rounded(SIGNS * np.float32(0.3), 1).binary  # one magnitude for all of them, too
    assert not rounded(SIGNS[:, :1, :1, :1].copy(), 1).binary  # one weight a channel tells nothing
    assert not rounded(np.zeros_like(SIGNS), 1).binary


def test_channels_that_round_to_zero_are_counted():
    """Two bits of one scale per tensor: codes round(3 alpha) are 3, 2, 1 and 0."""
    found = rounded(SIGNS * ALPHA, 2)
    assert found.binary and found.zeroed == 1
    errors = np.array([0, 0.5 - 2 / 3, 0.25 - 1 / 3, 0.125])
    expected = np.linalg.norm(errors) / np.linalg.norm(ALPHA.ravel())
    assert found.error == pytest.approx(expected, rel=1e-6)
    assert rounded(SIGNS * ALPHA, 2, per_channel=True).zeroed == 0


def test_zeros_are_counted_where_one_bit_has_none():
    ternary = SIGNS * ALPHA
    ternary[:, 0] = 0
    found = rounded(ternary, 1)
    assert found.zeros == 4 * 9 and not found.binary
    assert rounded(ternary, 2, per_channel=True).zeros == 0
    # codes 3, 0 and -3 of two bits: exact but for one rounding of alpha / 3 and one of the product
    assert rounded(ternary, 2, per_channel=True).error < 2**-23
