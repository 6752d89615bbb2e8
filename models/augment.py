"""Images, and the maps of labels that belong to them, moved at random each time they are shown."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Affine", "Moves"]


@dataclass(frozen=True)
class Affine:
    """Every image turned, scaled and shifted by its own uniform draw; zeros move in.

    Attributes:
        turn: Largest angle, in degrees.
        scale: Largest relative change of size.
        shift: Largest shift along each axis, in pixels.
    """

    turn: float = 12.0
    scale: float = 0.1
    shift: float = 2.0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Moved images of the same shape, (N, C, R, C); bilinear between pixels."""
        return self.moved(images, self.grid(images, generator))

    def grid(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Where each pixel comes from, (N, R, C, 2), as `grid_sample` takes it."""
        draws = torch.rand((4, len(images)), generator=generator, device=images.device)
        turn, scale, right, down = 2 * draws - 1
        angle, size = turn * math.radians(self.turn), 1 + scale * self.scale
        cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
        x = 2 * self.shift / images.shape[3] * right  # an image is 2 units wide and high
        y = 2 * self.shift / images.shape[2] * down
        rows = [torch.stack([cos, -sin, x], 1), torch.stack([sin, cos, y], 1)]
        return functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)

    @staticmethod
    def moved(images: Tensor, grid: Tensor, mode: str = "bilinear") -> Tensor:
        """Images (N, C, R, C) with their pixels from a grid; zeros from outside."""
        return functional.grid_sample(images, grid, mode=mode, align_corners=False)


@dataclass(frozen=True)
class Moves:
    """What `nvmc train --augment` does to images: an affine move, a crop and a flip.

    Attributes:
        turn: Largest angle, in degrees.
        scale: Largest relative change of size.
        shift: Largest shift along each axis, in pixels.
        crop: Rows and columns of zeros around an image out of which one of its size is cut: a
            shift by whole pixels.
        flip: Share of the images that are mirrored, left to right.
    """

    turn: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    crop: int = 0
    flip: float = 0.0

    def __call__(
        self, images: Tensor, generator: torch.Generator, labels: Tensor | None, ignored: int
    ) -> tuple[Tensor, Tensor | None]:
        """Moved images and labels of the same shapes.

        Args:
            images: Of shape (N, C, R, C).
            generator: What moves are drawn from.
            labels: Maps (N, R, C) of classes, which move with their images, the nearest pixel's
                class; None where labels are of whole images.
            ignored: The label of what moves in, which counts neither way.
        """
        if self.turn or self.scale or self.shift:
            affine = Affine(self.turn, self.scale, self.shift)
            grid = affine.grid(images, generator)
            images = affine.moved(images, grid)
            if labels is not None:  # exact: classes are whole numbers below 2**24
                above = (labels - ignored).to(torch.float32)[:, None]
                labels = affine.moved(above, grid, "nearest")[:, 0].to(labels.dtype) + ignored
        if self.crop:
            places = (len(images), 2)
            start = torch.randint(
                2 * self.crop + 1, places, generator=generator, device=images.device
            )
            images = _cut(images, start, self.crop, 0.0)
            labels = None if labels is None else _cut(labels, start, self.crop, ignored)
        if self.flip:
            drawn = torch.rand(len(images), generator=generator, device=images.device)
            mirrored = drawn < self.flip
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
            if labels is not None:
                labels = torch.where(mirrored[:, None, None], labels.flip(-1), labels)
        return images, labels


def _cut(maps: Tensor, start: Tensor, around: int, value: float) -> Tensor:
    """Maps (N, ..., R, C) cut out of ones with `around` more on each side, from start (N, 2)."""
    wide = functional.pad(maps, (around,) * 4, value=value)
    rows = start[:, :1] + torch.arange(maps.shape[-2], device=maps.device)
    columns = start[:, 1:] + torch.arange(maps.shape[-1], device=maps.device)
    index = torch.arange(len(maps), device=maps.device)[:, None, None]
    if maps.ndim == 3:
        return wide[index, rows[:, :, None], columns[:, None]]
    # Indices on both sides of a slice put the slice last.
    return wide[index, :, rows[:, :, None], columns[:, None]].movedim(-1, 1)
