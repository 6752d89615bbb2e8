"""Data of the papers' kinds that need no download: drawn by a seed, or made of the digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nvmc.data import load_data
from nvmc.data.files import Split
from nvmc.models.scenes import SCENES, draw_scenes

__all__ = ["DRAWN", "drawn_data"]

Pair = tuple[NDArray[Any], NDArray[Any]]
_ndimage: Any = ndimage  # its types are incomplete
_SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_COUNTS: Mapping[Split, int] = MappingProxyType({"train": 1200, "validation": 200, "test": 200})


def _scenes(split: Split) -> Pair:
    """Images with the boxes in them."""
    return draw_scenes(*SCENES[split])


def _maps(split: Split) -> Pair:
    """Images with a class for each pixel: 1 within a thing."""
    x, boxes = draw_scenes(_COUNTS[split] // 2, 1 + _SPLITS.index(split))
    rows, columns = np.mgrid[: x.shape[2], : x.shape[3]] + 0.5
    y = np.zeros((len(x), *x.shape[2:]), np.int64)
    for image, each in enumerate(boxes):
        for left, top, right, bottom, kind, _ in each[each[:, 4] >= 0]:
            down, across = rows - (top + bottom) / 2, columns - (left + right) / 2
            away = np.hypot(down, across) if kind else np.maximum(abs(down), abs(across))
            y[image][away <= (right - left) / 2] = 1
    return x, y


def _turned(split: Split) -> Pair:
    """The digits, each turned by up to 60 degrees."""
    data = load_data("digits", split)
    angles = np.random.default_rng(1 + _SPLITS.index(split)).uniform(-60, 60, len(data.x))
    x = [
        _ndimage.rotate(image, angle, axes=(1, 2), reshape=False, order=1)
        for image, angle in zip(data.x, angles, strict=True)
    ]
    return np.clip(np.asarray(x, np.float32), 0, 1), np.asarray(data.y)


def _sounds(split: Split) -> Pair:
    """One second at 8 kHz of a tone in noise: three pitches, each rising or falling."""
    count, draw = _COUNTS[split] // 2, np.random.default_rng(1 + _SPLITS.index(split))
    y = draw.integers(6, size=count)
    pitch = 200.0 * 2.0 ** (y // 2) * draw.uniform(0.9, 1.1, count)
    slope = np.where(y % 2, 0.5, -0.5) * pitch
    t = np.arange(8000) / 8000
    phase = 2 * np.pi * (pitch[:, None] * t + slope[:, None] * t**2 / 2 + draw.random((count, 1)))
    x = 0.5 * np.sin(phase) + 0.3 * draw.standard_normal((count, 8000))
    return np.clip(x, -1, 1).astype(np.float32)[:, None], y


DRAWN: Mapping[str, Callable[[Split], Pair]] = MappingProxyType(
    {"scenes": _scenes, "scene-maps": _maps, "turned-digits": _turned, "sounds": _sounds}
)
"""Name -> images and labels of a split."""


def drawn_data(name: str, folder: Path) -> str:
    """What `--data` calls a set: a file in the folder, written where it is not there, or its name.

    Args:
        name: A key of `DRAWN`, or a set that comes with a package.
        folder: Where it goes.
    """
    if name not in DRAWN:
        return name
    path = folder / f"{name}.npz"
    if not path.exists():
        arrays: dict[str, Any] = {}
        for split in _SPLITS:
            arrays[f"x_{split}"], arrays[f"y_{split}"] = DRAWN[name](split)
        temporary = folder / f"{name}.part.npz"
        np.savez(temporary, **arrays)
        temporary.replace(path)
    return str(path)
