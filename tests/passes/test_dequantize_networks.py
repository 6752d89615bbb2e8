"""Whole quantised networks as tools write them, and operators without weights."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnxruntime import quantization as oq

from nvmc import program_chip, simulate
from nvmc.passes.canonicalize import Canonicalize
from onnx_text import proto_of
from quantised_networks import (
    IMAGES,
    codes,
    compile_network,
    exact,
    float_network,
    ideal,
    model,
    static,
    steps,
)

RNG = np.random.default_rng(12)
F32, U8, I8 = np.float32, np.uint8, np.int8
FEEDS = {"x": IMAGES}


# per channel of uint8 the quantizer writes another network into each
@pytest.mark.parametrize(
    ("per_channel", "kind"),
    [(False, oq.QuantType.QInt8), (True, oq.QuantType.QInt8), (False, oq.QuantType.QUInt8)],
)
def test_qdq_and_qoperator_are_the_same_network(
    per_channel: bool, kind: oq.QuantType, tmp_path: Path
) -> None:
    found: list[np.ndarray] = []
    for form in ("QDQ", "QOperator"):
        proto = static(tmp_path, form, per_channel=per_channel, weight_type=kind)
        network = compile_network(proto, tmp_path)
        where = "per channel" if per_channel else "per tensor"
        type_ = "int8" if kind == oq.QuantType.QInt8 else "uint8"
        assert [a.grid for a in network.manifest.arrays] == [f"kept {type_} {where}"] * 3
        found.append(ideal(network, FEEDS))
        if form == "QDQ":
            expected = exact(proto, FEEDS)[0]
    # onnxruntime's own QLinearConv of uint8 x int8 saturates on processors without VNNI, so QDQ is
    # the measure for both.
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(found[1], expected)


def test_dynamic_quantisation_runs_image_by_image(tmp_path: Path) -> None:
    source = tmp_path / "float.onnx"
    onnx.save(float_network(), source)
    oq.quantize_dynamic(
        source,
        tmp_path / "m8.onnx",
        weight_type=oq.QuantType.QUInt8,
        op_types_to_quantize=["Conv", "MatMul", "Gemm"],
        extra_options={"MatMulConstBOnly": True},
    )
    proto = onnx.load(tmp_path / "m8.onnx")
    assert {"ConvInteger", "MatMulInteger"} <= {node.op_type for node in proto.graph.node}
    network = compile_network(proto, tmp_path)
    assert [a.grid for a in network.manifest.arrays] == ["kept uint8 per tensor"] * 3
    assert network.manifest.inputs[0].shape == [1, 3, 8, 8]
    assert any("one image a run" in text for text in network.manifest.assumptions)
    for image in IMAGES[:6, None]:
        expected = exact(proto, {"x": image})[0]
        # a code of an activation turns where sums in float32 come in another order
        off = np.abs(ideal(network, {"x": image}) - expected).max()
        assert off <= 0.01 * np.abs(expected).max()
    # a noisy chip is judged by what its own file gives, image by image
    program_chip(network, 1, tmp_path / "chip.onnx", seed=4)
    chip = onnx.load(tmp_path / "chip.onnx")
    labels = [int(exact(chip, {"x": image})[0].argmax()) for image in IMAGES[:, None]]
    judged = simulate(network, runs=1, first=1, seed=4, data=(IMAGES, np.array(labels)))
    assert judged.values[0] == 1 and len(set(labels)) > 1


def test_a_dynamic_lstm_keeps_its_codes(tmp_path: Path) -> None:
    stored = {
        "w": codes(1, 4, 20, top=60),
        "r": codes(1, 5, 20, top=60),
        "ws": steps(1),
        "rs": steps(1) / 4,
        "wz": np.zeros(1, I8),
        "rz": np.zeros(1, I8),
        "b": steps(40)[None],
    }
    proto = model(
        """g (float[7,1,4] x) => (float[7,1,1,5] y) {
          y = com.microsoft.DynamicQuantizeLSTM <hidden_size = 5>
            (x, w, r, b, , , , , ws, wz, rs, rz)
        }""",
        **stored,
    )
    x = RNG.standard_normal((7, 1, 4)).astype(F32)
    network = compile_network(proto, tmp_path)
    assert [a.grid for a in network.manifest.arrays] == ["kept int8 per tensor, codes x3"] * 2
    assert any("DynamicQuantizeLSTM" in text for text in network.manifest.assumptions)
    float_proto = proto_of(
        """g (float[7,1,4] x) => (float[7,1,1,5] y) {
          q, s, z = DynamicQuantizeLinear (x)
          d = DequantizeLinear (q, s, z)
          y = LSTM <hidden_size = 5> (d, w, r, b)
        }""",
        w=(stored["w"] * stored["ws"]).swapaxes(1, 2).astype(F32),
        r=(stored["r"] * stored["rs"]).swapaxes(1, 2).astype(F32),
        b=stored["b"],
    )
    found = ideal(network, {"x": x})
    np.testing.assert_allclose(found, exact(float_proto, {"x": x})[0], atol=1e-6)
    # onnxruntime quantises the state between steps too, to 8 bits of its range
    assert np.abs(found - exact(proto, {"x": x})[0]).max() < 0.02


S, Z = F32(0.02), U8(100)
DIGITAL = {
    "QLinearAdd": "(x, s, z, v, t, o, t, o)",
    "QLinearMul": "(x, s, z, v, t, o, t, o)",
    "QLinearSigmoid": "(x, s, z, f, n)",
    "QLinearLeakyRelu": "<alpha = 0.2> (x, s, z, t, o)",
    "QLinearAveragePool": "<kernel_shape = [3,3], pads = [1,1,0,0]> (x, s, z, t, o)",
    "QLinearGlobalAveragePool": "(x, s, z, t, o)",
    "QLinearSoftmax": "<axis = 1, opset = 13> (x, s, z, f, n)",
    "QLinearConcat": "<axis = 1> (t, o, x, s, z, v, t, o)",
    "QLinearWhere": "(c, x, s, z, v, t, o, t, o)",
}


@pytest.mark.parametrize("name", DIGITAL)
def test_operators_without_weights_are_float_between_two_quantisations(name: str) -> None:
    import onnx_ir as ir

    proto = model(
        f"g (uint8[2,3,4,4] x) => (uint8 y) {{ y = com.microsoft.{name} {DIGITAL[name]} }}",
        s=S,
        z=Z,
        v=RNG.integers(0, 256, (2, 3, 4, 4)).astype(U8),
        t=F32(0.03),
        o=U8(110),
        f=F32(1 / 256),
        n=U8(0),
        c=RNG.integers(0, 2, (2, 3, 4, 4)).astype(bool),
    )
    del proto.graph.output[0].type.tensor_type.shape.dim[:]
    x = RNG.integers(0, 256, (2, 3, 4, 4)).astype(U8)
    expected = exact(proto, {"x": x})[0].astype(int)
    changed = ir.from_proto(proto)
    Canonicalize()(changed)
    assert not {node.domain for node in changed.graph} - {""}
    found = exact(ir.to_proto(changed), {"x": x})[0].astype(int)
    assert np.abs(found - expected).max() <= 1 and np.mean(found != expected) < 0.02


def test_quantize_clip_dequantize_keeps_three_bits(tmp_path: Path) -> None:
    proto = proto_of(
        """g (float[N,6] x) => (float[N,4] y) {
          q = QuantizeLinear (x, xs, xz)
          c = Clip (q, low, high)
          d = DequantizeLinear (c, xs, xz)
          p = QuantizeLinear <axis = 1> (w, ws, wz)
          k = Clip (p, low, high)
          e = DequantizeLinear <axis = 1> (k, ws, wz)
          y = MatMul (d, e)
        }""",
        xs=F32(0.5),
        xz=I8(0),
        low=I8(-4),
        high=I8(3),
        w=RNG.standard_normal((6, 4)).astype(F32),
        ws=np.full(4, 0.3, F32),
        wz=np.zeros(4, I8),
    )
    network = compile_network(proto, tmp_path, bits=3)
    assert network.manifest.arrays[0].grid == "kept int8 per tensor"
    feeds = {"x": RNG.standard_normal((5, 6)).astype(F32)}
    np.testing.assert_allclose(ideal(network, feeds), exact(proto, feeds)[0], rtol=1e-6)


FOUR = RNG.integers(-8, 8, (12, 6))


@pytest.mark.parametrize("domain", ["", "com.microsoft."])
def test_int4_of_both_domains(domain: str, tmp_path: Path) -> None:
    proto = model(
        f"""g (float[N,12] x) => (float[N,6] y) {{
          w = {domain}DequantizeLinear <axis = 1> (q, s, z)
          y = MatMul (x, w)
        }}""",
        q=FOUR.astype(ml_dtypes.int4),
        s=steps(6),
        z=np.zeros(6, ml_dtypes.int4),
    )
    network = compile_network(proto, tmp_path)
    assert network.manifest.arrays[0].grid == "kept int4 per channel, codes x31"
    feeds = {"x": RNG.standard_normal((5, 12)).astype(F32)}
    np.testing.assert_allclose(ideal(network, feeds), exact(proto, feeds)[0], rtol=1e-4, atol=1e-5)


def quant(x: np.ndarray, scale: Any, zero: float, low: int, high: int) -> np.ndarray:
    """Quant as its specification says it, in float64."""
    return (np.rint(np.clip(x / scale + zero, low, high)) - zero) * scale


@pytest.mark.parametrize("domain", ["qonnx.custom_op.general", "onnx.brevitas"])
def test_qonnx(domain: str, tmp_path: Path) -> None:
    w, x = RNG.standard_normal((12, 6)), RNG.standard_normal((5, 12)).astype(F32)
    scale = RNG.uniform(0.2, 0.4, (1, 6)).astype(F32)
    v, alpha = RNG.standard_normal((6, 3)), RNG.uniform(0.2, 0.4, (1, 3)).astype(F32)
    proto = model(
        f"""g (float[N,12] x) => (float[N,3] y) {{
          a = {domain}.Quant <signed = 0, narrow = 0, rounding_mode = "ROUND"> (x, xs, zero, four)
          w4 = {domain}.Quant <signed = 1, narrow = 1, rounding_mode = "ROUND"> (w, ws, zero, four)
          m = MatMul (a, w4)
          t = {domain}.Trunc <rounding_mode = "FLOOR"> (m, ts, zero, eight, four)
          b = {domain}.BipolarQuant (v, alpha)
          y = MatMul (t, b)
        }}""",
        xs=F32(0.15),
        zero=F32(0),
        four=F32(4),
        eight=F32(8),
        w=w.astype(F32),
        ws=scale,
        ts=F32(0.01),
        v=v.astype(F32),
        alpha=alpha,
    )
    network = compile_network(proto, tmp_path)
    assert [a.grid for a in network.manifest.arrays] == [
        "kept 4-bit per channel, codes x31",
        "kept 2-bit per channel, codes x255",
    ]
    inner = quant(x.astype(float), F32(0.15), 0, 0, 15) @ quant(w, scale.astype(float), 0, -7, 7)
    truncated = np.floor(np.rint(inner / F32(0.01)) / 16) * F32(0.01)
    expected = truncated @ (np.where(v >= 0, 1, -1) * alpha.astype(float))
    # in float32 a sum may lie on the other side of a step of 0.01
    off = np.abs(ideal(network, {"x": x}) - expected)
    assert np.median(off) < 1e-6 and off.max() <= 0.011 * alpha.sum()


def test_attention_of_integers_keeps_its_projection(tmp_path: Path) -> None:
    proto = model(
        """g (uint8[N,4,8] x) => (float[N,4,8] y) {
          y = com.microsoft.QAttention <num_heads = 2> (x, w, b, s, t, , z, o)
        }""",
        w=codes(8, 24, top=60),
        b=steps(24),
        s=S,
        t=F32(0.01),
        z=Z,
        o=I8(0),
    )
    network = compile_network(proto, tmp_path)
    assert [array.grid for array in network.manifest.arrays] == ["kept int8 per tensor, codes x3"]
    x = RNG.integers(0, 256, (3, 4, 8)).astype(U8)
    np.testing.assert_allclose(ideal(network, {"x": x}), exact(proto, {"x": x})[0], atol=1e-4)


def test_fake_quantisation_by_torchs_exporter(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    fake = torch.fake_quantize_per_tensor_affine

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.dense = torch.nn.Conv2d(3, 6, 3), torch.nn.Linear(6, 5)

        def forward(self, x: Any) -> Any:
            x = fake(x, 0.03, 128, 0, 255)
            weight = self.conv.weight
            scale = weight.detach().abs().amax((1, 2, 3)) / 127
            zero = torch.zeros(6, dtype=torch.int32)
            weight = torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -128, 127)
            x = torch.relu(torch.nn.functional.conv2d(x, weight, self.conv.bias))
            x = fake(x.mean((2, 3)), 0.01, 0, 0, 255)
            weight = fake(self.dense.weight, 0.004, 0, -128, 127)
            return torch.nn.functional.linear(x, weight, self.dense.bias)

    torch.manual_seed(0)
    network = Network().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, 8, 8),),
            tmp_path / "t.onnx",
            dynamo=False,
            input_names=["x"],
            dynamic_axes={"x": {0: "N"}},
        )
    compiled = compile_network(onnx.load(tmp_path / "t.onnx"), tmp_path)
    grids = [array.grid for array in compiled.manifest.arrays]
    assert grids[0] == "kept int8 per channel" and grids[1].startswith("kept int8 per tensor")
    found = ideal(compiled, FEEDS)
    with torch.no_grad():
        expected = network(torch.from_numpy(IMAGES)).numpy()
    # a code of 0.01 ahead of the last layer turns where sums in float32 come in another order
    assert np.median(np.abs(found - expected)) < 1e-6
    assert np.abs(found - expected).max() < 0.03 * network.dense.weight.abs().max().item()
