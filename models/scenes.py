"""Scenes drawn for detectors and segmentation: squares and discs. Importing this loads no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCENES", "draw_scenes"]

SCENES = {"train": (1200, 1), "validation": (200, 2), "test": (200, 3)}
"""How many scenes of a split are drawn, and from which seed."""


def draw_scenes(
    count: int, seed: int, size: int = 48
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scenes of squares and discs on a noisy ground, and the boxes around them.

    Args:
        count: N, how many.
        seed: Names the scenes.
        size: Rows and columns.

    Returns:
        Images (N, 3, size, size) from 0 to 1; boxes (N, 4, 6) as `nvmc.metrics.detection` takes
        them: x, y, x, y, class (0: square, 1: disc), 0; rows of -1 fill up.
    """
    draw = np.random.default_rng(seed)
    images = (0.3 + 0.1 * draw.standard_normal((count, 3, size, size))).astype(np.float32)
    boxes = np.full((count, 4, 6), -1, np.float32)
    rows, columns = np.mgrid[:size, :size] + 0.5
    for image in range(count):
        taken = np.zeros((size, size), bool)
        for place in range(int(draw.integers(1, 5))):
            side = int(draw.integers(8, 17))
            left, top = (int(v) for v in draw.integers(0, size - side + 1, 2))
            kind, colour = int(draw.integers(2)), 0.4 + 0.5 * draw.random(3)
            if taken[top : top + side, left : left + side].any():
                continue
            taken[top : top + side, left : left + side] = True
            inside = np.maximum(abs(rows - top - side / 2), abs(columns - left - side / 2))
            if kind:
                inside = np.hypot(rows - top - side / 2, columns - left - side / 2)
            images[image][:, inside <= side / 2] += colour[:, None].astype(np.float32)
            boxes[image, place] = [left, top, left + side, top + side, kind, 0]
    return np.clip(images, 0, 1).astype(np.float32), boxes
