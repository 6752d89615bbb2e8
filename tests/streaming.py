"""A small network for voice activity: one step of a convolution and an LSTM, with its state fed in.

Its inputs are those of Silero VAD: a chunk of sound, h and c in one state with the images along the
middle axis, and the sample rate, a scalar.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

HIDDEN, CHUNK = 8, 32

STEP = """g (float[N,32] x, float[2,N,8] state, int64 sr) => (float[N,1] prob, float[2,N,8] stateN)
<float[6,1,16] cw, float[6] cb, float[1,32,6] w, float[1,32,8] r, float[1,64] b, float[8,1] v,
 float[1] c, int64[1] one = {1}, int64[1] zero = {0}, int64[1] two = {2}, float k = {16000.0}> {
  u = Unsqueeze (x, one)
  f = Conv <strides = [8]> (u, cw, cb)
  t = Relu (f)
  p = GlobalAveragePool (t)
  s = Squeeze (p, two)
  rate = Cast <to = 1> (sr)
  ratio = Div (rate, k)
  scaled = Mul (s, ratio)
  e = Unsqueeze (scaled, zero)
  h0, c0 = Split <axis = 0, num_outputs = 2> (state)
  y, h1, c1 = LSTM <hidden_size = 8> (e, w, r, b, , h0, c0)
  stateN = Concat <axis = 0> (h1, c1)
  hs = Squeeze (h1, zero)
  z = Gemm (hs, v, c)
  prob = Sigmoid (z)
}"""
"""In ONNX's text syntax (see onnx_text.proto_of)."""

Real = NDArray[np.floating[Any]]


def over_steps(
    weights: Mapping[str, Real], x: Real, rate: float = 16000.0, begin: float = 0.0
) -> Real:
    """The network's outputs by NumPy, one step after the other, shape (N, 1, T).

    Args:
        weights: cw, cb, w, r, b, v and c.
        x: Shape (N, T, CHUNK).
        rate: The input `sr`.
        begin: What every state begins with.
    """
    w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    h = np.full((len(x), HIDDEN), begin)
    c = np.full((len(x), HIDDEN), begin)
    found: list[Real] = []
    for t in range(x.shape[1]):
        windows = np.stack([x[:, t, i : i + 16] for i in (0, 8, 16)], 1)
        features = np.maximum(windows @ w["cw"][:, 0].T + w["cb"], 0).mean(1) * (rate / 16000)
        bias = w["b"][0, : 4 * HIDDEN] + w["b"][0, 4 * HIDDEN :]
        gates = np.split(features @ w["w"][0].T + h @ w["r"][0].T + bias, 4, axis=1)
        i, o, f = (1 / (1 + np.exp(-gate)) for gate in gates[:3])
        c = f * c + i * np.tanh(gates[3])
        h = o * np.tanh(c)
        found.append(1 / (1 + np.exp(-(h @ w["v"] + w["c"]))))
    return np.stack(found, -1)
