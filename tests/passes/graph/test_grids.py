"""Codes of quantised networks: kept where the target's bits hold them, else rounded and said."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nvmc import Target, compile_model, load_device
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.fold_batchnorm import FoldBatchnorm
from nvmc.passes.graph.grids import Fit, Grid, fit_grid, grid_of
from nvmc.passes.quantize_weights import QuantizeWeights
from onnx_text import proto_of

CODES = np.random.default_rng(2).integers(-127, 128, (6, 4))
STEPS = np.linspace(0.01, 0.05, 4).astype(np.float32)


def network(text: str, **stored: np.ndarray) -> ir.Model:
    model = ir.from_proto(proto_of(text, **stored))
    Canonicalize()(model)
    return model


def quantised(model: ir.Model, bits: int, per_channel: bool = False) -> tuple[np.ndarray, ...]:
    """Codes, scale and what is said of the only weight."""
    QuantizeWeights(bits, per_channel)(model)
    found = model.graph.initializers
    (codes,) = [v.const_value for k, v in found.items() if k.endswith(".codes")]
    (scale,) = [v.const_value for k, v in found.items() if k.endswith(".scale")]
    assert codes is not None and scale is not None
    return codes.numpy(), scale.numpy()


def told(model: ir.Model) -> str:
    (note,) = [
        node.metadata_props["nvmc.quantized-weight"]
        for node in model.graph
        if "nvmc.quantized-weight" in node.metadata_props
    ]
    return str(note)


PER_CHANNEL = """g (float[2,6] x) => (float[2,4] y) {
  w = DequantizeLinear <axis = 1> (q, s)
  y = MatMul (x, w)
}"""


@pytest.mark.parametrize("per_channel", [False, True])
def test_int8_per_channel_becomes_codes_of_8_bits_with_its_steps(per_channel: bool) -> None:
    model = network(PER_CHANNEL, q=CODES.astype(np.int8), s=STEPS)
    codes, scale = quantised(model, 8, per_channel)
    np.testing.assert_array_equal(codes, CODES)
    np.testing.assert_array_equal(scale, STEPS[None, :])
    assert "kept int8 per channel" in told(model)


def test_seven_bits_hold_the_codes_but_for_minus_128() -> None:
    narrow = network(PER_CHANNEL, q=CODES.astype(np.int8), s=STEPS)
    np.testing.assert_array_equal(quantised(narrow, 7)[0], CODES)
    wide = CODES.copy()
    wide[0, 0] = -128
    model = network(PER_CHANNEL, q=wide.astype(np.int8), s=STEPS)
    codes, scale = quantised(model, 7)
    assert np.abs(codes).max() == 127 and scale.shape == ()
    assert "refitted from int8 per channel to 7 bits" in told(model)


def test_fewer_bits_than_the_network_has_are_a_fit_of_the_float_weight() -> None:
    model = network(PER_CHANNEL, q=CODES.astype(np.int8), s=STEPS)
    codes, scale = quantised(model, 4, True)
    weight = CODES * STEPS.astype(np.float64)
    np.testing.assert_allclose(scale, np.abs(weight).max(0, keepdims=True) / 15, rtol=1e-6)
    np.testing.assert_array_equal(codes, np.rint(weight / scale))
    assert "refitted from int8 per channel to 4 bits" in told(model)


def test_int4_fills_the_codes_of_8_bits_without_rounding() -> None:
    four = np.clip(CODES, -8, 7)
    model = network(PER_CHANNEL, q=four.astype(ml_dtypes.int4), s=STEPS)
    codes, scale = quantised(model, 8)
    np.testing.assert_array_equal(codes, four * 31)  # 255 // 8
    np.testing.assert_allclose(codes * scale, four * STEPS, rtol=2**-22)
    assert "kept int4 per channel, codes x31" in told(model)


@pytest.mark.parametrize("zero", [False, True])
def test_one_bit_keeps_signs_but_no_zero(zero: bool) -> None:
    signs = np.where(CODES < 0, -1, 1)
    signs[2, 1] = 0 if zero else 1
    model = network(PER_CHANNEL, q=signs.astype(np.int8), s=STEPS)
    codes, scale = quantised(model, 1)
    assert set(codes.ravel()) == {-1, 1}
    assert ("refitted from int8 per channel to 1 bit" if zero else "kept int8") in told(model)
    if not zero:
        np.testing.assert_array_equal(codes * scale, signs * STEPS)


def test_codes_of_three_bits_in_a_wider_type_fill_the_range_too() -> None:
    three = np.clip(CODES, -4, 3)
    codes, _ = quantised(network(PER_CHANNEL, q=three.astype(np.int8), s=STEPS), 8)
    np.testing.assert_array_equal(codes, three * 63)  # 255 // 4


def test_a_zero_point_makes_symmetric_codes_of_the_same_weight() -> None:
    text = PER_CHANNEL.replace("(q, s)", "(q, s, z)")
    zero = np.array([3, 0, 200, 128], np.uint8)
    stored = (CODES + 128).astype(np.uint8)
    model = network(text, q=stored, s=STEPS, z=zero)
    codes, scale = quantised(model, 8)
    np.testing.assert_array_equal(codes, stored.astype(int) - zero)
    np.testing.assert_array_equal(scale, STEPS[None, :])


VIEWS = {
    "transposed": "t = DequantizeLinear <axis = 0> (q, s) w = Transpose <perm = [1, 0]> (t)",
    "cast": "c = Cast <to = 1> (q) t = Mul (c, r) w = Transpose (t)",
    "shifted": "c = Cast <to = 1> (q) d = Sub (c, one) t = Mul (d, r) w = Transpose (t)",
    "reshaped": (
        "t = DequantizeLinear <axis = 0> (q, s) u = Reshape (t, long) v = Reshape (u, back) "
        "w = Transpose (v)"
    ),
}


@pytest.mark.parametrize("form", VIEWS)
def test_steps_follow_the_weight_through_views(form: str) -> None:
    text = PER_CHANNEL.replace("w = DequantizeLinear <axis = 1> (q, s)", VIEWS[form])
    model = network(
        text,
        q=CODES.T.astype(np.int8),
        s=STEPS,
        r=STEPS[:, None],
        one=np.float32(1),
        long=np.array([24]),
        back=np.array([4, 6]),
    )
    codes, scale = quantised(model, 8)
    np.testing.assert_array_equal(codes, CODES - (form == "shifted"))
    np.testing.assert_array_equal(scale, STEPS[None, :])


def test_blocks_are_fitted_anew() -> None:
    text = PER_CHANNEL.replace("<axis = 1>", "<axis = 0, block_size = 3>")
    steps = np.arange(1, 9, dtype=np.float32).reshape(2, 4)
    model = network(text, q=CODES.astype(np.int8), s=steps)
    codes, scale = quantised(model, 8)
    weight = CODES * np.repeat(steps, 3, 0)
    np.testing.assert_array_equal(codes, np.rint(weight / (np.abs(weight).max() / 255)))
    assert scale.shape == () and "refitted from int8 in blocks to 8 bits" in told(model)


def test_batchnorm_folds_into_the_steps() -> None:
    text = """g (float[2,3,4,4] x) => (float[2,2,4,4] y)
    <float[2] g, float[2] b, float[2] m, float[2] v = {1.5, 0.5}> {
      w = DequantizeLinear (q, s)
      c = Conv (x, w)
      y = BatchNormalization (c, g, b, m, v)
    }"""
    q = CODES.reshape(-1)[:6].reshape(2, 3, 1, 1)
    model = network(text, q=q.astype(np.int8), s=np.float32(0.5))
    factor = model.graph.initializers["g"].const_value.numpy() / np.sqrt([1.50001, 0.50001])
    FoldBatchnorm()(model)
    codes, scale = quantised(model, 8)
    np.testing.assert_array_equal(codes, q * np.sign(factor).reshape(2, 1, 1, 1))
    np.testing.assert_allclose(scale.ravel(), 0.5 * np.abs(factor), rtol=1e-6)


def test_a_note_that_is_out_of_date_is_not_believed() -> None:
    model = network(PER_CHANNEL, q=CODES.astype(np.int8), s=STEPS)
    (value,) = model.graph.initializers.values()
    grid, tensor = grid_of(value), value.const_value
    assert grid is not None and tensor is not None
    weight = tensor.numpy()
    assert fit_grid(weight[:, :1], grid, 8, None) == ""
    assert fit_grid(weight * np.float32(1.001), grid, 8, None) == ""
    one = fit_grid(CODES.astype(np.float32), Grid(np.ones((1, 1)), "int8"), 8, None)
    assert isinstance(one, Fit) and one.told == "kept int8 per tensor"


def test_analog_cells_keep_the_values(tmp_path: Path) -> None:
    onnx.save(proto_of(PER_CHANNEL, q=CODES.astype(np.int8), s=STEPS), tmp_path / "m.onnx")
    target = Target.of(load_device("reram-lognormal"))
    compiled = compile_model(tmp_path / "m.onnx", target, output=tmp_path / "m.nvmc")
    (array,) = compiled.manifest.arrays
    assert array.grid == "int8 per channel: values kept, cells are analog"
