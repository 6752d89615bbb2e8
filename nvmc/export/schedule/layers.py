"""Layers as instructions: what surrounds the products of each operator."""

from __future__ import annotations

import math
from collections.abc import Callable

from nvmc.errors import ModelError
from nvmc.export.schedule.format import Add, Instruction, Move, View
from nvmc.export.schedule.nodes import Nodes, Use
from nvmc.export.schedule.transposed import transposed
from nvmc.export.schedule.views import Loops, dense, opened, repeated, view
from nvmc.passes.graph.image_graph import Step
from nvmc.runtime.crossbar.geometry import conv_window

__all__ = ["layer"]


def layer(nodes: Nodes, step: Step) -> list[Instruction]:
    """The instructions of a node on crossbars.

    Raises:
        ModelError: The format cannot say the operator.
        OptionError: Or what surrounds its arrays.
    """
    if step.op not in _MAKERS:
        raise ModelError(
            f"{step.op} {step.name!r} has no instructions in this version of the format; keep "
            "the layer digital with --skip"
        )
    return _MAKERS[step.op](nodes, step)


def _conv(nodes: Nodes, step: Step) -> list[Instruction]:
    images, channels, *spatial = nodes.graph.shape(str(nodes.input(step, "X")))
    use = nodes.use(step, "X", images)
    window = conv_window(step.attributes, tuple(spatial), use.array.codes.shape[2:])
    padded = [sum(n) for n in zip(spatial, window.before, window.after, strict=True)]
    codes = nodes.registers.make(step.name, "codes", images, channels, *padded)
    whole, lines = dense([images, channels, *padded]), dense(padded)
    inner = sum(b * s for b, s in zip(window.before, lines, strict=True))
    shape = (images, channels, *spatial)
    found: list[Instruction] = [use.encode(view(use.x, shape), view(codes, shape, whole, inner))]
    names = [f"y{axis}" for axis in range(len(spatial))]
    loops: Loops = [("n", images), *zip(names, window.output, strict=True)]
    starts = {n: s * at for n, s, at in zip(names, window.strides, lines, strict=True)}
    taps = [d * at for d, at in zip(window.dilations, lines, strict=True)]
    source = view(
        codes,
        (channels, *window.kernel),
        (whole[1], *taps),
        loops=opened(loops, {"n": whole[0], **starts}),
    )
    body: list[Instruction] = [Move(source=source, to=view(use.vector, (channels, *window.kernel)))]
    body += use.product(opened(loops, {"n": 1}))
    cols, out = use.matrix.groups * use.matrix.cols, dense(window.output)
    bias = nodes.input(step, "B")
    if bias is not None:
        body.append(Add(to=view(use.result, (cols,)), source=view(bias, (cols,))))
    each = math.prod(window.output)
    places = {"n": cols * each, **dict(zip(names, out, strict=True))}
    to = view(step.outputs[0], (cols,), (each,), loops=opened(loops, places))
    body.append(Move(source=view(use.result, (cols,)), to=to))
    return found + repeated(loops, body)


def _gemm(nodes: Nodes, step: Step) -> list[Instruction]:
    shape = nodes.graph.shape(str(nodes.input(step, "A")))
    turned = bool(step.attributes.get("transA", 0))
    vectors, rows = shape[::-1] if turned else shape
    use = nodes.use(step, "A", vectors)
    codes = nodes.registers.make(step.name, "codes", vectors, rows)
    size = (vectors, rows)
    source = view(use.x, size, (1, vectors) if turned else None)
    loops: Loops = [("n", vectors)]
    cols = use.matrix.cols
    tail: list[Instruction] = []
    alpha, beta = (float(step.attributes.get(key, 1.0)) for key in ("alpha", "beta"))
    result = view(use.result, (cols,))
    if alpha != 1:
        tail.append(Add(to=result, source=result, factor=alpha, set=True))
    offset = nodes.input(step, "C")
    if offset is not None:
        sizes = (1, 1, *nodes.graph.shape(offset))[-2:]
        down, along = (0 if n == 1 else s for n, s in zip(sizes, dense(sizes), strict=True))
        source_c = view(offset, (cols,), (along,), loops=opened(loops, {"n": down}))
        tail.append(Add(to=result, source=source_c, factor=beta))
    out = view(step.outputs[0], (cols,), (1,), loops=opened(loops, {"n": cols}))
    return _vectors(use, codes, source, size, loops, [*tail, Move(source=result, to=out)])


def _vectors(
    use: Use,
    codes: str,
    source: View,
    size: tuple[int, int],
    loops: Loops,
    tail: list[Instruction],
    numbers: dict[str, int] | None = None,
) -> list[Instruction]:
    """Rows of a matrix, each an entry of its own, one after the other."""
    numbers = numbers or {"n": 1}
    rows = size[1]
    at = {name: stride * rows for name, stride in numbers.items()}
    body: list[Instruction] = [
        Move(
            source=view(codes, (rows,), (1,), loops=opened(loops, at)),
            to=view(use.vector, (rows,)),
        )
    ]
    body += use.product(opened(loops, numbers))
    first = use.encode(source, view(codes, size))
    return [first, *repeated(loops, [*body, *tail])]


def _matmul(nodes: Nodes, step: Step) -> list[Instruction]:
    *outer, rows = nodes.graph.shape(str(nodes.input(step, "A")))
    vectors = math.prod(outer)
    use = nodes.use(step, "A", vectors)
    _check_rank(use)
    codes = nodes.registers.make(step.name, "codes", vectors, rows)
    loops: Loops = [("n", vectors)]
    cols, size = use.matrix.cols, (vectors, rows)
    out = view(step.outputs[0], (cols,), (1,), loops=opened(loops, {"n": cols}))
    tail: list[Instruction] = [Move(source=view(use.result, (cols,)), to=out)]
    return _vectors(use, codes, view(use.x, size), size, loops, tail)


def _left_matmul(nodes: Nodes, step: Step) -> list[Instruction]:
    shape = nodes.graph.shape(str(nodes.input(step, "B")))
    *outer, rows, vectors = shape if len(shape) > 1 else (*shape, 1)
    stacks = math.prod(outer)
    use = nodes.use(step, "B", stacks * vectors)
    _check_rank(use)
    size = (stacks * vectors, rows)
    codes = nodes.registers.make(step.name, "codes", *size)
    turned = nodes.registers.make(step.name, "turned", *size)
    loops: Loops = [("m", stacks), ("n", vectors)]
    cols, result = use.matrix.cols, use.result
    each = (stacks, vectors, rows)
    source = view(use.x, each, (rows * vectors, 1, vectors))
    found: list[Instruction] = [Move(source=source, to=view(turned, each))]
    places = opened(loops, {"m": cols * vectors, "n": 1})
    out = view(step.outputs[0], (cols,), (vectors,), loops=places)
    tail: list[Instruction] = [Move(source=view(result, (cols,)), to=out)]
    numbers = {"m": vectors, "n": 1}
    return found + _vectors(use, codes, view(turned, size), size, loops, tail, numbers)


def _check_rank(use: Use) -> None:
    if use.array.codes.ndim > 2:
        raise ModelError(
            f"{use.step.op} {use.step.name!r} has a stack of matrices; this version of the "
            "format knows one matrix: keep the layer digital with --skip"
        )


_MAKERS: dict[str, Callable[[Nodes, Step], list[Instruction]]] = {
    "CrossbarConv": _conv,
    "CrossbarConvTranspose": transposed,
    "CrossbarGemm": _gemm,
    "CrossbarMatMul": _matmul,
    "CrossbarLeftMatMul": _left_matmul,
}
