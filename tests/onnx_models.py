"""Small networks for tests of passes, in ONNX's text syntax (see onnx_text.proto_of).

`OF_OPSET` holds, for each opset from which on it is valid, operators in a form that later opsets
changed; `MAPPED` one network for each way that a weight can reach a crossbar.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort

OF_OPSET: dict[str, tuple[int, int, str]] = {
    "batchnorm": (
        7,
        13,
        """g (float[2,3,8,8] x) => (float[N,C,H,W] y)
        <float[4,3,3,3] w, float[4] b, float[4] s, float[4] t, float[4] m,
         float[4] v = {1.0, 2.0, 0.5, 0.7}> {
          c = Conv <pads = [1,1,1,1]> (x, w, b)
          n = BatchNormalization <epsilon = 0.01> (c, s, t, m, v)
          y = Relu (n)
        }""",
    ),
    "dropout": (
        7,
        11,
        """g (float[2,6] x) => (float[N,M] y) <float[6,4] w, float[4] b> {
          d = Dropout <ratio = 0.4> (x)
          y = Gemm (d, w, b)
        }""",
    ),
    "softmax": (
        7,
        12,
        """g (float[2,3,4] x) => (float[N,M,K] y) <float[4,5] w> {
          z = MatMul (x, w)
          y = Softmax (z)
        }""",
    ),
    "squeeze": (
        7,
        12,
        """g (float[2,6] x) => (float[N,M] y) <float[1,6,4] w> {
          v = Squeeze <axes = [0]> (w)
          z = MatMul (x, v)
          u = Unsqueeze <axes = [1]> (z)
          y = ReduceSum <axes = [1], keepdims = 0> (u)
        }""",
    ),
    "pad": (
        7,
        10,
        """g (float[1,2,5,5] x) => (float[N,C,H,W] y) <float[3,2,3,3] w> {
          p = Pad <pads = [0,0,1,2,0,0,1,0], value = 0.5> (x)
          c = Conv (p, w)
          y = Clip <min = -1.0, max = 2.0> (c)
        }""",
    ),
    "slice": (
        7,
        9,
        """g (float[4,8] x) => (float[N,M] y) <float[5,3] w> {
          s = Slice <axes = [1], starts = [1], ends = [6]> (x)
          y = MatMul (s, w)
        }""",
    ),
    "upsample": (
        9,
        9,
        """g (float[1,2,3,3] x) => (float[N,C,H,W] y)
        <float[2,2,1,1] w, float[4] scales = {1.0, 1.0, 2.0, 2.0}> {
          u = Upsample <mode = "nearest"> (x, scales)
          y = Conv (u, w)
        }""",
    ),
    "split": (
        7,
        12,
        """g (float[2,6] x) => (float[N,M] y) <float[6,4] w> {
          z = MatMul (x, w)
          a, b = Split <axis = 1, split = [1,3]> (z)
          y = Concat <axis = 1> (b, a)
        }""",
    ),
    "topk": (
        7,
        9,
        """g (float[2,6] x) => (float[N,M] y) <float[6,5] w> {
          z = MatMul (x, w)
          y, i = TopK <k = 3> (z)
        }""",
    ),
    "lstm": (
        7,
        13,
        """g (float[5,2,3] x) => (float[T,D,N,H] y)
        <float[1,16,3] w, float[1,16,4] r, float[1,32] b> {
          y = LSTM <hidden_size = 4> (x, w, r, b)
        }""",
    ),
    "branch": (
        11,
        12,
        """g (float[2,3] x, bool c) => (float[N,M,K] y) <float[3,3] w> {
          y = If (c) <
            then_branch = t () => (float[N,M,K] a) { p = MatMul (x, w) a = Unsqueeze<axes=[0]>(p) },
            else_branch = e () => (float[N,M,K] b) { q = MatMul (x, w) b = Unsqueeze<axes=[1]>(q) }
          >
        }""",
    ),
    "groupnorm": (
        18,
        20,
        """g (float[2,4,5,5] x) => (float[N,C,H,W] y) <float[2] s, float[2] b, float[3,4,1,1] w> {
          n = GroupNormalization <num_groups = 2> (x, s, b)
          y = Conv (n, w)
        }""",
    ),
}
"""Name -> (first opset, last opset of this form, text)."""


def feeds_of(proto: onnx.ModelProto, seed: int = 1) -> dict[str, np.ndarray]:
    """Seeded inputs of a model: standard normals, or True for a boolean."""
    generator = np.random.default_rng(seed)
    stored = {tensor.name for tensor in proto.graph.initializer}
    feeds: dict[str, np.ndarray] = {}
    for value in proto.graph.input:
        if value.name in stored:
            continue
        kind = value.type.tensor_type
        shape = [dim.dim_value or 2 for dim in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        array = generator.standard_normal(shape)
        feeds[value.name] = np.ones(shape, bool) if dtype == bool else array.astype(dtype)
    return feeds


def run_proto(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Every output, by stock onnxruntime on one thread, without its graph optimisations."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)
