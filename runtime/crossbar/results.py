"""Where a kernel puts its results: NumPy's memory, or that of whoever called it.

onnxruntime has memory of its own for outputs. A kernel that writes its results there saves a copy
of them, and the pages of an array that is made anew for every call.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import local
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Room", "empty", "results_in"]

Room = Callable[[tuple[int, ...]], NDArray[Any]]
"""From a shape to the memory of the first output, an array in the type of the output."""


class _Here(local):
    room: Room | None = None


_here = _Here()


@contextmanager
def results_in(room: Room | None) -> Generator[None]:
    """Kernels of this thread may put their first output there, within the block."""
    before, _here.room = _here.room, room
    try:
        yield
    finally:
        _here.room = before


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Room for the whole first output of a kernel; what is in it is left open.

    Args:
        shape: Of the output, as the operator has it.
        dtype: What is computed in. Where the output has another, the memory is NumPy's.
    """
    if _here.room is not None:
        made = _here.room(shape)
        if made.dtype == dtype:
            return made
    return np.empty(shape, dtype)
