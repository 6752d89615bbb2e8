from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nvmc.passes.fold_batchnorm import FoldBatchnorm
from onnx_models import feeds_of, run_proto
from onnx_text import proto_of, text_of

NORM = "float[4] s, float[4] t, float[4] m, float[4] v = {1.0, 2.0, 0.5, 0.7}"

FOLDED = {
    "conv": f"""g (float[2,3,5,5] x) => (y) <float[4,3,3,3] w, {NORM}> {{
      c = Conv (x, w)
      y = BatchNormalization <epsilon = 0.01> (c, s, t, m, v)
    }}""",
    "conv with bias": f"""g (float[2,4,5,5] x) => (y) <float[4,2,3,3] w, float[4] b, {NORM}> {{
      c = Conv <group = 2> (x, w, b)
      n = BatchNormalization (c, s, t, m, v)
      y = Relu (n)
    }}""",
    "transposed": f"""g (float[2,4,5,5] x) => (y) <float[4,2,3,3] w, float[4] b, {NORM}> {{
      c = ConvTranspose <group = 2> (x, w, b)
      y = BatchNormalization (c, s, t, m, v)
    }}""",
    "gemm": f"""g (float[2,3] x) => (y) <float[3,4] w, float[1,4] b, {NORM}> {{
      c = Gemm <alpha = 0.5, beta = 2.0> (x, w, b)
      y = BatchNormalization (c, s, t, m, v)
    }}""",
    "gemm transposed": f"""g (float[2,3] x) => (y) <float[4,3] w, {NORM}> {{
      c = Gemm <transB = 1> (x, w)
      y = BatchNormalization (c, s, t, m, v)
    }}""",
    "shared bias": f"""g (float[2,4,5,5] x) => (y) <float[4,4,1,1] w, float[4] b, {NORM}> {{
      c = Conv (x, w, b)
      n = BatchNormalization (c, s, t, m, v)
      y = Conv (n, u, b)
    }}""".replace("float[4] b,", "float[4] b, float[4,4,1,1] u,"),
}

KEPT = {
    "output read elsewhere": f"""g (float[2,4,5,5] x) => (y) <float[4,4,1,1] w, {NORM}> {{
      c = Conv (x, w)
      n = BatchNormalization (c, s, t, m, v)
      y = Add (c, n)
    }}""",
    "output of the network": f"""g (float[2,4,5,5] x) => (c, y) <float[4,4,1,1] w, {NORM}> {{
      c = Conv (x, w)
      y = BatchNormalization (c, s, t, m, v)
    }}""",
    "shared weight": f"""g (float[2,4,5,5] x) => (y) <float[4,4,1,1] w, {NORM}> {{
      a = Conv (x, w)
      n = BatchNormalization (a, s, t, m, v)
      y = Conv (n, w)
    }}""",
    "weight at run time": f"""g (float[2,4,5,5] x, float[4,4,1,1] w) => (y) <{NORM}> {{
      c = Conv (x, w)
      y = BatchNormalization (c, s, t, m, v)
    }}""",
    "bias at run time": f"""g (float[2,4,5,5] x, float[4] b) => (y) <float[4,4,1,1] w, {NORM}> {{
      c = Conv (x, w, b)
      y = BatchNormalization (c, s, t, m, v)
    }}""",
    "training form": f"""g (float[2,4,5,5] x) => (y) <float[4,4,1,1] w, {NORM}> {{
      c = Conv (x, w)
      y, q, r = BatchNormalization <training_mode = 1> (c, s, t, m, v)
    }}""",
    "no layer before": f"""g (float[2,4,5,5] x) => (y) <{NORM}> {{
      c = Relu (x)
      y = BatchNormalization (c, s, t, m, v)
    }}""",
}


@pytest.mark.parametrize("name", FOLDED)
def test_the_norm_goes_and_the_network_stays(name: str) -> None:
    proto = proto_of(FOLDED[name])
    model = ir.from_proto(proto)
    assert FoldBatchnorm()(model).modified
    found = ir.to_proto(model)
    onnx.checker.check_model(found, full_check=True)
    assert all(node.op_type != "BatchNormalization" for node in model.graph)
    feeds = feeds_of(proto)
    # Sums of n <= 36 products are rounded at other places: n * 2**-24 of terms of order 10.
    for one, other in zip(run_proto(found, feeds), run_proto(proto, feeds), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=36 * 2**-24 * 10)
    assert not FoldBatchnorm()(model).modified


@pytest.mark.parametrize("name", KEPT)
def test_norms_that_must_stay(name: str) -> None:
    model = ir.from_proto(proto_of(KEPT[name]))
    before = text_of(model)
    assert not FoldBatchnorm()(model).modified
    assert text_of(model) == before
