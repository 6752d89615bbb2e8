"""VGG (Simonyan and Zisserman, ICLR 2015) for 32x32 images: 3x3 convolutions, halved in between."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["VGG8", "VGG11", "VGG16", "Vgg"]

HALVED = 0
"""In a list of widths: rows and columns are halved."""
VGG8 = (128, 128, HALVED, 256, 256, HALVED, 512, 512, HALVED)
"""Six convolutions and, behind them, two dense layers of 1,024 and as many as there are classes.

TRICE names VGG-8 alone; this is the one that papers on compute-in-memory mean by it (DNN+NeuroSim).
"""
VGG11 = (64, HALVED, 128, HALVED, 256, 256, HALVED, 512, 512, HALVED, 512, 512, HALVED)
"""Configuration A of the paper, with one dense layer, as is usual for CIFAR."""
VGG16 = (
    *(64, 64, HALVED, 128, 128, HALVED, 256, 256, 256, HALVED),
    *(512, 512, 512, HALVED, 512, 512, 512, HALVED),
)
"""Configuration D, likewise."""


class Vgg(nn.Module):
    """Convolutions with batch normalisation, then dense layers.

    Args:
        widths: Channels of each convolution; `HALVED` in between.
        hidden: Units of a dense layer before the last; 0 for none.
        classes: How many.
        size: Rows and columns of an image.
        channels: Of an image.
    """

    def __init__(
        self,
        widths: Sequence[int],
        hidden: int = 0,
        classes: int = 10,
        size: int = 32,
        channels: int = 3,
    ) -> None:
        super().__init__()
        found: list[nn.Module] = []
        inside = channels
        for width in widths:
            if width == HALVED:
                found.append(nn.MaxPool2d(2))
                size //= 2
                continue
            conv = nn.Conv2d(inside, width, 3, padding=1, bias=False)
            found += [conv, nn.BatchNorm2d(width), nn.ReLU()]
            inside = width
        self.body = nn.Sequential(*found)
        flat = inside * size * size
        dense = [nn.Linear(flat, hidden), nn.ReLU()] if hidden else []
        self.head = nn.Sequential(*dense, nn.Linear(hidden or flat, classes))

    def forward(self, image: Tensor) -> Tensor:
        """Class scores (N, classes) of images (N, channels, size, size)."""
        return self.head(torch.flatten(self.body(image), 1))
