"""Seeded inputs, for when there are no data: their sizes, their numbers, what is said of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.budget import check_room
from nvmc.compiled.artifact import TensorEntry
from nvmc.compiled.options import STEPS
from nvmc.errors import DataError
from nvmc.rng import stream

__all__ = ["seeded_inputs", "seeded_sizes", "seeded_text"]

LENGTH = 128
"""Tokens, samples or whatever else a free axis counts, where nothing better is known."""
STEPS_ASSUMED = 16
"""Steps of a network that is run over sequences."""
CHANNELS = 3
PIXELS = 224
"""Images are 224 x 224 in most networks since Krizhevsky et al. 2012."""


def seeded_inputs(inputs: Sequence[TensorEntry], count: int, seed: int) -> dict[str, NDArray[Any]]:
    """`count` seeded images for each input, by name: uniform in [0, 1), or zeros and ones.

    Args:
        inputs: The network's.
        count: How many.
        seed: Of the numbers.

    Raises:
        DataError: An input has no axis for images.
        OutOfMemoryError: They are larger than what may be taken.
    """
    sizes, _ = _sizes(inputs)
    numbers = count * sum(math.prod(sizes[entry.name]) for entry in inputs)
    check_room(f"{count:,} seeded inputs", numbers * np.dtype(np.float32).itemsize)
    return {e.name: _drawn(e, count, sizes[e.name], seed) for e in inputs}


def seeded_sizes(inputs: Sequence[TensorEntry]) -> dict[str, tuple[int, ...]]:
    """Sizes of seeded inputs behind the images, by name.

    Raises:
        DataError: An input has no axis for images.
    """
    return _sizes(inputs)[0]


def seeded_text(inputs: Sequence[TensorEntry]) -> str:
    """What seeded inputs are, for people: sizes that were assumed, and whole numbers, are said.

    Raises:
        DataError: An input has no axis for images.
    """
    found, assumed = _sizes(inputs)
    told = [
        f"{entry.name} {'x'.join(map(str, found[entry.name])) or 'one number'}"
        f"{'' if _is_float(entry) else ' zeros and ones'}"
        for entry in inputs
        if assumed or not _is_float(entry)
    ]
    if not told:
        return "seeded inputs"
    text = f"seeded inputs: {', '.join(told)}"
    if not assumed:
        return text
    sizes = ", ".join(f"{axis}={size}" for axis, size in assumed.items())
    other = "--data" if list(assumed) == [STEPS] else "--data, or --shape of nvmc compile,"
    return f"{text}; {sizes} assumed, {other} says otherwise"


def _is_float(entry: TensorEntry) -> bool:
    return np.dtype(entry.dtype).kind == "f"


def _sizes(inputs: Sequence[TensorEntry]) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Sizes behind the images by input, and those among them that are assumed, by axis."""
    assumed: dict[str, int] = {}
    found: dict[str, tuple[int, ...]] = {}
    for entry in inputs:
        shape = entry.shape
        if not shape:
            raise DataError(
                f"input {entry.name!r} has shape {shape}, without an axis for images; say what it "
                f"holds for every image with nvmc compile --input {entry.name}=VALUE"
            )
        sizes: list[int] = []
        for axis, size in enumerate(shape[1:], 1):
            if not isinstance(size, int):
                name = size or f"{entry.name} axis {axis}"
                size = assumed.setdefault(name, _assumed(shape, axis, _is_float(entry)))
            sizes.append(size)
        found[entry.name] = tuple(sizes)
    return found, assumed


def _assumed(shape: Sequence[int | str | None], axis: int, real: bool) -> int:
    """A size for a free axis: channels and pixels of images, else a length."""
    if shape[axis] == STEPS:
        return STEPS_ASSUMED
    if real and len(shape) == 4:
        last = shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4)
        return CHANNELS if axis == (3 if last else 1) else PIXELS
    return LENGTH


def _drawn(entry: TensorEntry, count: int, sizes: Sequence[int], seed: int) -> NDArray[Any]:
    draws = stream(seed, 0, "input", entry.name).random((count, *sizes), dtype=np.float32)
    kind = np.dtype(entry.dtype)
    return draws.astype(kind) if kind.kind == "f" else (draws < 0.5).astype(kind)
