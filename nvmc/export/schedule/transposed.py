"""Transposed convolutions as instructions: multiply, then fold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nvmc.errors import ModelError
from nvmc.export.schedule.format import Add, Clear, Instruction, Move
from nvmc.export.schedule.nodes import Nodes, Use
from nvmc.export.schedule.views import Loops, dense, opened, repeated, view
from nvmc.passes.graph.image_graph import Step
from nvmc.runtime.crossbar.geometry import Window, transpose_window
from nvmc.runtime.crossbar.lowering import block_sizes

__all__ = ["check_whole", "transposed"]


def transposed(nodes: Nodes, step: Step) -> list[Instruction]:
    """Every pixel a vector; their products, added up where the kernel lies.

    Raises:
        ModelError: nvmc adds them up in several parts, in an order that is not written here.
    """
    images, channels, *spatial = nodes.graph.shape(str(nodes.input(step, "X")))
    use = nodes.use(step, "X", images)
    weight = use.array.codes.shape
    window = transpose_window(step.attributes, tuple(spatial), weight[2:])
    outputs = use.matrix.groups * weight[1]
    check_whole(step, use, spatial)
    shape = (images, channels, *spatial)
    codes = nodes.registers.make(step.name, "codes", *shape)
    found: list[Instruction] = [use.encode(view(use.x, shape), view(codes, shape))]
    names = [f"y{axis}" for axis in range(len(spatial))]
    inner: Loops = list(zip(names, spatial, strict=True))
    loops: Loops = [("n", images), *inner]
    whole, pixels = dense(shape), math.prod(spatial)
    places = dict(zip(names, dense(spatial), strict=True))
    source = view(codes, (channels,), (whole[1],), loops=opened(loops, {"n": whole[0], **places}))
    body: list[Instruction] = [Move(source=source, to=view(use.vector, (channels,)))]
    body += use.product(opened(loops, {"n": 1}))
    cols = use.matrix.groups * use.matrix.cols
    products = nodes.registers.make(step.name, "products", cols, *spatial)
    to = view(products, (cols,), (pixels,), loops=opened(inner, places))
    body.append(Move(source=view(use.result, (cols,)), to=to))
    turn = repeated(inner, body)
    turn += _fold(nodes, step, products, window, outputs, tuple(spatial), images)
    return found + repeated([("n", images)], turn)


def check_whole(step: Step, use: Use, spatial: Sequence[int]) -> None:
    """Complain of images that nvmc adds up in several parts, in another order.

    Raises:
        ModelError: They are so large.
    """
    row_bytes = use.matrix.groups * use.circuit.width * math.prod(spatial[1:]) * 4
    if block_sizes(spatial[0], row_bytes)[1] < spatial[0]:
        raise ModelError(
            f"{step.op} {step.name!r} is too large for this version of the format, which adds "
            "its products up in one part; keep the layer digital with --skip"
        )


def _fold(
    nodes: Nodes,
    step: Step,
    products: str,
    window: Window,
    outputs: int,
    spatial: tuple[int, ...],
    images: int,
) -> list[Instruction]:
    """Add the products of one image to where their kernel lies."""
    sizes = zip(spatial, window.strides, window.reach, window.before, window.output, strict=True)
    canvas = [max((n - 1) * s + span, before + out) for n, s, span, before, out in sizes]
    room = nodes.registers.make(step.name, "canvas", outputs, *canvas)
    lines, pixels = dense([outputs, *canvas]), math.prod(spatial)
    taps = math.prod(window.kernel)
    found: list[Instruction] = [Clear(to=view(room, (outputs, *canvas)))]
    steps = [s * at for s, at in zip(window.strides, lines[1:], strict=True)]
    for number, tap in enumerate(np.ndindex(*window.kernel)):
        at = sum(t * d * line for t, d, line in zip(tap, window.dilations, lines[1:], strict=True))
        shape = (outputs, *spatial)
        source = view(products, shape, (taps * pixels, *dense(spatial)), offset=number * pixels)
        found.append(Add(to=view(room, shape, (lines[0], *steps), offset=at), source=source))
    shape, each = (outputs, *window.output), math.prod(window.output)
    first = sum(b * line for b, line in zip(window.before, lines[1:], strict=True))
    loops = opened([("n", images)], {"n": outputs * each})
    to = view(step.outputs[0], shape, loops=loops)
    found.append(Move(source=view(room, shape, lines, offset=first), to=to))
    bias = nodes.input(step, "B")
    if bias is not None:
        strides = (1, *(0 for _ in window.output))
        found.append(Add(to=to, source=view(bias, shape, strides)))
    return found
