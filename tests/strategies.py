"""Hypothesis strategies that several tests share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

__all__ = [
    "Case",
    "conv_cases",
    "conv_transpose_cases",
    "gemm_cases",
    "matmul_cases",
    "recurrent_cases",
]

Array = NDArray[Any]


@dataclass
class Case:
    """One node of a standard operator: its inputs in order (None where absent) and attributes."""

    op: str
    inputs: list[Array | None]
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])


def _values(rng: np.random.Generator, *shape: int) -> Array:
    return rng.uniform(-1, 1, shape).astype(np.float32)


def _sizes(draw: st.DrawFn, rank: int, low: int, high: int) -> list[int]:
    return draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))


_rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def conv_cases(draw: st.DrawFn) -> Case:
    """Conv in one to three dimensions, in all its forms."""
    rng, rank = draw(_rngs), draw(st.integers(1, 3))
    group = draw(st.integers(1, 3))
    kernel = _sizes(draw, rank, 1, 3)
    auto_pad = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    attributes: dict[str, Any] = {"group": group, "auto_pad": auto_pad}
    attributes["strides"] = _sizes(draw, rank, 1, 3)
    # onnxruntime refuses dilations with SAME padding
    top = 1 if auto_pad.startswith("SAME") else 3
    attributes["dilations"] = _sizes(draw, rank, 1, top)
    if auto_pad == "NOTSET":
        attributes["pads"] = _sizes(draw, 2 * rank, 0, 2)
    if draw(st.booleans()):
        attributes["kernel_shape"] = kernel
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, attributes["dilations"], strict=True)]
    image = [r + extra for r, extra in zip(reach, _sizes(draw, rank, 0, 6), strict=True)]
    inputs, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 3)) * group
    x = _values(rng, draw(st.integers(1, 3)), inputs * group, *image)
    w = _values(rng, outputs, inputs, *kernel)
    b = _values(rng, outputs) if draw(st.booleans()) else None
    return Case("Conv", [x, w, b], attributes)


@st.composite
def conv_transpose_cases(draw: st.DrawFn) -> Case:
    """ConvTranspose in one to three dimensions, in all its forms."""
    rng, rank = draw(_rngs), draw(st.integers(1, 3))
    group = draw(st.integers(1, 3))
    kernel, image = _sizes(draw, rank, 1, 3), _sizes(draw, rank, 1, 5)
    strides, dilations = _sizes(draw, rank, 1, 3), _sizes(draw, rank, 1, 2)
    attributes: dict[str, Any] = {"group": group, "strides": strides, "dilations": dilations}
    full = [
        s * (n - 1) + (k - 1) * d + 1
        for s, n, k, d in zip(strides, image, kernel, dilations, strict=True)
    ]
    form = draw(st.sampled_from(["pads", "output_shape", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if form == "pads":
        begin = [draw(st.integers(0, (size - 1) // 2)) for size in full]
        end = [draw(st.integers(0, (size - 1) // 2)) for size in full]
        attributes["pads"] = [*begin, *end]
        attributes["output_padding"] = [draw(st.integers(0, s - 1)) for s in strides]
    elif form == "output_shape":
        attributes["output_shape"] = [
            draw(st.integers(1, size + s - 1)) for size, s in zip(full, strides, strict=True)
        ]
        attributes["auto_pad"] = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER"]))
    else:
        attributes["auto_pad"] = form
    inputs, outputs = draw(st.integers(1, 3)) * group, draw(st.integers(1, 3))
    x = _values(rng, draw(st.integers(1, 3)), inputs, *image)
    w = _values(rng, inputs, outputs, *kernel)
    b = _values(rng, outputs * group) if draw(st.booleans()) else None
    return Case("ConvTranspose", [x, w, b], attributes)


@st.composite
def gemm_cases(draw: st.DrawFn) -> Case:
    """Gemm with every transposition and broadcast of C."""
    rng = draw(_rngs)
    m, k, n = (draw(st.integers(1, 70)), draw(st.integers(1, 40)), draw(st.integers(1, 12)))
    turn_a, turn_b = draw(st.integers(0, 1)), draw(st.integers(0, 1))
    a = _values(rng, *((k, m) if turn_a else (m, k)))
    b = _values(rng, *((n, k) if turn_b else (k, n)))
    shape = draw(st.sampled_from([None, (), (1,), (n,), (1, n), (m, 1), (m, n)]))
    c = None if shape is None else _values(rng, *shape)
    numbers = st.floats(-2, 2, width=16)
    attributes = {"transA": turn_a, "transB": turn_b, "alpha": draw(numbers), "beta": draw(numbers)}
    return Case("Gemm", [a, b, c], attributes)


@st.composite
def matmul_cases(draw: st.DrawFn) -> Case:
    """MatMul of any ranks that broadcast, vectors included."""
    rng = draw(_rngs)
    m, k, n = (draw(st.integers(1, 40)), draw(st.integers(1, 40)), draw(st.integers(1, 9)))
    outer = _sizes(draw, draw(st.integers(0, 3)), 1, 3)
    sides: list[tuple[int, ...]] = []
    for matrix in ((m, k), (k, n)):
        kept = outer[draw(st.integers(0, len(outer))) :]
        stack = [size if draw(st.booleans()) else 1 for size in kept]
        sides.append((*stack, *matrix))
    if draw(st.integers(0, 4)) == 0:
        sides[0] = (k,)
    if draw(st.integers(0, 4)) == 0:
        sides[1] = (k,)
    return Case("MatMul", [_values(rng, *sides[0]), _values(rng, *sides[1])])


_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@st.composite
def recurrent_cases(draw: st.DrawFn, op: str) -> Case:
    """LSTM, GRU or RNN with the default activations, in every other form."""
    rng, gates = draw(_rngs), _GATES[op]
    steps, batch, size, hidden = (draw(st.integers(1, 4)) for _ in range(4))
    direction = draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    d = 2 if direction == "bidirectional" else 1
    half = np.float32(0.5)
    inputs: list[Array | None] = [
        _values(rng, steps, batch, size),
        half * _values(rng, d, gates * hidden, size),
        half * _values(rng, d, gates * hidden, hidden),
        half * _values(rng, d, 2 * gates * hidden),
        rng.integers(0, steps + 1, batch).astype(np.int32),
        _values(rng, d, batch, hidden),
    ]
    if op == "LSTM":
        inputs += [_values(rng, d, batch, hidden), half * _values(rng, d, 3 * hidden)]
    for optional in range(3, len(inputs)):
        if draw(st.booleans()):
            inputs[optional] = None
    attributes: dict[str, Any] = {"direction": direction, "hidden_size": hidden}
    if draw(st.booleans()):
        attributes["clip"] = draw(st.sampled_from([0.125, 0.5, 2.0]))
    if op != "RNN" and draw(st.booleans()):
        attributes["input_forget" if op == "LSTM" else "linear_before_reset"] = 1
    return Case(op, inputs, attributes)
