"""onnxruntime's optimisers leave the weights of a network with quantised activations alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from compiled_networks import load_network
from nvmc import Chip, Target, compile_model, load_device, make_session, program_chip
from nvmc.compiled.options import CompileOptions
from nvmc.runtime import sessions
from nvmc.runtime.montecarlo import open_session
from nvmc.runtime.sessions import check_loads, crashing_optimisers
from onnx_text import proto_of
from quantised_networks import IMAGES, exact

STEP = 0.0005
"""Of the last QuantizeLinear: 16 bits, so that rounding a weight to 8 bits shows."""
TEXT = f"""g (float[N,3,8,8] x) => (float[N,4,6,6] y)
<float s = {{0.0001}}, uint16 z = {{32768}}, float t = {{{STEP}}}, float[4,3,3,3] w, float[4] b> {{
  q = QuantizeLinear (x, s, z)
  d = DequantizeLinear (q, s, z)
  c = Conv (d, w, b)
  r = Relu (c)
  p = QuantizeLinear (r, t, z)
  y = DequantizeLinear (p, t, z)
}}"""
TARGET = Target.of(load_device("fefet2"), weight_bits=8)
FEEDS = {"x": IMAGES[:4]}
TOLERANCE = STEP * 1.001
"""Kernels add in another order, which turns a rounding where a sum lies between two steps."""


def difference(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    return float(np.abs(found[0] - expected[0]).max())


def test_onnxruntime_rounds_such_weights_by_default(tmp_path: Path) -> None:
    # The fault itself: without it the tests below show nothing.
    proto = proto_of(TEXT)
    stock = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    assert difference(stock.run(None, FEEDS), exact(proto, FEEDS)) > 20 * STEP


DIGITAL = TEXT.replace(
    "y = DequantizeLinear (p, t, z)",
    """e = DequantizeLinear (p, t, z)
  f = Conv (e, v)
  o = QuantizeLinear (f, t, z)
  y = DequantizeLinear (o, t, z)""",
).replace("float[4] b>", "float[4] b, float[4,4,1,1] v>")


@pytest.mark.parametrize(("text", "skip"), [(TEXT, ()), (DIGITAL, ("Conv_1",))])
def test_the_ideal_chip_and_every_chip_keep_their_weights(
    tmp_path: Path, text: str, skip: tuple[str, ...]
) -> None:
    onnx.save(proto_of(text), tmp_path / "m.onnx")
    options = CompileOptions(skip=skip)
    compiled = compile_model(tmp_path / "m.onnx", TARGET, options, output=tmp_path / "m.nvmc")
    network = load_network(compiled, TARGET)
    chip = program_chip(compiled, 3, tmp_path / "chip.onnx", seed=1)
    for which, path in ((Chip.ideal(), compiled.model_path), (chip, tmp_path / "chip.onnx")):
        expected = exact(onnx.load(path), FEEDS)
        sessions = {
            "stock": ort.InferenceSession(path, providers=["CPUExecutionProvider"]),
            "cells": open_session(network, which),
            "provider": make_session(compiled.model_path, chip=which),
        }
        for name, session in sessions.items():
            assert difference(session.run(None, FEEDS), expected) <= TOLERANCE, name


@pytest.mark.parametrize(("kind", "left_out"), [("float", []), ("float16", ["NchwcTransformer"])])
def test_float16_does_without_the_optimiser_that_crashes_on_it(
    kind: str, left_out: list[str], tmp_path: Path
) -> None:
    text = f"g ({kind}[N,4] x) => ({kind}[N,4] y) {{ y = Relu (x) }}"
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {text}')
    onnx.save(proto, tmp_path / "m.onnx")
    assert crashing_optimisers(proto.SerializeToString()) == left_out
    assert crashing_optimisers(str(tmp_path / "m.onnx")) == left_out
    assert crashing_optimisers(b"no network") == []


def test_a_check_without_optimisers_parses_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which took twice its memory."""
    onnx.save(proto_of(TEXT), tmp_path / "m.onnx")
    monkeypatch.setattr(sessions, "crashing_optimisers", lambda _: pytest.fail("parsed"))
    check_loads(tmp_path / "m.onnx")
