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
        """g (float[2,4,5,5] x) => (float[2,4,5,5] y) <float[2] s, float[2] b, float[4,4,1,1] w> {
          c = Conv (x, w)
          y = GroupNormalization <num_groups = 2> (c, s, b)
        }""",
    ),
}
"""Name -> (first opset, last opset of this form, text)."""


MAPPED: dict[str, tuple[list[str], str]] = {
    "conv1d": (
        ["Conv"],
        """g (float[2,4,9] x) => (float[N,C,L] y) <float[6,2,3] w, float[6] b> {
          y = Conv <group = 2, dilations = [2], strides = [2], pads = [1,2]> (x, w, b)
        }""",
    ),
    "conv2d": (
        ["Conv", "Gemm"],
        """g (float[B,2,6,6] x) => (float[N,M] y)
        <float[4,2,3,3] w, float[4] b, float[3,144] v, float[3] c> {
          h = Conv <auto_pad = "SAME_UPPER"> (x, w, b)
          r = Relu (h)
          f = Flatten (r)
          y = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (f, v, c)
        }""",
    ),
    "depthwise": (
        ["Conv"],
        """g (float[1,6,5,5] x) => (float[N,C,H,W] y) <float[6,1,3,3] w> {
          y = Conv <group = 6> (x, w)
        }""",
    ),
    "conv3d": (
        ["Conv"],
        """g (float[1,2,4,4,4] x) => (float[N,C,D,H,W] y) <float[3,2,2,2,2] w> {
          y = Conv <strides = [1,2,1]> (x, w)
        }""",
    ),
    "transposed": (
        ["ConvTranspose"],
        """g (float[1,4,5,5] x) => (float[N,C,H,W] y) <float[4,3,3,3] w, float[6] b> {
          y = ConvTranspose <group = 2, strides = [2,2], output_padding = [1,0]> (x, w, b)
        }""",
    ),
    "gemm": (
        ["Gemm"],
        """g (float[5,3] x) => (float[N,M] y) <float[5,4] w, float[3,4] c> {
          y = Gemm <transA = 1, alpha = 1.5> (x, w, c)
        }""",
    ),
    "matmul": (
        ["MatMul", "MatMul"],
        """g (float[B,3,5] x) => (float[N,M,K] y) <float[5,4] v, float[1,4,2] w> {
          h = MatMul (x, v)
          y = MatMul (h, w)
        }""",
    ),
    "vector": (
        ["MatMul"],
        """g (float[B,5] x) => (float[N] y) <float[5] w> { y = MatMul (x, w) }""",
    ),
    "left": (
        ["LeftMatMul"],
        """g (float[2,5,3] x) => (float[N,M,K] y) <float[4,5] w> { y = MatMul (w, x) }""",
    ),
    "lstm": (
        ["LSTM"],
        """g (float[5,2,3] x) => (float[T,D,N,H] y, float[D,N,H] h, float[D,N,H] c)
        <float[2,16,3] w, float[2,16,4] r, float[2,32] b> {
          y, h, c = LSTM <hidden_size = 4, direction = "bidirectional"> (x, w, r, b)
        }""",
    ),
    "lstm_peephole": (
        ["LSTM"],
        """g (float[5,2,3] x, float[1,2,4] h0) => (float[D,N,H] h)
        <float[1,16,3] w, float[1,16,4] r, float[1,12] p> {
          , h = LSTM <hidden_size = 4> (x, w, r, , , h0, , p)
        }""",
    ),
    "gru": (
        ["GRU"],
        """g (float[5,2,3] x) => (float[T,D,N,H] y) <float[1,12,3] w, float[1,12,4] r> {
          y = GRU <hidden_size = 4, linear_before_reset = 1> (x, w, r)
        }""",
    ),
    "rnn": (
        ["RNN"],
        """g (float[5,2,3] x) => (float[T,D,N,H] y) <float[1,4,3] w, float[1,4,4] r, float[1,8] b> {
          y = RNN <hidden_size = 4, activations = ["Relu"]> (x, w, r, b)
        }""",
    ),
    "shared": (
        ["MatMul", "MatMul"],
        """g (float[B,4] x) => (float[N,M] y) <float[4,4] w> {
          a = MatMul (x, w)
          r = Relu (a)
          i = Identity (w)
          y = MatMul (r, i)
        }""",
    ),
    "tied": (
        ["MatMul"],
        """g (int64[B] x) => (float[N,M] y) <float[7,4] w> {
          e = Gather (w, x)
          t = Transpose <perm = [1,0]> (w)
          y = MatMul (e, t)
        }""",
    ),
    "branch": (
        ["Gemm", "MatMul", "MatMul"],
        """g (float[2,4] x, bool c) => (float[N,M] y) <float[4,4] w, float[4] b> {
          h = Gemm (x, w, b)
          y = If (c) <
            then_branch = t () => (float[N,M] p) { p = MatMul (h, w) },
            else_branch = e () => (float[N,M] q) {
              k = Constant <value = float[4,4] {1.0, -2.0, 0.5, 0.25, 3.0, -1.0, 0.0, 2.0,
                                                0.0, 1.0, 1.5, -0.5, 2.5, -3.0, 1.0, 0.125}> ()
              q = MatMul (h, k)
            }
          >
        }""",
    ),
    "loop": (
        ["MatMul"],
        """g (float[2,4] x) => (float[N,M] y)
        <float[4,4] w, int64 n = {3}, bool go = {1}> {
          y = Loop (n, go, x) <
            body = b (int64 i, bool g, float[2,4] s) => (bool o, float[2,4] z) {
              o = Identity (g)
              m = MatMul (s, w)
              z = Tanh (m)
            }
          >
        }""",
    ),
    "scan": (
        ["MatMul", "MatMul"],
        """g (float[2,3] s, float[5,2,4] x) => (float[N,D] z, float[T,N,H] y)
        <float[4,3] w, float[3,3] r> {
          z, y = Scan <num_scan_inputs = 1, body = b (float[2,3] p, float[2,4] e) =>
                       (float[2,3] q, float[2,3] o) {
            h = MatMul (p, r)
            q = Tanh (h)
            o = MatMul (e, w)
          }> (s, x)
        }""",
    ),
}
"""Name -> (the `nvmc` operators expected, text)."""


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
        feeds[value.name] = np.ones(shape, bool) if dtype.kind == "b" else array.astype(dtype)
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
