"""Ranges of weights, by hand and by what chips make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from nvmc import Target, load_device
from nvmc.errors import OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.encoding import quantize, scale_of
from nvmc.hardware.expected_error import code_errors
from nvmc.hardware.tiling import Channels, Place
from nvmc.passes import make_pass
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.clip_weights import ClipWeights, clip_pass
from nvmc.passes.graph.clipping import widths_of
from onnx_text import proto_of

RRAM = load_device("rram4")
DENSE = """g (float[N,40] x) => (float[N,30] y)
<float[40,60] w1, float[60,30] w2> {
  a = MatMul (x, w1)
  b = Relu (a)
  y = MatMul (b, w2)
}"""


def heavy(seed: int, *shape: int) -> np.ndarray:
    """Weights with the outliers of a trained layer: Student's t of four degrees of freedom."""
    return np.random.default_rng(seed).standard_t(4, shape).astype(np.float32)


def dense(**weights: np.ndarray) -> ir.Model:
    proto = proto_of(DENSE)
    given = {"w1": heavy(1, 40, 60), "w2": heavy(2, 60, 30), **weights}
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in given.items())
    model = ir.from_proto(proto)
    Canonicalize()(model)
    return model


def weights(model: ir.Model) -> dict[str, np.ndarray]:
    return {str(k): v.const_value.numpy() for k, v in model.graph.initializers.items()}


def test_widths_by_standard_deviation_and_percentile() -> None:
    before = weights(dense())
    for text, width in (
        ("clip-weights:std=2", lambda w: 2 * np.std(w, dtype=np.float64)),
        ("clip-weights:percentile=95", lambda w: np.percentile(np.abs(w), 95)),
    ):
        model = dense()
        assert make_pass(text)(model).modified
        for name, found in weights(model).items():
            w = before[name]
            np.testing.assert_array_equal(found, np.clip(w, -width(w), width(w)).astype("f4"))


def test_channels_have_a_width_each() -> None:
    model, before = dense(), weights(dense())
    ClipWeights(std=1.5, per_channel=True, skip=("w2",))(model)
    width = 1.5 * before["w1"].std(axis=0, dtype=np.float64)
    expected = np.clip(before["w1"], -width, width).astype(np.float32)
    np.testing.assert_array_equal(weights(model)["w1"], expected)
    np.testing.assert_array_equal(weights(model)["w2"], before["w2"])


def test_a_weight_within_its_range_stays() -> None:
    model = dense()
    assert not ClipWeights(std=1e3)(model).modified
    assert weights(model).keys() == {"w1", "w2"}


def test_a_digital_use_keeps_the_weight() -> None:
    """Gather looks rows up that the MatMul multiplies by: a language model's tied embedding."""
    text = """g (int64[N,3] ids) => (float[N,3,50] y) <float[50,20] e> {
      x = Gather (e, ids)
      t = Transpose <perm = [1,0]> (e)
      y = MatMul (x, t)
    }"""
    proto = proto_of(text)
    table = heavy(3, 50, 20)
    del proto.graph.initializer[:]
    proto.graph.initializer.append(numpy_helper.from_array(table, "e"))
    model = ir.from_proto(proto)
    Canonicalize()(model)
    assert ClipWeights(std=1.0)(model).modified
    gather = next(node for node in model.graph if node.op_type == "Gather")
    product = next(node for node in model.graph if node.op_type in ("MatMul", "Gemm"))
    looked_up: Any = gather.inputs[0]
    multiplied: Any = product.inputs[1]
    np.testing.assert_array_equal(looked_up.const_value.numpy(), table)
    assert np.abs(multiplied.const_value.numpy()).max() < np.abs(table).max()


def chips_error(
    weight: np.ndarray, width: float, target: Target, sigma: float, chips: int
) -> float:
    """Mean squared error of a layer's outputs over chips, for independent inputs of variance 1."""
    bits = target.weight_bits or 0
    clipped = np.clip(weight, -width, width)
    scale = scale_of(clipped, bits)
    codes = quantize(clipped, scale, bits)
    array = Array("w", codes, scale.astype(np.float32), target, Place("CrossbarMatMul"))
    off = [Chip.of(target, 5, k, sigma).weights(array) - weight for k in range(chips)]
    return float(np.mean([np.sum(np.square(each, dtype=np.float64)) for each in off]))


@pytest.mark.parametrize("sigma", [0.02, 0.2, 0.6])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_automatic_width_has_the_least_error_on_chips(bits: int, sigma: float) -> None:
    """Of all widths on a finer grid, and its error is the one that is stated."""
    target = Target.of(RRAM, weight_bits=bits)
    weight = heavy(4, 80, 90)
    found = widths_of(weight, bits, code_errors(target, sigma), None)
    norm = float(np.sum(np.square(weight, dtype=np.float64)))
    best = chips_error(weight, float(found.best), target, sigma, 20)
    assert (best / norm) ** 0.5 == pytest.approx(found.error, rel=0.02)
    top = float(np.abs(weight).max())
    assert (chips_error(weight, top, target, sigma, 20) / norm) ** 0.5 == pytest.approx(
        found.unclipped, rel=0.03
    )
    others = [
        chips_error(weight, top * share, target, sigma, 6) for share in np.linspace(0.04, 1, 49)
    ]
    assert best <= min(others) * 1.03


def test_each_channel_has_its_own_best_width() -> None:
    """As if every channel were a weight of its own, but for coarser bins."""
    target = Target.of(RRAM, weight_bits=4, per_channel=True)
    weight = heavy(6, 60, 5) * np.array([0.1, 1, 3, 0.5, 2], np.float32)
    errors = code_errors(target, 0.4)
    channels = Channels(Place("CrossbarMatMul"), weight.shape)
    found = widths_of(weight, 4, errors, channels).best
    alone = [float(widths_of(w[:, None], 4, errors, None).best) for w in weight.T]
    assert found.shape == (1, 5)
    np.testing.assert_allclose(found[0], alone, rtol=0.11)  # three steps of the widths tried


def test_analog_weights_have_a_width_too() -> None:
    target = Target.of("pcm-joshi2020")
    model = dense()
    assert clip_pass("auto", target, ())(model).modified
    before = weights(dense())
    for name, found in weights(model).items():
        assert np.abs(found).max() < np.abs(before[name]).max()


def test_weights_of_nothing_and_of_one_bit_stay() -> None:
    zeros = np.zeros((40, 60), np.float32)
    one_bit = Target.of("fefet2", weight_bits=1)
    assert not ClipWeights(target=one_bit)(dense()).modified
    model = dense(w1=zeros, w2=zeros[:30].reshape(60, 30))
    assert not clip_pass("auto:0.3", Target.of(RRAM), ())(model).modified


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clip-weights", "give one: std=K, or percentile=P"),
        ("clip-weights:std=2,percentile=99", "has 2 widths"),
        ("clip-weights:std=0", "std is 0.0; expected a finite number above 0"),
        ("clip-weights:std=nan", "std is nan"),
        ("clip-weights:percentile=101", "percentile is 101.0"),
    ],
)
def test_widths_that_are_none(text: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        make_pass(text)


@pytest.mark.parametrize("text", ["wide", "auto:much", "2x", "%", "auto:-1", "0"])
def test_options_that_are_none(text: str) -> None:
    with pytest.raises(OptionError):
        clip_pass(text, Target.of(RRAM), ())(dense())
