"""How many crossbars hold an array: what is counted is what the circuit has."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import parser

from nvmc import Target, load_device
from nvmc.compiled.options import CompileOptions
from nvmc.hardware.encoding import Encoding, Layout
from nvmc.passes.graph.arrays import Mapping
from nvmc.passes.map_crossbars import MapCrossbars
from nvmc.passes.pipeline import compile_passes
from nvmc.runtime.crossbar.array import lanes_of

NETWORK = """<ir_version: 10, opset_import: ["": 18]>
g (float[N, 32] x) => (float[N, 32] y) <float[32, 32] w = {%s}> { y = MatMul (x, w) }"""


def mapped(encoding: Encoding, weight_bits: Any = 2, cell_bits: int | None = 2) -> Mapping:
    values = np.random.default_rng(0).normal(size=1024)
    model = ir.from_proto(parser.parse_model(NETWORK % ", ".join(f"{v:.4f}" for v in values)))
    target = Target.of(
        load_device("rram4"),
        weight_bits=weight_bits,
        cell_bits=cell_bits,
        encoding=encoding,
        rows=32,
        cols=32,
    )
    for step in compile_passes(target, CompileOptions()):
        step(model)
    assert isinstance(step, MapCrossbars)
    return step.mapping


@pytest.mark.parametrize(
    ("encoding", "weight_bits", "crossbars"),
    [
        ("sign-magnitude", 2, 2),  # a positive and a negative one
        ("sign-magnitude", 4, 4),
        ("differential", 2, 2),
        ("differential", 4, 4),
        ("offset", 3, 2),  # 3 bits and one more, in cells of 2
        ("offset", 1, 1),
        ("sign-magnitude", 1, 2),
        ("differential", 1, 2),
        ("balanced", 4, 4),
        ("balanced", 1, 2),
    ],
)
def test_a_full_matrix_takes_a_tile_of_each_crossbar(
    encoding: Encoding, weight_bits: int, crossbars: int
) -> None:
    (array,) = mapped(encoding, weight_bits, min(2, weight_bits)).arrays
    assert (array.planes, array.tiles, array.cells) == (crossbars, crossbars, crossbars * 1024)
    assert array.utilization == 1


@pytest.mark.parametrize("encoding", ["sign-magnitude", "differential", "offset", "balanced"])
@pytest.mark.parametrize("subtract", ["analog", "digital"])
def test_counts_are_those_of_the_circuit(encoding: Encoding, subtract: str) -> None:
    """As many columns as `nvmc.runtime.crossbar.array` lays side by side, or subtracts."""
    layout = Layout(4, 2, encoding)
    codes = np.arange(-15, 16).reshape(1, 1, 31)
    lanes = lanes_of(layout, layout.levels(codes), layout.sign(codes), analog=subtract == "analog")
    subtracted = 2 if lanes.signed else 1
    assert len(lanes.coefficients) * subtracted == layout.crossbars


def test_analog_weights() -> None:
    encodings: list[Encoding] = ["sign-magnitude", "differential", "offset", "balanced"]
    assert [Layout(None, 1, e).crossbars for e in encodings] == [2, 2, 1, 2]
