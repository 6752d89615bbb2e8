"""What the kernels share: dtypes, checks of shapes, and how much is computed at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import ModelError

__all__ = [
    "BLOCK_BYTES",
    "TOGETHER_BYTES",
    "block_sizes",
    "computing",
    "expect",
    "spans",
]

TOGETHER_BYTES = 2**20
"""Most bytes of unfolded inputs (or products to be folded) of images handled together.

They stay in a core's cache: LeNet-5's convolutions took 1.0 times one sgemm of the same size with
2^20 bytes, 1.3 times with 2^18 and 1.8 times with 2^26.
"""

BLOCK_BYTES = 2**24
"""Most bytes of them for one image, which is cut into rows of output positions above that.

Only a single row may exceed it. Smaller pieces multiply small matrices, which is slower: 64
channels of 224 x 224 took 36 ms with 2^24 bytes and 70 ms with 2^20.
"""


def computing(activations: NDArray[Any]) -> NDArray[Any]:
    """The activations in the dtype they are computed in: float64 as it is, others float32.

    Raises:
        ModelError: They are not floating point.
    """
    kind = activations.dtype.name
    if kind == "float64":
        return activations
    if kind not in ("float16", "float32"):
        raise ModelError(
            f"activations are {kind}; expected float16, float32 or float64: "
            "keep this layer digital with --skip"
        )
    return activations.astype(np.float32, copy=False)


def expect(what: str, found: tuple[int, ...], expected: tuple[int | str, ...]) -> None:
    """Check a shape; a name in `expected` stands for any size.

    Raises:
        ModelError: The shape is another.
    """
    fits = len(found) == len(expected) and all(
        isinstance(want, str) or size == want for size, want in zip(found, expected, strict=True)
    )
    if not fits:
        wanted = ", ".join(str(size) for size in expected)
        raise ModelError(f"{what} has shape {list(found)}; expected [{wanted}]: feed that shape")


def block_sizes(rows: int, row_bytes: int) -> tuple[int, int]:
    """How many images, and how many rows of an image, to handle at a time; at least one each.

    Images share a block only when whole, so how an image is cut depends on its own size alone.
    """
    image_bytes = max(1, rows * row_bytes)
    return max(1, TOGETHER_BYTES // image_bytes), max(1, BLOCK_BYTES // max(1, row_bytes))


def spans(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover range(count), in order."""
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))
