"""Quantised networks of every kind that `nvmc compile` reads, made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime import quantization as oq

from onnx_text import proto_of

IMAGES = np.random.default_rng(5).standard_normal((24, 3, 8, 8)).astype(np.float32)

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
