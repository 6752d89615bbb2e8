"""One array as numpy stores it, in a .npy file or a member of an .npz file."""

from __future__ import annotations

import math
from collections.abc import Callable
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import OutOfMemoryError

__all__ = ["OfObjects", "stored_array"]


class OfObjects(ValueError):
    """An array of Python objects, which only pickle could read."""


def stored_array(opened: Callable[[], IO[bytes]], size: int, name: str) -> NDArray[Any] | None:
    """Read an array without pickle; None where the content is none at all.

    The header is compared with the size first, so that no array takes more memory than there is
    content.

    Args:
        opened: Opens the content at its beginning; called twice.
        size: Bytes of the content.
        name: Of the content, for messages.

    Raises:
        ValueError: It is damaged; OfObjects where it is of Python objects.
        OutOfMemoryError: It does not fit into memory.
        OSError: It cannot be read.
    """
    with opened() as file:
        magic = np.lib.format.MAGIC_PREFIX
        if file.read(len(magic)) != magic:
            return None
    with opened() as file:
        shape, kind = _header(file, name)
        if kind.hasobject:
            raise OfObjects(f"{name} holds Python objects")
        needed, there = math.prod(shape) * kind.itemsize, size - file.tell()
        if min(shape, default=0) < 0 or needed != there:
            raise ValueError(
                f"{name} has {there} bytes, but shape {list(shape)} of {kind} in its header"
            )
    try:
        with opened() as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except MemoryError as error:
        raise OutOfMemoryError(
            f"{name} takes {needed / 2**30:.1f} GiB, for which there is no memory; save fewer "
            "images"
        ) from error


def _header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array that follows."""
    version = np.lib.format.read_magic(file)
    try:
        if version == (1, 0):
            shape, _, kind = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, _, kind = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError(f"{name} has format {version}; expected 1 or 2")
    except (TokenError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"the header of {name} says nothing") from error
    return shape, kind
