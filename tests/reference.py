"""Slow oracles: one Python loop per index, in double precision, straight from the definitions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.hardware.devices import Periphery, Target

__all__ = ["circuit", "conv", "conv_transpose", "gru", "lstm", "matmul", "rnn", "sigmoid"]

Array = NDArray[Any]

PAIRS = ("differential", "balanced")


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


def circuit(
    x: Array,
    levels: Array,
    sign: Array,
    unit: Array,
    target: Target,
    *,
    spread: Array | None = None,
    normal: Callable[[tuple[int, int, int], tuple[int, ...]], Array] | None = None,
) -> Array:
    """One array behind its periphery, current by current (docs/physics.md).

    Args:
        x: Inputs, shape (entries, groups, vectors, rows); the range of an entry is its own.
        levels: Of every cell, shape (planes, groups, rows, cols).
        sign: Of every weight, shape (groups, rows, cols).
        unit: Network units in a code step, shape (groups, cols).
        target: Encoding, tile rows and periphery.
        spread: Of one read of every cell, shape as `levels`.
        normal: From (conversion, part, entry) and a shape to standard normals.
    """
    entries, groups, vectors, rows = x.shape
    cols = levels.shape[-1]
    y = np.zeros((entries, groups, vectors, cols))
    lanes, signed = _lanes(levels, sign, target)
    signed = signed or target.periphery.signed_inputs == "bipolar"
    for entry in range(entries):
        codes, step, offset = _codes(x[entry], target.periphery)
        for block, tile in enumerate(_driven_together(rows, target)):
            held: dict[tuple[int, ...], float] = {}
            for pulse, weight, bits, last in _pulses(target.periphery):
                counter = (block * len(_pulses(target.periphery)) + pulse, 0, entry)
                shape = (groups, vectors, len(lanes) * cols)
                z = np.zeros(shape) if normal is None else normal(counter, shape)
                for g, v, c in np.ndindex(groups, vectors, cols):
                    for lane, (coefficient, cells) in enumerate(lanes):
                        current = variance = 0.0
                        for r in tile:
                            drive = _drive(codes[g, v, r], offset, weight, bits, target.periphery)
                            for plane, factor in cells(g, r, c):
                                current += drive * factor * float(levels[plane, g, r, c])
                                if spread is not None:
                                    variance += (drive * float(spread[plane, g, r, c])) ** 2
                        current += math.sqrt(variance) * float(z[g, v, lane * cols + c])
                        limit = target.periphery.column_limit
                        if limit is not None:
                            current = max(-limit, min(limit, current))
                        if target.periphery.accumulate == "digital":
                            read = weight * _adc(current, len(tile), signed, target)
                        else:
                            key = (g, v, c, lane)
                            held[key] = held.get(key, 0.0) + abs(weight) * current
                            if not last:
                                continue
                            read = _adc(held.pop(key), len(tile), signed, target)
                            read = read if weight > 0 else -read
                        y[entry, g, v, c] += coefficient * read
            for g, v, c in np.ndindex(groups, vectors, cols):
                for r in tile:
                    y[entry, g, v, c] -= target.layout.shift * codes[g, v, r]
                    for coefficient, cells in lanes:
                        for plane, factor in cells(g, r, c):
                            level = float(levels[plane, g, r, c])
                            y[entry, g, v, c] -= offset * coefficient * factor * level
        y[entry] *= unit.astype(np.float64)[:, None] * step
    return y


def _driven_together(rows: int, target: Target) -> list[range]:
    """The rows of every conversion: of a tile, or some of them at a time."""
    tiles = math.ceil(rows / target.rows)
    sizes = [min(target.rows, rows - tile * target.rows) for tile in range(tiles)]
    if target.periphery.row_split == "even":
        sizes = [rows // tiles + (tile < rows % tiles) for tile in range(tiles)]
    found: list[range] = []
    for tile, size in enumerate(sizes):
        first = sum(sizes[:tile])
        most = target.periphery.rows_on or size
        found += [range(first + r, first + min(r + most, size)) for r in range(0, size, most)]
    return found


_Cells = Callable[[int, int, int], list[tuple[int, int]]]


def _lanes(levels: Array, sign: Array, target: Target) -> tuple[list[tuple[float, _Cells]], bool]:
    """What a lane counts for, and which planes of (g, r, c) it reads with which sign."""
    bits, planes = target.cell_bits, len(levels)
    slices = planes // 2 if target.encoding in PAIRS else planes
    powers = [2.0 ** (bits * i) for i in range(slices)]
    if target.weight_bits in (None, 1) and target.encoding == "offset":
        powers = [2.0]

    def cells(i: int, polarity: int) -> _Cells:
        """polarity: +1 or -1 for one half, 0 for both subtracted."""

        def of(g: int, r: int, c: int) -> list[tuple[int, int]]:
            if target.encoding == "offset":
                return [(i, 1)]
            if target.encoding in PAIRS:
                both = {1: [(2 * i, 1)], -1: [(2 * i + 1, 1)], 0: [(2 * i, 1), (2 * i + 1, -1)]}
                return both[polarity]
            own = int(sign[g, r, c])
            if polarity == 0:
                return [(i, own)]
            return [(i, 1)] if own == polarity else []

        return of

    if target.encoding == "offset":
        return [(power, cells(i, 1)) for i, power in enumerate(powers)], False
    if target.periphery.subtract == "analog":
        return [(power, cells(i, 0)) for i, power in enumerate(powers)], True
    halves = [(half * power, cells(i, half)) for half in (1, -1) for i, power in enumerate(powers)]
    return halves, False


def _codes(x: Array, periphery: Periphery) -> tuple[Array, float, float]:
    """Signed codes of one entry, the input in one of them, and the offset of its drive."""
    bits = periphery.dac_bits
    top = 1.0 if bits is None else 2.0**bits - 1
    offset = 0.0
    if periphery.signed_inputs == "offset" and float(x.min(initial=0)) < 0:
        top = offset = 0.5 if bits is None else 2.0 ** (bits - 1) - 1
    step = max((abs(float(value)) for value in x.ravel()), default=0.0) / top
    codes = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        code = float(x[index]) / step if step else 0.0
        codes[index] = code if bits is None else round(code)
    return codes, step, offset


def _slices(periphery: Periphery) -> list[tuple[int, int]]:
    """First bit of every slice of a code, and how many it has."""
    bits, size = periphery.dac_bits or 1, periphery.dac_slice_bits
    return [(first, min(size, bits - first)) for first in range(0, bits, size)]


def _pulses(
    periphery: Periphery,
) -> list[tuple[int, float, tuple[int, int] | None, bool]]:
    """Number, weight, bits (None: the whole code) of every pulse; whether it ends a phase."""
    phases = [1.0, -1.0] if periphery.signed_inputs == "two-phase" else [1.0]
    serial = periphery.dac_mode == "bit-serial"
    slices = _slices(periphery) if serial else [None]
    both = [
        (phase * 2.0 ** (part[0] if part else 0), part, part == slices[-1])
        for phase in phases
        for part in slices
    ]
    return [(number, *each) for number, each in enumerate(both)]


def _drive(
    code: float,
    offset: float,
    weight: float,
    bits: tuple[int, int] | None,
    periphery: Periphery,
) -> float:
    if periphery.signed_inputs == "bipolar":
        size = abs(code) if bits is None else float((int(abs(code)) >> bits[0]) % 2 ** bits[1])
        return math.copysign(size, code)
    driven = max(code if weight > 0 else -code, 0.0) if not offset else code + offset
    return driven if bits is None else float((int(driven) >> bits[0]) % 2 ** bits[1])


def _adc(current: float, rows: int, signed: bool, target: Target) -> float:
    """What the ADC says of a current: a whole number of its steps."""
    periphery = target.periphery
    bits = periphery.adc_bits
    if bits is None:
        return current
    largest = 1.0 if periphery.dac_bits is None else 2.0**periphery.dac_bits - 1
    if periphery.dac_mode == "bit-serial" and periphery.accumulate == "digital":
        largest = 2.0**periphery.dac_slice_bits - 1
    codes = max(1, 2 ** (bits - 1) - 1) if signed else 2**bits - 1
    if periphery.adc_range == "full":
        reach = rows * target.layout.highest_target * largest
        step = reach / codes
        if target.weight_bits is not None and periphery.dac_bits is not None and reach <= codes:
            step = 1 / math.floor(codes / reach)  # every whole current has a code
    else:
        step = float(periphery.adc_range) / codes
    code = round(current * (1 / step))
    return step * max(-codes if signed else 0, min(codes, code))
