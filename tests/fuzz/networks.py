"""Small networks of many kinds, which inputs are made of or run on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from onnx_text import proto_of

__all__ = ["NETWORKS", "network", "save_networks"]

NETWORKS = {
    "dense": """g (float[N,8] x) => (float[N,3] y)
        <float[8,6] w1, float[6] b1, float[6,3] w2, float[3] b2> {
          h = Gemm (x, w1, b1)
          a = Relu (h)
          s = Gemm <alpha = 0.5, transA = 0> (a, w2, b2)
          y = Softmax <axis = 1> (s)
        }""",
    "images": """g (float[N,1,6,6] x) => (float[N,10] y)
        <float[4,1,3,3] w1, float[4] b1, float[4] s, float[4] t, float[4] m, float[4,2,2,2] w2,
         float[16,10] w3, int64[2] to = {0, 16}, float[4] v = {1, 2, 1, 0.5}> {
          c = Conv <pads = [1,1,1,1]> (x, w1, b1)
          n = BatchNormalization <epsilon = 1e-5> (c, s, t, m, v)
          r = Relu (n)
          p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (r)
          d = Conv <group = 2> (p, w2)
          f = Reshape (d, to)
          y = MatMul (f, w3)
        }""",
    "colour": """g (float[N,3,32,32] x) => (float[N,10] y)
        <float[4,3,4,4] w1, float[4,10] w2> {
          c = Conv <strides = [4,4]> (x, w1)
          r = Relu (c)
          p = GlobalAveragePool (r)
          f = Flatten (p)
          y = MatMul (f, w2)
        }""",
    "tokens": """g (int64[N,T] input_ids) => (float[N,T,11] y)
        <float[11,4] e, float[4,4] q, float[4,4] k, float[4,4] v, float[4] g, float[4,11] o,
         float two = {2}> {
          h = Gather (e, input_ids)
          n = LayerNormalization <axis = -1> (h, g)
          a = MatMul (n, q)
          b = MatMul (n, k)
          t = Transpose <perm = [0,2,1]> (b)
          s = MatMul (a, t)
          d = Div (s, two)
          p = Softmax <axis = -1> (d)
          c = MatMul (n, v)
          m = MatMul (p, c)
          z = Add (m, h)
          y = MatMul (z, o)
        }""",
    "recurrent": """g (float[T,N,3] x) => (float[T,1,N,4] y, float[1,N,4] last)
        <float[1,16,3] w, float[1,16,4] r, float[1,32] b> {
          y, last = LSTM <hidden_size = 4, direction = "forward"> (x, w, r, b)
        }""",
    "branches": """g (float[N,4] x, bool c) => (float[N,2] y)
        <float[4,4] w, float[4,2] u, float[4,2] z> {
          h = MatMul (x, w)
          a = Dropout (h)
          y = If (c) <
            then_branch = t () => (float[N,2] p) { p = MatMul (a, u) },
            else_branch = f () => (float[N,2] q) { q = MatMul (a, z) }>
        }""",
    "pair": """g (float[N,4] x, float[N,2] c) => (float[N,2] y)
        <float[6,2] w> {
          h = Concat <axis = 1> (x, c)
          y = MatMul (h, w)
        }""",
    "quantised": """g (float[N,4] x) => (float[N,3] y)
        <int8[4,3] w = {1,-2,3,4,-5,6,7,-8,9,10,-11,12}, float s = {0.1}, int8 z = {0},
         float xs = {0.05}, uint8 xz = {128}> {
          a = QuantizeLinear (x, xs, xz)
          b = DequantizeLinear (a, xs, xz)
          d = DequantizeLinear (w, s, z)
          y = MatMul (b, d)
        }""",
    "shapes": """g (float[N,2,8] x) => (float[N,5] y)
        <float[4,5] w, int64[1] one = {1}, int64[1] four = {4}> {
          s = Shape (x)
          i = Constant <value_ints = [0]> ()
          n = Gather (s, i)
          t = Concat <axis = 0> (n, four, four)
          r = Reshape (x, t)
          m = ReduceMean <keepdims = 0> (r, one)
          q = Clip (m)
          y = MatMul (q, w)
        }""",
    "upsampled": """g (float[N,2,4,4] x) => (float[N,3,8,8] y)
        <float[2,3,2,2] w, float[3] b, float[3] sl> {
          c = ConvTranspose <strides = [2,2]> (x, w, b)
          p = Pad <mode = "reflect"> (c, pads)
          k = Slice (p, starts, ends, axes)
          y = LeakyRelu <alpha = 0.1> (k)
        }""",
}
"""Name -> ONNX text; all but `upsampled` have a batch of any size and run on float inputs."""

_STORED = {
    "upsampled": {
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "starts": np.array([1, 1]),
        "ends": np.array([9, 9]),
        "axes": np.array([2, 3]),
    }
}


def network(name: str) -> onnx.ModelProto:
    """One of `NETWORKS`, with random weights of a sane size."""
    proto = proto_of(NETWORKS[name], seed=len(name), **_STORED.get(name, {}))
    for tensor in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.ndim > 1:
            tensor.CopyFrom(onnx.numpy_helper.from_array(0.4 * array, tensor.name))
    return proto


def save_networks(folder: Path, *names: str) -> None:
    """Write networks as NAME.onnx."""
    for name in names or NETWORKS:
        onnx.save(network(name), folder / f"{name}.onnx")
