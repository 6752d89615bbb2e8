"""What the readers of data sets share."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nvmc.budget import check_room
from nvmc.errors import DataError

__all__ = ["MOST_DEFLATED", "SPLITS", "Pixels", "Split", "content", "first_file", "first_line"]

Pixels = NDArray[np.uint8]
Split = Literal["train", "validation", "test"]
_PIECE = 1 << 22
"""Bytes that are read at once."""
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


MOST_DEFLATED = 1032
"""Bytes that one compressed byte stands for at most (zlib's technical notes)."""


def first_file(folder: Path, places: Sequence[str], names: Sequence[str]) -> Path:
    """The first of the named files in the folder or its usual subfolders."""
    for path in (folder / place / name for place in places for name in names):
        if path.is_file():
            return path
    raise DataError(f"{folder} has no {' or '.join(names)}; download the data set's own files")


def content(path: Path, most: int | None = None) -> bytes:
    """The content of a file, decompressed when its name ends in .gz.

    Args:
        path: The file.
        most: Bytes of the content that are read at most; all without it.

    Raises:
        DataError: It cannot be read.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            held = MOST_DEFLATED * path.stat().st_size
            return _read(file.read, path, held if most is None else min(most, held))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read ({first_line(error)}); download it again"
        ) from error


def _read(read: Callable[[int], bytes], path: Path, most: int) -> bytes:
    """At most so many bytes of a file, piece by piece: much may be packed in it."""
    pieces: list[bytes] = []
    held = 0
    while held < most and (piece := read(min(_PIECE, most - held))):
        pieces.append(piece)
        held += len(piece)
        check_room(f"the content of {path}", 2 * held)
    return b"".join(pieces)


def first_line(error: BaseException) -> str:
    """An error's first line, or its kind."""
    return str(error).partition("\n")[0] or type(error).__name__
