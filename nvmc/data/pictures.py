"""Pixels of image files, through Pillow."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.budget import check_room
from nvmc.data.files import Pixels, first_line
from nvmc.data.sources import Source, size_of
from nvmc.errors import DataError

__all__ = ["FORMATS", "mask", "pictures", "wanted_mode"]

FORMATS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Endings of the files that are taken for images."""
_MODES = {"rgb": "RGB", "grey": "L"}
_DEEP = ("I", "F")
"""What Pillow's modes of more than 8 bits begin with: converted, they would be cut off."""


def wanted_mode(source: Source) -> str:
    """Pillow's name for the option `colour`, `rgb` (by default) or `grey`.

    Raises:
        DataError: It is another.
    """
    text = source.options.get("colour", "rgb")
    if text not in _MODES:
        raise DataError(f"colour of {source.kind} is {text!r}; expected {' or '.join(_MODES)}")
    return _MODES[text]


def pictures(source: Source, paths: Sequence[Path]) -> Pixels:
    """Image files as pixels (N, channels, rows, columns), by the options `size` and `colour`.

    An image of another size is resized by Pillow's bilinear filter, which averages where it makes
    smaller; its proportions are not kept. Colours become grey by ITU-R 601-2: 0.299 R + 0.587 G +
    0.114 B. Transparency and a camera's orientation are passed over.

    Raises:
        DataError: A file is no image of 8 bits, or sizes differ and none is asked for.
        OutOfMemoryError: They do not fit into memory.
    """
    mode, size = wanted_mode(source), size_of(source)
    x: Pixels | None = None
    for index, path in enumerate(paths):
        pixels = _pixels(path, mode, size)
        if x is None:
            check_room(f"{len(paths)} images of {source.folder}", len(paths) * pixels.size)
            x = np.empty((len(paths), *pixels.shape), np.uint8)
        if pixels.shape != x.shape[1:]:
            first, other = ("x".join(map(str, one.shape[-2:])) for one in (x, pixels))
            raise DataError(
                f"{paths[0]} has {first} pixels (rows x columns) but {path} {other}; say one size "
                f"for all: {source.kind}:{source.folder},size={first}"
            )
        x[index] = pixels
    return np.empty((0, 3, 0, 0), np.uint8) if x is None else x


def mask(path: Path) -> NDArray[np.int64]:
    """The numbers of a label image, one channel as they are stored, (rows, columns).

    Raises:
        DataError: It is no image of one channel and 8 bits.
    """
    return _opened(path, _numbers).astype(np.int64)


def _numbers(path: Path, image: Any) -> Pixels:
    """What a mask stores: of a palette the indices."""
    if image.mode not in ("1", "L", "P"):
        raise DataError(f"{path} has mode {image.mode}; expected a mask of one channel of 8 bits")
    return np.asarray(image).astype(np.uint8)


def _pixels(path: Path, mode: str, size: tuple[int, int] | None) -> Pixels:
    """One image (channels, rows, columns)."""

    def convert(path: Path, image: Any) -> Pixels:
        if image.mode.startswith(_DEEP):
            raise DataError(
                f"{path} has mode {image.mode}, more than 8 bits a pixel; save it as 8 bits, or "
                "all as an .npz file"
            )
        image = image.convert(mode)
        if size is not None and image.size != size[::-1]:
            image = image.resize(size[::-1], resample=2)  # PIL.Image.Resampling.BILINEAR
        pixels = np.asarray(image)
        return pixels[None] if mode == "L" else np.moveaxis(pixels, 2, 0)

    return _opened(path, convert)


def _opened(path: Path, convert: Callable[[Path, Any], Pixels]) -> Pixels:
    """What becomes of an image's first picture."""
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(
            "reading images needs Pillow, which is not installed; pip install 'nvmc[data]'"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return convert(path, image)
    except DataError:
        raise
    except Exception as error:  # a damaged file may raise anything
        raise DataError(
            f"{path} cannot be read as an image ({first_line(error)}); replace or remove it"
        ) from error
