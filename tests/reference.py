"""Slow oracles: one Python loop per index, in double precision, straight from the definitions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["conv", "conv_transpose", "gru", "lstm", "matmul", "rnn", "sigmoid"]

Array = NDArray[Any]


def conv(
    x: Array,
    w: Array,
    b: Array | None,
    *,
    group: int,
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
) -> Array:
    """ONNX Conv with explicit pads: every output is a sum over channels and taps."""
    rank = w.ndim - 2
    sizes = [
        (x.shape[2 + a] + pads[a] + pads[rank + a] - (w.shape[2 + a] - 1) * dilations[a] - 1)
        // strides[a]
        + 1
        for a in range(rank)
    ]
    y = np.zeros((x.shape[0], w.shape[0], *sizes))
    per_group = w.shape[0] // group
    for n, m, *place in np.ndindex(*y.shape):
        total = 0.0 if b is None else float(b[m])
        for c, *tap in np.ndindex(*w.shape[1:]):
            at = [place[a] * strides[a] + tap[a] * dilations[a] - pads[a] for a in range(rank)]
            if all(0 <= at[a] < x.shape[2 + a] for a in range(rank)):
                channel = (m // per_group) * w.shape[1] + c
                total += float(x[(n, channel, *at)]) * float(w[(m, c, *tap)])
        y[(n, m, *place)] = total
    return y


def conv_transpose(
    x: Array,
    w: Array,
    b: Array | None,
    *,
    group: int,
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    output_padding: Sequence[int],
) -> Array:
    """ONNX ConvTranspose with explicit pads: every input is spread over channels and taps."""
    rank = w.ndim - 2
    sizes = [
        strides[a] * (x.shape[2 + a] - 1)
        + output_padding[a]
        + (w.shape[2 + a] - 1) * dilations[a]
        + 1
        - pads[a]
        - pads[rank + a]
        for a in range(rank)
    ]
    y = np.zeros((x.shape[0], w.shape[1] * group, *sizes))
    if b is not None:
        y += np.asarray(b, float).reshape(-1, *[1] * rank)
    per_group = w.shape[0] // group
    for n, c, *place in np.ndindex(*x.shape):
        for m, *tap in np.ndindex(*w.shape[1:]):
            at = [place[a] * strides[a] + tap[a] * dilations[a] - pads[a] for a in range(rank)]
            if all(0 <= at[a] < sizes[a] for a in range(rank)):
                channel = (c // per_group) * w.shape[1] + m
                y[(n, channel, *at)] += float(x[(n, c, *place)]) * float(w[(c, m, *tap)])
    return y


def matmul(a: Array, b: Array) -> Array:
    """NumPy's matmul of arrays of at least two axes: every output is a sum of products."""
    outer = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left = np.broadcast_to(a, (*outer, *a.shape[-2:]))
    right = np.broadcast_to(b, (*outer, *b.shape[-2:]))
    y = np.zeros((*outer, a.shape[-2], b.shape[-1]))
    for *place, i, j in np.ndindex(*y.shape):
        y[(*place, i, j)] = sum(
            float(left[(*place, i, k)]) * float(right[(*place, k, j)]) for k in range(a.shape[-1])
        )
    return y


def sigmoid(x: float) -> float:
    """The logistic function."""
    return 1 / (1 + math.exp(-x))


def _gate(
    gate: int, unit: int, x: Array, h: list[float], w: Array, r: Array
) -> tuple[float, float]:
    """One row of W times x and the same row of R times h."""
    row = gate * len(h) + unit
    inputs = sum(float(w[row, k]) * float(x[k]) for k in range(len(x)))
    return inputs, sum(float(r[row, k]) * h[k] for k in range(len(h)))


def _clip(x: float, limit: float) -> float:
    return max(-limit, min(limit, x))


def lstm(
    x: Array,
    w: Array,
    r: Array,
    b: Array,
    p: Array,
    h: Sequence[float],
    c: Sequence[float],
    *,
    clip: float = math.inf,
    input_forget: bool = False,
) -> tuple[list[list[float]], list[float], list[float]]:
    """One direction over one sequence x (steps, size): every h, the last h, the last c."""
    size, outputs = len(h), list[list[float]]()
    hidden, cell = [float(v) for v in h], [float(v) for v in c]
    bias = [float(b[k]) + float(b[4 * size + k]) for k in range(4 * size)]
    for step in x:
        new_h, new_c = [0.0] * size, [0.0] * size
        for u in range(size):
            i, o, f, g = (
                sum(_gate(k, u, step, hidden, w, r)) + bias[k * size + u] for k in range(4)
            )
            i = sigmoid(_clip(i + float(p[u]) * cell[u], clip))
            f = sigmoid(_clip(f + float(p[2 * size + u]) * cell[u], clip))
            f = 1 - i if input_forget else f
            new_c[u] = f * cell[u] + i * math.tanh(_clip(g, clip))
            o = sigmoid(_clip(o + float(p[size + u]) * new_c[u], clip))
            new_h[u] = o * math.tanh(new_c[u])
        hidden, cell = new_h, new_c
        outputs.append(hidden)
    return outputs, hidden, cell


def gru(
    x: Array,
    w: Array,
    r: Array,
    b: Array,
    h: Sequence[float],
    *,
    clip: float = math.inf,
    linear_before_reset: bool = False,
) -> tuple[list[list[float]], list[float]]:
    """One direction over one sequence x (steps, size): every h and the last."""
    size, outputs = len(h), list[list[float]]()
    hidden = [float(v) for v in h]
    wb, rb = [float(v) for v in b[: 3 * size]], [float(v) for v in b[3 * size :]]
    for step in x:
        z, reset = (
            [
                sigmoid(
                    _clip(
                        sum(_gate(k, u, step, hidden, w, r)) + wb[k * size + u] + rb[k * size + u],
                        clip,
                    )
                )
                for u in range(size)
            ]
            for k in range(2)
        )
        faded = [reset[u] * hidden[u] for u in range(size)]
        new = [0.0] * size
        for u in range(size):
            row = 2 * size + u
            inputs, state = _gate(2, u, step, hidden if linear_before_reset else faded, w, r)
            state += rb[row]
            state = reset[u] * state if linear_before_reset else state
            candidate = math.tanh(_clip(inputs + wb[row] + state, clip))
            new[u] = (1 - z[u]) * candidate + z[u] * hidden[u]
        hidden = new
        outputs.append(hidden)
    return outputs, hidden


def rnn(
    x: Array,
    w: Array,
    r: Array,
    b: Array,
    h: Sequence[float],
    *,
    clip: float = math.inf,
    function: Callable[[float], float] = math.tanh,
) -> tuple[list[list[float]], list[float]]:
    """One direction over one sequence x (steps, size): every h and the last."""
    size, outputs = len(h), list[list[float]]()
    hidden = [float(v) for v in h]
    for step in x:
        hidden = [
            function(
                _clip(sum(_gate(0, u, step, hidden, w, r)) + float(b[u]) + float(b[size + u]), clip)
            )
            for u in range(size)
        ]
        outputs.append(hidden)
    return outputs, hidden
