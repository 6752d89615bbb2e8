"""pack-masks: the masks that a detector puts out, any number, as one output of a fixed shape.

As `pack-detections`, for detectors such as Mask R-CNN: the copy that is judged gets an output (1, K
+ 1, 2 + P): how many objects there are, then these (score, class, and the pixels of the mask,
`BITS` of them as one whole number), filled up with -1.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from nvmc.data.coco_masks import BITS
from nvmc.errors import DataError, ModelError
from nvmc.passes.graph.names import Names
from nvmc.passes.pack_detections import Builder, filled, named_outputs

__all__ = ["MOST_MASKS", "pack_masks"]

MOST_MASKS = 100
"""K: objects of an image that there is room for, as many as COCO counts of a class."""
HALF = 0.5
"""A pixel above it is one of the mask (He et al., Mask R-CNN, ICCV 2017, Sec. 3.1)."""


def pack_masks(
    model: ir.Model, pixels: int, outputs: str | None = None
) -> tuple[str, tuple[str, ...]]:
    """Add an output (1, K + 1, 2 + P) of all masks that the network detects in one image.

    Args:
        model: Changed in place; opset 13 or above.
        pixels: Of each mask to be found: P is that over `BITS`, rounded up.
        outputs: Names of the outputs, with commas between: of masks (M, rows, columns) or (M, 1,
            rows, columns), scores (M,) and classes (M,). By default the only ones of such shapes.

    Returns:
        The new output's name, and those that it is made of.

    Raises:
        OptionError: There is no such output.
        ModelError: Which outputs are meant cannot be told.
        DataError: The network's masks have another size.
    """
    names = Names(model)
    wanted = "masks, scores and classes as M,S,C"
    parts = _found(model) if outputs is None else named_outputs(model, outputs, wanted, (3,))
    sizes = [] if parts[0].shape is None else list(parts[0].shape)[-2:]
    if all(isinstance(size, int) for size in sizes) and sizes and math.prod(sizes) != pixels:
        raise DataError(
            f"masks to be found have {pixels:,} pixels each, those of output {parts[0].name!r} "
            f"{' x '.join(map(str, sizes))}; give masks of the size that the network puts out"
        )
    name = names.fresh(f"{parts[0].name}/detections")
    build = Builder(model.graph, names, f"{name}/packed")
    columns = [
        build.node("Cast", [build.shaped(part, [-1, 1])], to=ir.DataType.FLOAT)
        for part in parts[1:]
    ]
    rows = build.node("Concat", [*columns, _words(build, parts[0])], axis=1)
    width = 2 + -(-pixels // BITS)
    packed = filled(build, rows, width, MOST_MASKS)
    packed.name, packed.type = name, ir.TensorType(ir.DataType.FLOAT)
    packed.shape = ir.Shape([1, MOST_MASKS + 1, width])
    model.graph.outputs.append(packed)
    return str(packed.name), tuple(str(part.name) for part in parts)


def _words(build: Builder, masks: ir.Value) -> ir.Value:
    """Masks (M, …, rows, columns) as whole numbers (M, P), the first pixel in the lowest bit."""
    half = build.constant(np.array(HALF, np.float32))
    floats = build.node("Cast", [masks], to=ir.DataType.FLOAT)
    bits = build.node("Cast", [build.node("Greater", [floats, half])], to=ir.DataType.FLOAT)
    shape = build.node("Shape", [bits])
    height, width = (
        build.node("Slice", [shape, build.ints([at]), build.ints([at + 1 or 2**31])])
        for at in (-2, -1)
    )
    pixels = build.node("Mul", [height, width])
    count = build.node("Slice", [shape, build.ints([0]), build.ints([1])])
    flat = build.node("Reshape", [bits, build.node("Concat", [count, pixels], axis=0)])
    whole = build.ints([BITS])
    words = build.node("Div", [build.node("Add", [pixels, build.ints([BITS - 1])]), whole])
    missing = build.node("Sub", [build.node("Mul", [words, whole]), pixels])
    pads = build.node("Concat", [build.ints([0, 0, 0]), missing], axis=0)
    padded = build.node("Pad", [flat, pads])
    grouped = build.node("Concat", [count, words, whole], axis=0)
    apart = build.node("Reshape", [padded, grouped])
    powers = build.constant((2.0 ** np.arange(BITS)).astype(np.float32))
    return build.node("MatMul", [apart, powers])


def _found(model: ir.Model) -> list[ir.Value]:
    """The outputs by their types and shapes.

    Raises:
        ModelError: Several fit, or none.
    """
    every = [(v, len(v.shape) if v.shape is not None else 0, v.dtype) for v in model.graph.outputs]
    masks = [value for value, rank, _ in every if rank in (3, 4)]
    flat = [(v, kind) for v, rank, kind in every if rank == 1 and kind is not None]
    scores = [value for value, kind in flat if kind.is_floating_point()]
    classes = [value for value, kind in flat if kind.is_integer()]
    if len(masks) == len(scores) == len(classes) == 1:
        return [masks[0], scores[0], classes[0]]
    shown = ", ".join(
        f"{v.name} {kind} {'?' if v.shape is None else list(v.shape)}" for v, _, kind in every
    )
    raise ModelError(
        "which outputs hold masks (M, rows, columns), scores (M,) and classes (M,) cannot be told "
        f"from {shown}; name them with --output MASKS,SCORES,CLASSES"
    )
