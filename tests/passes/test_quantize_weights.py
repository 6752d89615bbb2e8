from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nvmc.errors import ModelError, OptionError
from nvmc.hardware.encoding import quantize, scale_of
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.quantize_weights import QuantizeWeights
from onnx_models import MAPPED, feeds_of, run_proto
from onnx_text import proto_of, text_of


def arrays(model: ir.Model) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, value in model.graph.initializers.items():
        assert value.const_value is not None
        found[name] = value.const_value.numpy()
    return found


def quantised(name: str, bits: int = 4, per_channel: bool = False) -> tuple[ir.Model, ir.Model]:
    """The canonical network and its quantised copy."""
    proto = proto_of(MAPPED[name][1])
    before, after = ir.from_proto(proto), ir.from_proto(proto)
    Canonicalize()(before)
    Canonicalize()(after)
    assert QuantizeWeights(bits, per_channel)(after).modified
    onnx.checker.check_model(ir.to_proto(after), full_check=True)
    return before, after


@pytest.mark.parametrize("name", MAPPED)
@pytest.mark.parametrize("per_channel", [False, True])
def test_codes_times_step_are_the_weights_to_half_a_step(name: str, per_channel: bool) -> None:
    before, after = quantised(name, per_channel=per_channel)
    weights, stored = arrays(before), arrays(after)
    codes = [key for key in stored if key.endswith(".codes")]
    assert codes
    for key in codes:
        weight = weights[key.removesuffix(".codes")]
        scale = stored[key.replace(".codes", ".scale")]
        assert stored[key].dtype == np.int8 and np.abs(stored[key]).max() == 15
        assert scale.dtype == np.float32
        # Half a step, and the rounding of weight, step and product to float32.
        error = np.abs(stored[key] * scale.astype(np.float64) - weight)
        assert np.all(error <= scale * (0.5 + 15 * 2**-23))


@pytest.mark.parametrize("name", MAPPED)
def test_the_result_is_the_network_with_other_weights(name: str) -> None:
    before, after = quantised(name, bits=8)
    for key, array in arrays(after).items():
        if key.endswith(".codes"):
            source = key.removesuffix(".codes")
            value = before.graph.initializers[source]
            scale = arrays(after)[f"{source}.scale"]
            value.const_value = ir.Tensor(array.astype(np.float32) * scale, name=source)
    if "tied" in name:  # Gather reads the table as it was
        assert "w" in arrays(before) and any("w" in key for key in arrays(after))
    feeds = feeds_of(ir.to_proto(before))
    pairs = zip(
        run_proto(ir.to_proto(after), feeds), run_proto(ir.to_proto(before), feeds), strict=True
    )
    for found, expected in pairs:  # the same operators on the same float32 weights
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["conv2d", "shared", "tied", "branch", "lstm"])
def test_running_it_twice_changes_nothing_more(name: str) -> None:
    _, after = quantised(name)
    before = text_of(after)
    assert not QuantizeWeights(4)(after).modified
    assert text_of(after) == before


def test_nothing_to_quantise() -> None:
    model = ir.from_proto(proto_of("g (float[2] x) => (float[2] y) { y = Relu (x) }"))
    assert not QuantizeWeights(4)(model).modified


@pytest.mark.parametrize("bits", [2, 7, 8, 15, 16])
def test_codes_of_every_width(bits: int) -> None:
    before, after = quantised("gemm", bits)
    weight, stored = arrays(before)["w"], arrays(after)
    scale = scale_of(weight, bits).astype(np.float32)
    np.testing.assert_array_equal(stored["w.codes"], quantize(weight, scale, bits))
    np.testing.assert_array_equal(stored["w.scale"], scale)


def test_one_bit_has_a_scale_per_channel_and_no_zero() -> None:
    """s = mean|W| of each column of W (n inputs), to float32's rounding of a float64 sum."""
    before, after = quantised("gemm", 1)
    weight, stored = arrays(before)["w"], arrays(after)
    np.testing.assert_array_equal(stored["w.codes"], np.where(weight < 0, -1, 1))
    exact = np.abs(weight.astype(np.float64)).mean(axis=0, keepdims=True)
    np.testing.assert_allclose(stored["w.scale"], exact, rtol=2**-24)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("conv1d", (6, 1, 1)),
        ("conv2d", (4, 1, 1, 1)),
        ("transposed", (4, 3, 1, 1)),
        ("gemm", (1, 4)),
        ("left", (4, 1)),
        ("vector", ()),
        ("lstm", (2, 16, 1)),
    ],
)
def test_each_channel_has_a_step(name: str, shape: tuple[int, ...]) -> None:
    before, after = quantised(name, per_channel=True)
    first = next(key for key in arrays(after) if key.endswith(".scale"))
    scale = arrays(after)[first]
    assert scale.shape == shape
    if name == "transposed":  # two groups of two input channels
        weight = arrays(before)["w"].reshape(2, 2, 3, 9)
        largest = np.abs(weight).max(axis=(1, 3)) / 15
        expected = np.repeat(largest[:, None], 2, axis=1).reshape(shape)
        np.testing.assert_array_equal(scale, expected.astype(np.float32))


def test_layers_that_share_a_weight_but_not_its_axis_have_one_step() -> None:
    text = """g (float[B,4] x) => (y) <float[4,4] w> {
      a = Gemm <transB = 1> (x, w)
      y = MatMul (a, w)
    }"""
    model = ir.from_proto(proto_of(text))
    QuantizeWeights(4, per_channel=True)(model)
    assert arrays(model)["w.scale"].shape == ()
    assert [key for key in arrays(model) if key.endswith(".codes")] == ["w.codes"]


def test_skipped_layers_keep_the_float_weight() -> None:
    proto = proto_of(MAPPED["shared"][1])
    model = ir.from_proto(proto)
    Canonicalize()(model)
    first = model.graph.node(0).name
    assert first is not None
    QuantizeWeights(4, skip=(first,))(model)
    assert {"w.codes", "w.scale", "w.digital"} == set(model.graph.initializers)


@pytest.mark.parametrize(("dtype", "kind"), [(np.float64, "double"), (np.float16, "float16")])
def test_other_float_types_keep_their_type(dtype: type, kind: str) -> None:
    weight = np.random.default_rng(0).standard_normal((3, 2)).astype(dtype)
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21]> g ({kind}[2,3] x) => ({kind}[2,2] y)'
        " { y = MatMul (x, w) }"
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    model = ir.from_proto(proto)
    QuantizeWeights(4)(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert run_proto(ir.to_proto(model), feeds_of(proto))[0].dtype == dtype


def test_a_weight_that_is_not_finite() -> None:
    model = ir.from_proto(proto_of(MAPPED["gemm"][1]))
    array = np.full((5, 4), np.nan, np.float32)
    model.graph.initializers["w"].const_value = ir.Tensor(array, name="w")
    with pytest.raises(ModelError, match="'w' holds NaN or infinity"):
        QuantizeWeights(4)(model)


@pytest.mark.parametrize("bits", [0, -1, 17])
def test_bits_out_of_range(bits: int) -> None:
    with pytest.raises(OptionError, match=f"weight bits are {bits}; expected 1 to 16"):
        QuantizeWeights(bits)
