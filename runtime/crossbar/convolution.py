"""Convolutions as matrix-vector products: unfold, multiply; or multiply, fold.

One input vector of a Conv is a window of one image over the channels of one group; one of a
ConvTranspose is a pixel over those channels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from nvmc.runtime.crossbar.geometry import Window
from nvmc.runtime.crossbar.lowering import block_sizes, spans
from nvmc.runtime.crossbar.mvm import ALL, Mvm, Reads
from nvmc.runtime.crossbar.native import Places
from nvmc.runtime.crossbar.results import empty

__all__ = ["convolve", "convolve_transposed", "window_places"]

Real = NDArray[np.floating[Any]]


def convolve(
    x: Real, mvm: Mvm, groups: int, cols: int, window: Window, bias: Real | None = None
) -> Real:
    """A convolution.

    Args:
        x: Shape (images, channels, *spatial), any number of spatial axes.
        mvm: The product, with `channels // groups * prod(kernel)` rows.
        groups: Groups of channels.
        cols: Output channels per group.
        window: Where the windows lie.
        bias: Shape (groups * cols,).

    Returns:
        Shape (images, groups * cols, *window.output), in the dtype of x.
    """
    images, channels = x.shape[:2]
    shape = (images, groups * cols, *window.output)
    y = empty(shape, x.dtype).reshape(images, groups, cols, *window.output)
    held = max(channels * math.prod(window.kernel), groups * mvm.width)
    row_bytes = held * math.prod(window.output[1:]) * x.itemsize
    together, fitting = block_sizes(window.output[0], row_bytes)
    parts = list(enumerate(spans(window.output[0], fitting)))
    if mvm.gathers:
        _gather(x, mvm, y, window, parts, bias)
        return y.reshape(shape)
    codes, drive = mvm.drive(x)
    for block in spans(images, together):
        padded = _padded(codes[block], window)
        for number, rows in parts:
            part = y[block, :, :, rows]
            reads = Reads(block.start, number)
            product = mvm(_unfold(padded, groups, window, rows), ALL, reads, drive[block])
            part[...] = product.swapaxes(2, 3).reshape(part.shape)
    y = y.reshape(shape)
    if bias is not None:
        y += bias.reshape(-1, *(1,) * len(window.kernel))
    return y


def _gather(
    x: Real,
    mvm: Mvm,
    y: Real,
    window: Window,
    parts: Sequence[tuple[int, slice]],
    bias: Real | None,
) -> None:
    """A convolution of windows that are read where they lie, into y (images, groups, cols, ...)."""
    images, groups, cols = y.shape[:3]
    padded, inner = _room(x, window)
    _, drive = mvm.drive(x, inner)
    biases = None if bias is None else bias.reshape(groups, cols)
    steps = [step // padded.itemsize for step in padded.strides]
    for number, rows in parts:
        count = (rows.stop - rows.start) * math.prod(window.output[1:])
        part = y[:, :, :, rows].reshape(images, groups, cols, count, copy=False).swapaxes(2, 3)
        places = window_places(padded.shape[1], steps, groups, window, rows)
        mvm.gather(padded, places, part, Reads(0, number), drive, bias=biases)


def convolve_transposed(x: Real, mvm: Mvm, groups: int, channels: int, window: Window) -> Real:
    """A transposed convolution without bias.

    Args:
        x: Shape (images, input channels, *spatial), any number of spatial axes.
        mvm: The product, with `channels * prod(kernel)` columns.
        groups: Groups of channels.
        channels: Output channels per group.
        window: Where the windows lie.

    Returns:
        Shape (images, groups * channels, *window.output), in the dtype of x. Each element is
        the sum of its contributions in an order fixed by the shapes of one image.
    """
    images, inputs = x.shape[:2]
    spatial = x.shape[2:]
    covered = zip(spatial, window.strides, window.reach, strict=True)
    canvas = [
        max((size - 1) * step + span, before + out)
        for (size, step, span), before, out in zip(
            covered, window.before, window.output, strict=True
        )
    ]
    y = np.zeros((images, groups * channels, *canvas), x.dtype)
    held = groups * max(channels * math.prod(window.kernel), mvm.width)
    row_bytes = held * math.prod(spatial[1:]) * x.itemsize
    together, fitting = block_sizes(spatial[0], row_bytes)
    codes, drive = mvm.drive(x)
    parts = list(enumerate(spans(spatial[0], fitting)))
    for block, (number, rows) in itertools.product(spans(images, together), parts):
        part = codes[block, :, rows]
        count = math.prod(part.shape[2:])
        vectors = part.reshape(part.shape[0], groups, inputs // groups, count).swapaxes(2, 3)
        product = mvm(vectors, ALL, Reads(block.start, number), drive[block]).swapaxes(2, 3)
        shape = (part.shape[0], groups * channels, *window.kernel, *part.shape[2:])
        _fold(product.reshape(shape), window, rows.start, y[block])
    crop = (slice(b, b + n) for b, n in zip(window.before, window.output, strict=True))
    return y[(slice(None), slice(None), *crop)]


def _padded(x: Real, window: Window) -> Real:
    """The images between their zeros."""
    if not any(window.before) and not any(window.after):
        return x
    padded, inner = _room(x, window)
    inner[...] = x
    return padded


def _room(x: Real, window: Window) -> tuple[Real, Real]:
    """Room for images between zeros, and the part of it that is theirs."""
    sizes = zip(x.shape[2:], window.before, window.after, strict=True)
    padded = np.zeros((*x.shape[:2], *(sum(size) for size in sizes)), x.dtype)
    inner = (slice(b, b + n) for b, n in zip(window.before, x.shape[2:], strict=True))
    return padded, padded[(slice(None), slice(None), *inner)]


def _unfold(x: Real, groups: int, window: Window, rows: slice) -> Real:
    """Windows as vectors, shape (images, groups, windows, channels per group * kernel)."""
    rank = len(window.kernel)
    images, channels = x.shape[:2]
    views = sliding_window_view(x, window.reach, axis=tuple(range(2, 2 + rank)))
    places = [slice(None, n * s, s) for n, s in zip(window.output, window.strides, strict=True)]
    step = window.strides[0]
    places[0] = slice(rows.start * step, rows.stop * step, step)
    taps = (slice(None, None, dilation) for dilation in window.dilations)
    views = views[(slice(None), slice(None), *places, *taps)]
    order = (0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
    length = channels // groups * math.prod(window.kernel)
    count = (rows.stop - rows.start) * math.prod(window.output[1:])
    return views.transpose(order).reshape(images, groups, length, count).swapaxes(2, 3)


def window_places(
    channels: int, steps: Sequence[int], groups: int, window: Window, rows: slice
) -> Places:
    """Where the windows of some rows of output positions lie in padded images.

    Args:
        channels: Of the images.
        steps: From one element to the next along each of their axes, counted in elements.
        groups: Groups of channels.
        window: Where windows lie.
        rows: Of output positions.
    """
    starts = [range(0, n * s, s) for n, s in zip(window.output, window.strides, strict=True)]
    starts[0] = starts[0][rows]
    taps = (range(0, n * d, d) for n, d in zip(window.kernel, window.dilations, strict=True))
    each = range(channels // groups)
    return Places(
        steps[0],
        len(each) * steps[1],
        _offsets(starts, steps[2:]),
        _offsets([each, *taps], steps[1:]),
    )


def _offsets(places: Sequence[range], steps: Sequence[int]) -> NDArray[np.int64]:
    """Where each combination of places along axes lies, the last axis fastest."""
    total: NDArray[np.int64] = np.zeros(1, np.int64)
    for along, step in zip(places, steps, strict=True):
        here = np.arange(along.start, along.stop, along.step, dtype=np.int64) * step
        total = (total[:, None] + here).ravel()
    return total


def _fold(products: Real, window: Window, first_row: int, y: Real) -> None:
    """Add products of shape (images, channels, *kernel, *inputs) to y where they belong."""
    sizes = products.shape[2 + len(window.kernel) :]
    origin = (first_row, *(0 for _ in sizes[1:]))
    for tap in np.ndindex(*window.kernel):
        places = tuple(
            slice(t * d + o * s, t * d + (o + n - 1) * s + 1, s)
            for t, d, o, s, n in zip(
                tap, window.dilations, origin, window.strides, sizes, strict=True
            )
        )
        y[(slice(None), slice(None), *places)] += products[(slice(None), slice(None), *tap)]
