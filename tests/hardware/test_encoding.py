"""Weights to codes to levels and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from nvmc.hardware.encoding import Encoding, Layout, quantize, scale_of
from nvmc.hardware.tiling import Channels, Place, mean_magnitude

ENCODINGS: list[Encoding] = ["sign-magnitude", "differential", "offset", "balanced"]
BITS = [(h, b) for h in range(1, 17) for b in range(1, h + 1)]


def some_codes(bits: int) -> np.ndarray:
    """Every code up to 8 bits; above, the ends, the middle, powers of two and a sample."""
    top = 2**bits - 1
    if bits == 1:
        return np.array([-1, 1])
    if bits <= 8:
        return np.arange(-top, top + 1)
    powers = 2 ** np.arange(bits)
    sampled = np.random.default_rng(bits).integers(-top, top + 1, 500)
    return np.concatenate([[-top, -1, 0, 1, top], powers, -powers, powers - 1, sampled])


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("bits", range(1, 17))
def test_slices_recombine_to_the_code(bits: int, encoding: Encoding):
    """Exactly: codes are below 2^17, and float32 holds whole numbers to 2^24."""
    codes = some_codes(bits)
    for cell in range(1, bits + 1):
        layout = Layout(bits, cell, encoding)
        levels = layout.levels(codes)
        assert levels.shape == (layout.planes, codes.size) and levels.dtype == np.float32
        assert np.array_equal(levels, np.rint(levels))
        tops = 2.0 ** np.maximum(layout.plane_bits, 1) - 1  # of one bit, cells that store none
        assert np.all((levels >= 0) & (levels <= tops[:, None])), layout
        assert np.array_equal(layout.combine(levels, layout.sign(codes)), codes), layout


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_bits_of_all_planes_are_the_stored_bits(encoding: Encoding):
    for bits, cell in BITS[1:]:
        layout = Layout(bits, cell, encoding)
        stored = bits + 1 if encoding == "offset" else bits
        assert layout.plane_bits.sum() == stored * layout.polarities, layout
        assert layout.plane_bits.min() >= 1 and layout.plane_bits.max() <= cell, layout
        assert layout.planes == layout.slices * layout.polarities == layout.coefficients.size


def test_levels_are_equation_12():
    """-11 = -(2 * 4 + 3) in slices of two bits; 11 + 15 = 26 = 1 * 16 + 2 * 4 + 2."""
    code = np.array([-11], np.int8)
    assert Layout(4, 2, "sign-magnitude").levels(code).tolist() == [[3], [2]]
    assert Layout(4, 2, "differential").levels(code).tolist() == [[0], [3], [0], [2]]
    assert Layout(4, 2, "offset").levels(-code).tolist() == [[2], [2], [1]]
    assert Layout(4, 2, "differential").coefficients.tolist() == [1, -1, 4, -4]


def test_balanced_pairs_lie_on_both_sides_of_the_middle():
    """11 = 2 * 4 + 3: the digit 3 is (3, 0), 2 is (2, 0), 1 is (2, 1) and 0 is (1, 1)."""
    layout = Layout(4, 2, "balanced")
    assert layout.levels(np.array([11, -11, 4, 0])).tolist() == [
        [3, 0, 1, 1],
        [0, 3, 1, 1],
        [2, 0, 2, 1],
        [0, 2, 1, 1],
    ]
    codes = np.arange(-15, 16)
    wide = Layout(4, 4, "balanced").levels(codes)
    assert wide[0].tolist() == [(15 + code) // 2 for code in range(-15, 16)]
    assert wide[1].tolist() == [(15 - code) // 2 for code in range(-15, 16)]
    real = Layout(None, 4, "balanced", 3.0).levels(np.array([-3.0, 0.5]))
    assert real.tolist() == [[0.0, 1.75], [3.0, 1.25]]


@pytest.mark.parametrize("bits", range(2, 16))
def test_an_offset_array_may_have_one_cell_a_weight(bits: int):
    """Its levels are code + 2^H - 1: of 3 bits, -7 ... 7 on 0 ... 14."""
    layout, top = Layout(bits, bits + 1, "offset"), 2**bits - 1
    codes = some_codes(bits)
    levels = layout.levels(codes)
    assert (layout.planes, layout.crossbars, layout.highest_target) == (1, 1, 2 * top)
    assert np.array_equal(levels, (codes + top)[None])
    assert np.array_equal(layout.combine(levels, layout.sign(codes)), codes)
    assert layout.plane_bits.tolist() == [bits + 1]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_most_negative_code_of_a_type_does_not_overflow(encoding: Encoding, dtype: type):
    bits = {np.int8: 7, np.int16: 15, np.int32: 16}[dtype]
    codes = np.array([-(2**bits - 1), 2**bits - 1], dtype)
    layout = Layout(bits, min(4, bits), encoding)
    assert layout.combine(layout.levels(codes), layout.sign(codes)).tolist() == codes.tolist()


def test_the_sign_of_a_zero_code_is_plus():
    codes = np.array([-2, 0, 3])
    assert Layout(4, 2, "sign-magnitude").sign(codes).tolist() == [-1, 1, 1]
    assert Layout(4, 2, "offset").sign(codes).tolist() == [1, 1, 1]
    assert Layout(4, 2, "differential").sign(codes).tolist() == [1, 1, 1]


finite = st.floats(-1e6, 1e6, allow_subnormal=False, width=32)
weights = arrays(np.float32, array_shapes(min_dims=2, max_dims=4, max_side=5), elements=finite)


def channels_of(weight: np.ndarray) -> Channels:
    """Along the first axis, as of a convolution."""
    return Channels(Place("CrossbarConv"), weight.shape)


@given(weights, st.integers(2, 16), st.booleans())
def test_quantisation_error_is_at_most_half_a_step(weight, bits: int, per_channel: bool):
    """In float64 the quotient and the product round to 2^-53 each, of codes below 2^16."""
    scale = scale_of(weight, bits, channels_of(weight) if per_channel else None)
    codes = quantize(weight, scale, bits)
    restored = codes.astype(scale.dtype) * scale
    assert np.all(np.abs(restored - weight) <= scale * (0.5 + 2**16 * 2.0**-51))
    assert np.abs(codes.astype(int)).max() <= 2**bits - 1


@given(weights, st.integers(2, 16))
def test_the_largest_weight_of_a_channel_takes_the_largest_code(weight, bits: int):
    scale = scale_of(weight, bits, channels_of(weight))
    assert scale.shape == (weight.shape[0],) + (1,) * (weight.ndim - 1)
    codes = np.abs(quantize(weight, scale, bits).astype(int)).reshape(weight.shape[0], -1)
    filled = np.abs(weight).reshape(weight.shape[0], -1).max(axis=1) > 0
    assert np.array_equal(codes.max(axis=1), np.where(filled, 2**bits - 1, 0))


@given(weights, st.integers(1, 16))
def test_quantising_twice_is_quantising_once(weight, bits: int):
    scale = scale_of(weight, bits)
    codes = quantize(weight, scale, bits)
    restored = codes.astype(scale.dtype) * scale
    assert np.array_equal(quantize(restored, scale, bits), codes)
    again = scale_of(restored, bits)
    np.testing.assert_allclose(again, scale, rtol=2**-51)


@pytest.mark.parametrize("bits", [2, 4, 16])
@pytest.mark.parametrize("per_channel", [False, True])
def test_zeros_are_zero(bits: int, per_channel: bool):
    weight = np.zeros((3, 4), np.float32)
    channels = channels_of(weight) if per_channel else None
    scale = scale_of(weight, bits, channels)
    assert not scale.any() and not quantize(weight, scale, bits).any()
    weight[1, 2] = -2.0  # the other channels stay zero, without dividing by zero
    scale = scale_of(weight, bits, channels)
    codes = quantize(weight, scale, bits)
    assert codes[1, 2] == -(2**bits - 1) and np.count_nonzero(codes) == 1
    assert np.array_equal(codes.astype(scale.dtype) * scale, weight)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_float_type_gives_the_same_codes(dtype: type):
    """Sixty-fourths up to 2 are exact in all three."""
    weight = np.arange(-128, 129).astype(dtype) / 64
    for bits in (2, 4, 8, 16):
        scale = scale_of(weight, bits)
        assert scale.dtype == np.float64
        expected = np.rint(np.arange(-128, 129) / 128 * (2**bits - 1))
        # Where the exact quotient is a tie, the division may round to either side of it.
        ties = np.abs(np.arange(-128, 129) * (2**bits - 1) % 128) == 64
        assert np.array_equal(quantize(weight, scale, bits)[~ties], expected[~ties])


@pytest.mark.parametrize(
    ("bits", "dtype"), [(7, np.int8), (8, np.int16), (15, np.int16), (16, np.int32)]
)
def test_codes_come_in_the_smallest_type(bits: int, dtype: type):
    weight = np.array([-1.0, 1.0])
    codes = quantize(weight, scale_of(weight, bits), bits)
    assert codes.dtype == dtype and codes.tolist() == [-(2**bits - 1), 2**bits - 1]


def test_a_float32_step_keeps_the_codes_in_range():
    """max|W| / float32(s) may exceed 2^H - 1 by an ulp, and must not wrap around."""
    rng = np.random.default_rng(0)
    for bits in (7, 15, 16):
        weight = rng.standard_normal(1000).astype(np.float32)
        codes = quantize(weight, scale_of(weight, bits).astype(np.float32), bits)
        assert np.abs(codes.astype(int)).max() == 2**bits - 1


# --- one bit -----------------------------------------------------------------------------------


def test_one_bit_is_the_sign_in_every_encoding():
    """No zero; offset needs one cell, since its two levels are the two codes."""
    codes = np.array([-1, 1], np.int8)
    expected = {
        "sign-magnitude": ([[1, 1]], [-1, 1], [1], 0, [0]),
        "differential": ([[0, 1], [1, 0]], [1, 1], [1, -1], 0, [1, 1]),
        "balanced": ([[0, 1], [1, 0]], [1, 1], [1, -1], 0, [1, 1]),
        "offset": ([[0, 1]], [1, 1], [2], 1, [1]),
    }
    for encoding in ENCODINGS:
        layout = Layout(1, 1, encoding)
        levels, sign, coefficients, shift, bits = expected[encoding]
        assert layout.levels(codes).tolist() == levels
        assert layout.sign(codes).tolist() == sign
        assert layout.coefficients.tolist() == coefficients
        assert (layout.shift, layout.plane_bits.tolist()) == (shift, bits)
        assert layout.planes == len(levels)


@given(weights, st.booleans())
def test_codes_of_one_bit_are_signs_and_their_scale_the_mean(weight, per_channel: bool):
    """The scale that minimises |W - s q|^2 (XNOR-Net, Eq. 6); float64 sums of n terms are good to
    n 2^-53, and there are at most 625."""
    scale = scale_of(weight, 1, channels_of(weight) if per_channel else None)
    codes = quantize(weight, scale.astype(np.float32), 1)
    assert codes.dtype == np.int8 and np.array_equal(codes, np.where(weight < 0, -1, 1))
    axes = tuple(range(1, weight.ndim)) if per_channel else None
    exact = np.abs(weight.astype(np.float64)).mean(axis=axes, keepdims=per_channel)
    np.testing.assert_allclose(scale, exact, rtol=625 * 2**-52)


@given(weights, arrays(np.float32, 5, elements=st.floats(0, 1e6, width=32)))
def test_weights_of_one_magnitude_a_channel_are_exact_at_one_bit(weight, magnitudes):
    """The mean of n equal float32 numbers is that number: sums up to n = 2^29 are exact."""
    alpha = magnitudes[: len(weight)].reshape(-1, *(1,) * (weight.ndim - 1))
    binary = np.where(weight < 0, -alpha, alpha).astype(np.float32)
    scale = scale_of(binary, 1, channels_of(binary)).astype(np.float32)
    assert np.array_equal(scale, alpha)
    assert np.array_equal(quantize(binary, scale, 1) * scale, binary)


@pytest.mark.parametrize("place", [Place("CrossbarConv", 2), Place("CrossbarConvTranspose", 2)])
def test_numpy_and_torch_have_the_same_mean_bit_for_bit(place: Place):
    weight = np.random.default_rng(3).standard_normal((6, 5, 3, 3)).astype(np.float32)
    channels, same = Channels(place, weight.shape), torch.tensor(weight)
    assert np.array_equal(channels.mean(weight), channels.mean(same).numpy())
    assert mean_magnitude(weight) == mean_magnitude(same).item()
    for number in range(channels.count):
        chosen = np.broadcast_to(channels.numbers == number, weight.shape)
        found = np.broadcast_to(channels.mean(weight), weight.shape)[chosen]
        assert np.ptp(found) == 0
        np.testing.assert_allclose(found[0], np.abs(weight[chosen]).mean(), rtol=1e-6)


@pytest.mark.parametrize("top", [1.0, 3.0])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_analog_levels_recombine(encoding: Encoding, top: float):
    """One rounding of c + top and one back: at most an ulp of 2 top each way, of either cell."""
    layout = Layout(None, 1, encoding, top)
    steps = np.linspace(-top, top, 1001, dtype=np.float32)
    levels = layout.levels(steps)
    assert levels.shape == (layout.polarities, 1001)
    assert levels.min() >= 0 and levels.max() <= top
    error = np.abs(layout.combine(levels, layout.sign(steps)) - steps)
    summed = encoding in ("offset", "balanced")
    assert error.max() <= (2 * np.spacing(np.float32(2 * top)) if summed else 0)
