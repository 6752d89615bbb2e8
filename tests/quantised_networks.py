"""Quantised networks of every kind that `nvmc compile` reads, made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime import quantization as oq

from nvmc import Compiled, Target, compile_model, load_device
from onnx_text import proto_of

IMAGES = np.random.default_rng(5).standard_normal((24, 3, 8, 8)).astype(np.float32)

_DRAWN = np.random.default_rng(7)

_NETWORK = """g (float[N,3,8,8] x) => (float[N,5] y)
<float[6,3,3,3] w1, float[6] b1, float[8,3,3,3] w2, float[8] b2, float[8,5] w3, float[5] b3> {
  c = Conv <pads = [1,1,1,1]> (x, w1, b1)
  r = Relu (c)
  d = Conv <group = 2, strides = [2,2], pads = [1,0,1,0]> (r, w2, b2)
  s = Relu (d)
  p = GlobalAveragePool (s)
  f = Flatten (p)
  y = Gemm (f, w3, b3)
}"""


def float_network() -> onnx.ModelProto:
    """Two convolutions, padded, and a dense layer."""
    return proto_of(_NETWORK, seed=3)


class _Images(oq.CalibrationDataReader):
    def __init__(self) -> None:
        self._left = iter([{"x": IMAGES}])

    def get_next(self) -> Any:
        return next(self._left, None)


def static(folder: Path, form: str, **options: Any) -> onnx.ModelProto:
    """`float_network` by onnxruntime's quantizer: `QDQ` or `QOperator`."""
    path = folder / f"{form}.onnx"
    options.setdefault("weight_type", oq.QuantType.QInt8)
    options.setdefault("activation_type", oq.QuantType.QUInt8)
    oq.quantize_static(
        float_network(), path, _Images(), quant_format=oq.QuantFormat[form], **options
    )
    return onnx.load(path)


def exact(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What onnxruntime computes without optimising anything."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def compile_network(proto: onnx.ModelProto, folder: Path, bits: int = 8) -> Compiled:
    """The network compiled to 8 bits, one scale per tensor where it brings none."""
    onnx.save(proto, folder / "m.onnx")
    target = Target.of(load_device("fefet2"), weight_bits=bits, cell_bits=min(2, bits))
    return compile_model(folder / "m.onnx", target, output=folder / "m.nvmc")


def ideal(network: Compiled, feeds: dict[str, np.ndarray]) -> np.ndarray:
    """The ideal chip's first output."""
    return exact(onnx.load(network.model_path), feeds)[0]


def model(text: str, **stored: np.ndarray) -> onnx.ModelProto:
    """A network whose nodes may be of other domains, without inference of its shapes."""
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1, "onnx.brevitas" : 1, '
        f'"qonnx.custom_op.general" : 1]>{text}'
    )
    for name, values in stored.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
    return proto


def codes(*shape: int, top: int = 127) -> np.ndarray:
    """Random weights of int8; `top` = 60 saturates no kernel of onnxruntime."""
    return _DRAWN.integers(-top, top + 1, shape).astype(np.int8)


def steps(count: int) -> np.ndarray:
    """Random scales."""
    return _DRAWN.uniform(0.01, 0.1, count).astype(np.float32)
