"""Ranges of networks that one protobuf message cannot hold."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from nvmc.passes.graph import describe
from nvmc.passes.graph.describe import serialized, serialized_apart
from nvmc.runtime.calibration import calibrate
from nvmc.runtime.montecarlo import Feed


def test_weights_beside_the_message_give_the_same_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 GiB are stood in for by 1 KiB; the message then holds nothing large."""
    monkeypatch.setattr(describe, "LARGEST_FILE", 1 << 10)
    random = np.random.default_rng(0)
    first = random.standard_normal((64, 64)).astype(np.float32)
    second = random.standard_normal((64, 8)).astype(np.float32)
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[N, 64] x) => (float[N, 8] y)'
        "{ h = MatMul(x, a) r = Relu(h) y = MatMul(r, b) }"
    )
    proto.graph.initializer.extend(
        [numpy_helper.from_array(first, "a"), numpy_helper.from_array(second, "b")]
    )
    model = ir.from_proto(proto)
    x = random.standard_normal((5, 64)).astype(np.float32)
    whole = serialized(model, ["h"])
    content, weights = serialized_apart(model, ["h"])
    assert set(weights) == {"a"} and len(content) < len(whole) - first.nbytes + 200
    found = calibrate(content, ["h", "y"], Feed({"x": x}), weights)
    assert found == calibrate(whole, ["h", "y"], Feed({"x": x}))
    low, high = found["h"]
    np.testing.assert_allclose([low, high], [(x @ first).min(), (x @ first).max()], rtol=1e-5)
    assert serialized(model, ["h"]) == whole  # the model is as before
