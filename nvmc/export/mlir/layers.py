"""Layers on crossbars in MLIR: codes, vectors, products, and what is done with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nvmc.errors import ModelError
from nvmc.export.mlir.text import Text, Value, number
from nvmc.export.mlir.tiles import Codes, Tiles, product
from nvmc.export.schedule.nodes import Nodes, Use
from nvmc.export.schedule.transposed import check_whole
from nvmc.passes.graph.image_graph import Step
from nvmc.runtime.crossbar.geometry import Window, conv_window, transpose_window

__all__ = ["Values", "broadcast", "layer"]


@dataclass(frozen=True)
class Values:
    """What the values of the graph are in the text.

    Attributes:
        nodes: The network, its tiles and circuits.
        tiles: SSA values of the tiles.
        known: SSA values by name in the graph.
    """

    nodes: Nodes
    tiles: Tiles
    known: dict[str, Value]

    @property
    def text(self) -> Text:
        """Where lines go."""
        return self.tiles.text

    def get(self, name: str) -> Value:
        """The value of that name; a constant is written where it is first asked for."""
        if name not in self.known:
            self.known[name] = self.text.constant(self.nodes.graph.constants[name], name)
        return self.known[name]

    def operand(self, step: Step, name: str) -> Value | None:
        """An operand by its name in the table of operators."""
        found = self.nodes.input(step, name)
        return None if found is None else self.get(found)


def layer(values: Values, step: Step) -> None:
    """Write a node on crossbars.

    Raises:
        ModelError: The dialect cannot say it.
        OptionError: Or what surrounds its array.
    """
    if step.op not in _MAKERS:
        raise ModelError(
            f"{step.op} {step.name!r} cannot be written in this version of the dialect; keep the "
            "layer digital with --skip"
        )
    values.known[step.outputs[0]] = _MAKERS[step.op](values, step)


def _encoded(values: Values, use: Use, x: Value) -> Codes:
    """Codes of x, in its shape, and what is known of each entry along its first axis."""
    entries = Value("", (x.shape[0],))
    names = [values.text.fresh() for _ in range(4)]
    limit = float("inf") if use.limit is None else use.limit
    ends = ", ".join([x.text, *[entries.text] * 3])
    values.text.add(
        f'{", ".join(names)} = "cim.encode"({x.name}) {{half = {number(use.half or 0.0)} : f32, '
        f"limit = {number(limit)} : f32, top = {number(use.top)} : f32}} : ({x.text}) -> ({ends})"
    )
    return Codes(Value(names[0], x.shape), *(Value(name, entries.shape) for name in names[1:]))


def _product(values: Values, use: Use, codes: Codes, vectors: Value) -> Value:
    """The products with (entries, vectors, groups, rows) of the codes."""
    held = values.nodes.board.held(use.array)
    values.tiles.acquire(held)
    return product(values.tiles, held, use.circuit, replace(codes, values=vectors))


def _conv(values: Values, step: Step) -> Value:
    text, x = values.text, values.operand(step, "X")
    assert x is not None
    images, channels, *spatial = x.shape
    use = values.nodes.use(step, "X", images)
    window = conv_window(step.attributes, tuple(spatial), use.array.codes.shape[2:])
    codes = _encoded(values, use, x)
    padded = text.padded(codes.values, window.before, window.after, 0.0)
    rank, kernel = len(spatial), window.kernel
    places = ["d0", f"d{1 + rank}"]
    for axis, (stride, dilation) in enumerate(zip(window.strides, window.dilations, strict=True)):
        places.append(f"d{1 + axis} * {stride} + d{2 + rank + axis} * {dilation}")
    shape = (images, *window.output, channels, *kernel)
    groups, rows = use.matrix.groups, use.matrix.rows
    windows = text.generic(shape, [(padded, places)], [])
    pixels = math.prod(window.output)
    windows = text.reshaped(windows, (images, pixels, groups, rows))
    found = _product(values, use, codes, windows)
    bias = values.operand(step, "B")
    if bias is not None:
        each = text.reshaped(bias, (groups, use.matrix.cols))
        at = ["d0", "d1", "d2", "d3"]
        body = [("arith.addf", "a", "b")]
        found = text.generic(found.shape, [(found, at), (each, at[2:])], body)
    found = text.transposed(found, (0, 2, 3, 1))
    return text.reshaped(found, (images, groups * use.matrix.cols, *window.output))


def _transposed(values: Values, step: Step) -> Value:
    text, x = values.text, values.operand(step, "X")
    assert x is not None
    images, channels, *spatial = x.shape
    use = values.nodes.use(step, "X", images)
    weight = use.array.codes.shape
    window = transpose_window(step.attributes, tuple(spatial), weight[2:])
    check_whole(step, use, spatial)
    groups, pixels = use.matrix.groups, math.prod(spatial)
    codes = _encoded(values, use, x)
    driven = text.reshaped(codes.values, (images, groups, channels // groups, pixels))
    found = _product(values, use, codes, text.transposed(driven, (0, 3, 1, 2)))
    outputs, taps = groups * weight[1], math.prod(window.kernel)
    found = text.transposed(found, (0, 2, 3, 1))
    found = _folded(text, text.reshaped(found, (images, outputs, taps, *spatial)), window)
    bias = values.operand(step, "B")
    if bias is None:
        return found
    at = [f"d{axis}" for axis in range(len(found.shape))]
    body = [("arith.addf", "a", "b")]
    return text.generic(found.shape, [(found, at), (bias, at[1:2])], body)


def _folded(text: Text, products: Value, window: Window) -> Value:
    """Products (images, channels, taps, *pixels) added up where the kernel lies, tap by tap."""
    images, outputs, _, *spatial = products.shape
    sizes = zip(spatial, window.strides, window.reach, window.before, window.output, strict=True)
    room = [max((n - 1) * s + span, before + out) for n, s, span, before, out in sizes]
    canvas = text.filled((images, outputs, *room), 0.0)
    shape, steps = (images, outputs, *spatial), (1, 1, *window.strides)
    at = [f"d{axis}" for axis in range(len(shape))]
    for index, tap in enumerate(np.ndindex(*window.kernel)):
        size = (images, outputs, 1, *spatial)
        part = text.part(products, (0, 0, index, *(0 for _ in spatial)), size)
        part = text.reshaped(part, shape)
        first = (0, 0, *(t * d for t, d in zip(tap, window.dilations, strict=True)))
        before = text.part(canvas, first, shape, steps)
        sums = text.generic(shape, [(before, at), (part, at)], [("arith.addf", "a", "b")])
        canvas = text.inserted(sums, canvas, first, steps)
    return text.part(canvas, (0, 0, *window.before), (images, outputs, *window.output))


def _vectors(values: Values, step: Step, name: str, x: Value, vectors: int, rows: int) -> Value:
    """Products of vectors (vectors, rows), each an entry of its own; shape (vectors, columns)."""
    use = values.nodes.use(step, name, vectors)
    if use.array.codes.ndim > 2:
        raise ModelError(
            f"{step.op} {step.name!r} has a stack of matrices; this version of the dialect knows "
            "one matrix: keep the layer digital with --skip"
        )
    codes = _encoded(values, use, values.text.reshaped(x, (vectors, rows)))
    driven = values.text.reshaped(codes.values, (vectors, 1, 1, rows))
    found = _product(values, use, codes, driven)
    return values.text.reshaped(found, (vectors, use.matrix.cols))


def _gemm(values: Values, step: Step) -> Value:
    text, x = values.text, values.operand(step, "A")
    assert x is not None
    x = text.transposed(x, (1, 0)) if step.attributes.get("transA", 0) else x
    found = _vectors(values, step, "A", x, *x.shape)
    alpha, beta = (float(step.attributes.get(key, 1.0)) for key in ("alpha", "beta"))
    at = ["d0", "d1"]
    if alpha != 1:
        body = [("arith.mulf", "a", text.scalar(alpha))]
        found = text.generic(found.shape, [(found, at)], body)
    offset = values.operand(step, "C")
    if offset is None:
        return found
    scaled = [("arith.mulf", "b", text.scalar(beta)), ("arith.addf", "a", "0")]
    body = [("arith.addf", "a", "b")] if beta == 1 else scaled
    places = broadcast(offset.shape, found.shape)
    return text.generic(found.shape, [(found, at), (offset, places)], body)


def broadcast(shape: Sequence[int], onto: Sequence[int]) -> list[str]:
    """Which element of a tensor belongs to each of a larger one."""
    first = len(onto) - len(shape)
    return ["0" if size == 1 else f"d{first + axis}" for axis, size in enumerate(shape)]


def _matmul(values: Values, step: Step) -> Value:
    x = values.operand(step, "A")
    assert x is not None
    *outer, rows = x.shape
    found = _vectors(values, step, "A", x, math.prod(outer), rows)
    return values.text.reshaped(found, values.nodes.graph.shape(step.outputs[0]))


def _left_matmul(values: Values, step: Step) -> Value:
    text, x = values.text, values.operand(step, "B")
    assert x is not None
    *outer, rows, vectors = x.shape if len(x.shape) > 1 else (*x.shape, 1)
    stacks = math.prod(outer)
    x = text.transposed(text.reshaped(x, (stacks, rows, vectors)), (0, 2, 1))
    found = _vectors(values, step, "B", x, stacks * vectors, rows)
    found = text.reshaped(found, (stacks, vectors, found.shape[1]))
    found = text.transposed(found, (0, 2, 1))
    return text.reshaped(found, values.nodes.graph.shape(step.outputs[0]))


_MAKERS: dict[str, Callable[[Values, Step], Value]] = {
    "CrossbarConv": _conv,
    "CrossbarConvTranspose": _transposed,
    "CrossbarGemm": _gemm,
    "CrossbarMatMul": _matmul,
    "CrossbarLeftMatMul": _left_matmul,
}
