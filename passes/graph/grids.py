"""The grid that a constant weight of a quantised network lies on: whole numbers times a step.

`fold_constants` computes such weights as floating-point numbers, and notes here what their codes
counted in, so that `quantize-weights` need not round them a second time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.hardware.tiling import Channels
from nvmc.passes.graph.attributes import int_of

__all__ = ["Fit", "Grid", "fit_grid", "grid_of", "grid_of_result", "note_grid", "rescale_grid"]

_KEY = "nvmc.grid"
_MOVES = frozenset(
    """Expand Flatten Gather Identity Pad Reshape Slice Split Squeeze Tile Transpose
    Unsqueeze""".split()
)
"""Moves the first operand's elements; what it does to a weight it does to the weight's steps."""
_BLOCK = 1 << 20
"""Numbers that are looked at together."""
_ROUNDS = frozenset("Ceil Floor Round".split())

Steps = NDArray[np.float64]
Evaluate = Callable[[Sequence[NDArray[Any] | None]], list[NDArray[Any]] | None]
"""What the node computes from other operands of the same shapes."""


@dataclass(frozen=True)
class Grid:
    """What a weight's codes count in.

    Attributes:
        steps: Of the weight's rank, with length 1 on every axis along which they are equal.
        kind: Type of the codes, as `int8`; empty where they are rounded floating-point numbers.
    """

    steps: Steps
    kind: str = ""


@dataclass(frozen=True)
class Fit:
    """A weight's own codes on a target.

    Attributes:
        codes: Whole numbers of the weight's shape.
        scale: Their step, a scalar or one per output channel, as `scale_of` gives it.
        told: In words, for the manifest.
    """

    codes: NDArray[np.int32]
    scale: Steps
    told: str


def grid_of(value: ir.Value) -> Grid | None:
    """The grid that is noted of an initializer."""
    meta: Any = value.meta
    found = meta.get(_KEY)
    return found if isinstance(found, Grid) else None


def note_grid(value: ir.Value, grid: Grid) -> None:
    """Note the grid of an initializer."""
    value.meta[_KEY] = grid


def rescale_grid(value: ir.Value, factor: NDArray[Any]) -> None:
    """Say that an initializer with a grid was multiplied by `factor`, which broadcasts to it."""
    grid = grid_of(value)
    if grid is not None:
        note_grid(value, replace(grid, steps=np.abs(grid.steps * factor)))


def fit_grid(
    weight: NDArray[Any], grid: Grid, bits: int | None, channels: Channels | None
) -> Fit | str:
    """The weight in its own codes, or in words that it has to be rounded anew.

    Codes of fewer bits than the target's are multiplied by a whole number, so that cells use their
    range: codes up to 8 by 31 on 8 bits. Those up to 128 stay there. One bit holds no code of zero.

    Args:
        weight: Float, of any shape.
        grid: Noted of it; it may be out of date, and is then of no use.
        bits: H of the target; None where cells are analog and nothing is rounded.
        channels: The output channels that can have a step each; None for one step per tensor.
    """
    steps = grid.steps
    if steps.ndim != weight.ndim or not all(
        a in (1, b) for a, b in zip(steps.shape, weight.shape, strict=True)
    ):
        return ""
    scale = _scale(steps, weight, channels)
    where = "in blocks" if scale is None else "per channel" if scale.size > 1 else "per tensor"
    codes = _codes(weight, steps)
    if codes is None:
        return ""
    largest = int(np.abs(codes).max(initial=0))
    name = f"{grid.kind or f'{largest.bit_length() + 1}-bit'} {where}"
    if bits is None:
        return f"{name}: values kept, cells are analog"
    room = 2**bits - 1
    factor = max(1, room >> (largest - 1).bit_length() if largest else 1)
    zero_of_one_bit = bits == 1 and not np.all(codes)
    if scale is None or largest * factor > room or zero_of_one_bit:
        return f"refitted from {name} to {bits} bit{'s' * (bits > 1)}"
    told = f"kept {name}" + (f", codes x{factor}" if factor > 1 else "")
    return Fit(codes * factor if factor > 1 else codes, scale / factor, told)


def _codes(weight: NDArray[Any], steps: Steps) -> NDArray[np.int32] | None:
    """The weight in steps, or None where it is no whole number of them; in blocks, in float64."""
    codes = np.empty(weight.shape, np.int32)
    each = np.broadcast_to(np.where(steps > 0, steps, 1), weight.shape)
    rows = max(1, _BLOCK // max(1, math.prod(weight.shape[1:])))
    precision = float(np.finfo(weight.dtype).eps)
    for first in range(0, len(weight) if weight.ndim else 1, rows):
        block = slice(first, first + rows) if weight.ndim else ()
        wide = weight[block].astype(np.float64)
        whole = np.rint(wide / each[block])
        if np.any(np.abs(whole * each[block] - wide) > 2 * precision * np.abs(wide)):
            return None
        if np.abs(whole).max(initial=0) > np.iinfo(np.int32).max:
            return None
        codes[block] = whole
    return codes


def _scale(steps: Steps, weight: NDArray[Any], channels: Channels | None) -> Steps | None:
    """The steps as `scale_of` would give them; None where they differ within a channel."""
    if steps.size == 1:
        return steps.reshape(())
    if channels is None or channels.numbers.ndim != weight.ndim:
        return None
    numbers, wide = np.broadcast_arrays(channels.numbers, steps)
    first = np.zeros(channels.count)
    first[numbers] = wide
    return first[channels.numbers] if np.array_equal(first[numbers], wide) else None


def grid_of_result(
    node: ir.Node,
    operands: Sequence[NDArray[Any] | None],
    grids: Sequence[Grid | None],
    results: Sequence[NDArray[Any]],
    evaluate: Evaluate,
) -> list[Grid | None]:
    """The grid of each result of a constant node, as far as it follows from its operands'."""
    kind, first, shape = node.op_type, operands[0], results[0].shape
    own = grids[0] if grids else None
    found: Grid | None = None
    if first is None:
        return [None] * len(results)
    if kind == "DequantizeLinear" and operands[1] is not None and _type_of(first.dtype):
        found = Grid(_dequantized(node, first, operands[1]), _type_of(first.dtype))
    elif kind == "Cast" and own is None and (known := _type_of(first.dtype)):
        found = Grid(np.ones((1,) * len(shape)), known)
    elif kind in _ROUNDS:
        found = Grid(np.ones((1,) * len(shape)))
    elif own is not None and kind in _MOVES:
        wide = np.broadcast_to(own.steps.astype(np.float32), first.shape)
        moved = evaluate([np.ascontiguousarray(wide), *operands[1:]])
        return [None if m is None else replace(own, steps=_compact(m)) for m in moved or [None]]
    elif kind in ("Mul", "Div") and operands[1] is not None:
        found = _scaled(kind, (first, operands[1]), grids, shape)
    elif own is not None and own.steps.ndim == len(shape) and first.shape == shape:
        found = own if kind in ("Add", "Cast", "Clip", "Sub") else None
    return [found] * len(results)


def _scaled(
    kind: str, pair: tuple[NDArray[Any], NDArray[Any]], grids: Sequence[Grid | None], shape: Any
) -> Grid | None:
    """The grid of a product or quotient with plain numbers."""
    for index in (0, 1) if kind == "Mul" else (0,):
        grid, other = grids[index], pair[1 - index].astype(np.float64)
        if grid is None or grids[1 - index] is not None or pair[index].shape != shape:
            continue
        with np.errstate(all="ignore"):
            steps = np.abs(grid.steps * other if kind == "Mul" else grid.steps / other)
        return replace(grid, steps=_compact(steps))
    return None


def _dequantized(node: ir.Node, codes: NDArray[Any], scale: NDArray[Any]) -> Steps:
    steps = scale.astype(np.float64)
    axis = int_of(node, "axis", 1) % max(1, codes.ndim)
    block = int_of(node, "block_size", 0)
    if block:
        size = codes.shape[axis]
        steps = np.repeat(steps, min(block, size), axis).take(range(size), axis)
    elif steps.size > 1:
        steps = steps.reshape([-1 if i == axis else 1 for i in range(codes.ndim)])
    else:
        steps = steps.reshape((1,) * codes.ndim)
    return _compact(steps)


def _type_of(dtype: np.dtype[Any]) -> str:
    """Name of an integer type, ml_dtypes' narrow ones included; empty for others."""
    return dtype.name if re.fullmatch(r"u?int\d+", dtype.name) else ""


def _compact(steps: NDArray[Any]) -> Steps:
    """Length 1 on every axis along which nothing changes."""
    for axis in range(steps.ndim):
        first = steps.take([0], axis) if steps.shape[axis] else steps
        steps = first if np.all(steps == first) else steps
    return steps.astype(np.float64)
