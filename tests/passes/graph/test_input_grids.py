"""Inputs that a network rounds itself are what a calibrated DAC of as many bits says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnxruntime import quantization as oq

from nvmc import Target, compile_model, load_device, make_session
from nvmc.compiled.options import CompileOptions
from nvmc.hardware.devices import Periphery
from nvmc.passes.graph.input_grids import InputGrid, input_grid
from onnx_text import model_of, proto_of
from quantised_networks import IMAGES, exact, static

F32, U8, I8 = np.float32, np.uint8, np.int8
STORED: dict[str, Any] = {
    "s": F32(0.5),
    "z": U8(100),
    "n": I8(0),
    "l": I8(-4),
    "h": I8(3),
    "fl": F32(0),
    "fh": F32(15),
    "f3": F32(3),
    "k": F32(5),
}
FORMS = {
    "q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)": InputGrid(0.5, -100, 155),
    "q = QuantizeLinear (x, s, n) d = DequantizeLinear (q, s, n) y = Relu (d)": InputGrid(
        0.5, -128, 127
    ),
    """q = QuantizeLinear (x, s, n) c = Clip (q, l, h) d = DequantizeLinear (c, s, n)
    y = Transpose (d)""": InputGrid(0.5, -4, 3),
    "d = Div (x, s) r = Round (d) c = Clip (r, fl, fh) y = Mul (c, s)": InputGrid(0.5, 0, 15),
    """d = Div (x, s) a = Add (d, f3) c = Clip (a, fl, fh) r = Round (c) e = Sub (r, f3)
    y = Mul (e, s)""": InputGrid(0.5, -3, 12),
    "q = QuantizeLinear (x, s, z) c = Cast <to = 1> (q) e = Sub (c, f3) y = Relu (e)": InputGrid(
        1.0, -3, 252
    ),
    "c = Clip (x, fl, f3) d = Mul (c, k) r = Round (d) y = Div (r, k)": InputGrid(0.2, 0, 15),
    "e = Relu (x) c = Min (e, f3) d = Mul (c, k) r = Round (d) y = Div (r, k)": InputGrid(
        0.2, 0, 15
    ),
    "y = Round (x)": None,
    "d = Mul (x, k) r = Round (d) y = Div (r, k)": None,
    "d = Clip (x, fl, fh) y = Mul (d, s)": None,
    "q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) y = Sigmoid (d)": None,
    "q, t, u = DynamicQuantizeLinear (x) y = DequantizeLinear (q, t, u)": None,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_grid_is_what_the_network_rounds_to(form: str) -> None:
    model = model_of(f"g (float[4,6] x) => (float[N,M] y) {{ {form} }}", **STORED)
    assert input_grid(model.graph.outputs[0]) == FORMS[form]
    if FORMS[form] is not None:
        grid = FORMS[form]
        x = 300 * np.random.default_rng(0).standard_normal((4, 6)).astype(F32)
        values = exact(ir.to_proto(model), {"x": x})[0] / grid.step
        assert np.array_equal(values, np.rint(values))
        assert values.min() >= min(grid.low, 0) and values.max() == grid.high


def compiled(folder: Path, proto: onnx.ModelProto, **periphery: Any) -> Any:
    np.savez(folder / "images.npz", x=IMAGES, y=np.zeros(len(IMAGES), np.int64))
    onnx.save(proto, folder / "m.onnx")
    target = Target.of(load_device("fefet2"), weight_bits=8)
    target = target.model_copy(update={"periphery": Periphery(**periphery)})
    data = str(folder / "images.npz") if periphery["dac_range"] == "calibrated" else None
    return compile_model(folder / "m.onnx", target, output=folder / "m.nvmc", data=data)


@pytest.mark.parametrize("kind", ["QUInt8", "QInt8"])
def test_the_dac_takes_the_codes_as_they_are(tmp_path: Path, kind: str) -> None:
    proto = static(tmp_path, "QDQ", per_channel=True, activation_type=oq.QuantType[kind])
    network = compiled(tmp_path, proto, dac_bits=8, dac_range="calibrated")
    assert {a.inputs for a in network.manifest.arrays} == {"codes of 8 bits are the DAC's"}
    found = make_session(network.model_path, chip="ideal", quiet=True).run(None, {"x": IMAGES})[0]
    expected = exact(proto, {"x": IMAGES})[0]
    # the same codes, so that only a sum between two steps of an output may turn
    assert np.mean(found != expected) < 0.05
    assert np.abs(found - expected).max() < 0.02 * np.ptp(expected)


@pytest.mark.parametrize(
    "periphery",
    [
        {"dac_bits": 8, "dac_range": "dynamic"},
        {"dac_bits": 7, "dac_range": "calibrated"},
        {"dac_bits": 8, "dac_range": "calibrated", "signed_inputs": "offset"},
    ],
)
def test_other_dacs_round_again_and_say_so(tmp_path: Path, periphery: dict[str, Any]) -> None:
    network = compiled(tmp_path, static(tmp_path, "QDQ"), **periphery)
    told = {a.inputs for a in network.manifest.arrays}
    assert "codes of 8 bits are rounded again by the DAC" in told


@pytest.mark.parametrize(("bits", "rounded"), [(8, False), (7, True)])
def test_activations_are_rounded_once_where_the_network_has_as_few_bits(
    tmp_path: Path, bits: int, rounded: bool
) -> None:
    np.savez(tmp_path / "images.npz", x=IMAGES, y=np.zeros(len(IMAGES), np.int64))
    onnx.save(static(tmp_path, "QDQ"), tmp_path / "m.onnx")
    network = compile_model(
        tmp_path / "m.onnx",
        Target.of(load_device("fefet2")),
        CompileOptions(activation_bits=bits),
        output=tmp_path / "m.nvmc",
        data=str(tmp_path / "images.npz"),
    )
    ops = [node.op_type for node in onnx.load(network.model_path).graph.node]
    assert ops.count("Round") == 3 * rounded


def test_an_array_that_is_fed_in_two_steps_is_measured(tmp_path: Path) -> None:
    proto = proto_of(
        """g (float[N,6] x) => (float[N,6] y) <float[6,6] w> {
          q = QuantizeLinear (x, s, n) d = DequantizeLinear (q, s, n) a = MatMul (d, w)
          p = QuantizeLinear (a, t, n) e = DequantizeLinear (p, t, n) y = MatMul (e, w)
        }""",
        s=F32(0.5),
        t=F32(0.25),
        n=I8(0),
    )
    onnx.save(proto, tmp_path / "m.onnx")
    x = np.random.default_rng(1).standard_normal((20, 6)).astype(F32)
    np.savez(tmp_path / "d.npz", x=x, y=np.zeros(20, np.int64))
    periphery = Periphery(dac_bits=8, dac_range="calibrated")
    target = Target.of(load_device("fefet2")).model_copy(update={"periphery": periphery})
    network = compile_model(
        tmp_path / "m.onnx", target, output=tmp_path / "m.nvmc", data=str(tmp_path / "d.npz")
    )
    (array,) = network.manifest.arrays
    assert array.inputs == "codes of 8 bits are rounded again by the DAC"
    (limit,) = network.manifest.target.periphery.ranges
    assert limit.input < 0.5 * 255
