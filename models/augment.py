"""Images moved at random each time they are shown, as torch tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Affine"]


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
        draws = torch.rand((4, len(images)), generator=generator, device=images.device)
        turn, scale, right, down = 2 * draws - 1
        angle, size = turn * math.radians(self.turn), 1 + scale * self.scale
        cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
        x = 2 * self.shift / images.shape[3] * right  # an image is 2 units wide and high
        y = 2 * self.shift / images.shape[2] * down
        rows = [torch.stack([cos, -sin, x], 1), torch.stack([sin, cos, y], 1)]
        grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, align_corners=False)
