"""Small networks behind converters, and what the simulator gives for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nvmc import Compiled, Target, compile_model
from nvmc.data import Dataset
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Periphery
from nvmc.runtime.provider import make_session
from onnx_text import proto_of

SERIAL: dict[str, Any] = {"dac_bits": 8, "adc_bits": 8, "dac_mode": "bit-serial"}
WHOLE: dict[str, Any] = {"dac_bits": 6, "adc_bits": 7}

CONV = """g (float[N,4,7,6] x) => (float[N,5] y)
<float[6,2,3,2] w1, float[6] b1, float[36,5] w2, float[5] b2> {
  h = Conv <group = 2, pads = [1, 0, 2, 1], strides = [2, 1], dilations = [1, 2]> (x, w1, b1)
  a = Relu (h)
  p = MaxPool <kernel_shape = [2, 2], strides = [1, 2]> (a)
  f = Flatten <axis = 1> (p)
  y = Gemm (f, w2, b2)
}"""
DENSE = """g (float[N,5,9] x) => (float[N,4,3] y)
<float[9,20] w1, float[4,5] w2, float[20,3] w3, float[4,3] c> {
  h = MatMul (x, w1)
  t = Tanh (h)
  l = MatMul (w2, t)
  s = Reshape <allowzero = 0> (l, rows)
  g = Gemm <alpha = 0.5, beta = 2.0> (s, w3, c)
  y = Reshape (g, back)
}"""
SHAPES = {"rows": np.array([4, 20]), "back": np.array([1, 4, 3])}
SPREAD = """g (float[N,4,3,3] x) => (float[N,6,7,8] y) <float[4,3,3,2] w, float[6] b> {
  y = ConvTranspose <group = 2, strides = [2, 3], pads = [0, 0, 0, 0]> (x, w, b)
}"""


def network(
    folder: Path, text: str, target: Target, data: Dataset | None = None, **stored: Any
) -> Compiled:
    onnx.save(proto_of(text, **stored), folder / "net.onnx")
    return compile_model(folder / "net.onnx", target, output=folder / "net.nvmc", data=data)


def circuits(
    compiled: Compiled, chip: int | None, x: NDArray[np.float32]
) -> list[NDArray[np.float32]]:
    """What the simulator gives for an image."""
    target = compiled.manifest.target
    cells = Chip.ideal() if chip is None else Chip.of(target, 0, chip)
    session = make_session(compiled.model_path.read_bytes(), chip=cells, quiet=True)
    return session.run(None, {session.get_inputs()[0].name: x})


SHAPED = {
    "several images": """g (float[3,2,5] x) => (float[3,4] y) <float[3,2,2] w, float[12,4] v> {
      h = Conv (x, w)
      f = Flatten <axis = 1> (h)
      y = Gemm (f, v)
    }""",
    "three axes": """g (float[N,2,3,4,3] x) => (float[N,3,2,2,3] y) <float[3,2,2,3,1] w> {
      y = Conv <strides = [1, 1, 1]> (x, w)
    }""",
    "turned": """g (float[4,3] x) => (float[3,5] y) <float[5,4] w, float[3,1] c> {
      y = Gemm <transA = 1, transB = 1> (x, w, c)
    }""",
    "a vector": """g (float[N,6] x) => (float[N] y) <float[6] w> { y = MatMul (x, w) }""",
    "left of a stack": """g (float[2,6,3] x) => (float[2,4,3] y) <float[4,6] w> {
      y = MatMul (w, x)
    }""",
    "same padding": """g (float[N,2,5,6] x) => (float[N,3,3,3] y) <float[3,2,2,2] w> {
      y = Conv <auto_pad = "SAME_LOWER", strides = [2, 2]> (x, w)
    }""",
}

LSTM = """g (float[5,1,4] x) => (float[5,1,1,3] y) <float[1,12,4] w, float[1,12,3] r> {
  y = LSTM <hidden_size = 3> (x, w, r)
}"""
STACK = "g (float[2,3,4] x) => (float[2,3,5] y) <float[2,4,5] w> { y = MatMul (x, w) }"
OPEN = "g (float[N,K,4] x) => (float[N,K,5] y) <float[4,5] w> { y = MatMul (x, w) }"
PLAIN = "g (float[N,4] x) => (float[N,5] y) <float[4,5] w> { y = MatMul (x, w) }"


CONVERTERS: list[dict[str, Any]] = [
    {"adc_range": "calibrated", "dac_range": "calibrated"},
    {"adc_range": "calibrated", "adc_steps": "asymmetric"},
    {"adc_range": "calibrated", "adc_range_of": "slice"},
    {"adc_range": "calibrated", "adc_range_of": "column", "subtract": "digital"},
    {"adc_range": "error", "adc_steps": "lloyd-max"},
    {"adc": "sar:mismatch=0.05,comparator=0.4", "adc_share": 2},
    {"adc": "flash:comparator=0.4", "subtract": "digital", "column_limit": 40.0},
]


def tabled(more: dict[str, Any], chip: int | None = 0) -> bool:
    """Whether converters have tables."""
    spread = "adc_range_of" in more or "lloyd-max" in more.values()
    return spread or (chip is not None and "adc" in more)


def calibrated(more: dict[str, Any], folder: Path) -> tuple[Compiled, NDArray[np.float32]]:
    """CONV with such converters, and the images that they were calibrated on."""
    periphery = Periphery(dac_bits=5, adc_bits=5, **more)
    target = Target.of("rram4", rows=9, cols=4, periphery=periphery)
    generator = np.random.default_rng(3)
    x = generator.standard_normal((30, 4, 7, 6)).astype(np.float32)
    data = Dataset("drawn", x, generator.integers(5, size=30).astype(np.int64))
    return network(folder, CONV, target, data), x


AWKWARD = 'a "q" \\n/\u00fc#\n'
"""A name with quotes, a backslash, a slash, a letter beyond ASCII and a line break."""


def awkward(folder: Path, target: Target) -> Compiled:
    """CONV, every name of which begins with `AWKWARD`, but for its input."""
    proto = proto_of(CONV)
    tensors = [*proto.graph.initializer, *proto.graph.output]
    names = {tensor.name for tensor in tensors} | {
        n for node in proto.graph.node for n in node.output
    }
    for each in [*tensors, *proto.graph.value_info]:
        each.name = AWKWARD + each.name
    for number, node in enumerate(proto.graph.node):
        node.name = f"{AWKWARD}{number}"
        for ends in (node.input, node.output):
            ends[:] = [AWKWARD + name if name in names else name for name in ends]
    onnx.save(proto, folder / "net.onnx")
    return compile_model(folder / "net.onnx", target, output=folder / "net.nvmc")
