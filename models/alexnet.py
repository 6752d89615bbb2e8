"""AlexNet (Krizhevsky et al., NeurIPS 2012) in the shape that is usual for 32x32 images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["AlexNet"]


class AlexNet(nn.Module):
    """Five convolutions, the widths of the paper's one-tower version, and one dense layer.

    The first convolution steps by 4 and is padded by 5, which leaves 8x8; three poolings by 2 leave
    one pixel of 256 channels. The paper's dense layers of 4,096 units are for 224x224 images.

    Args:
        classes: How many.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.head = nn.Linear(256, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Class scores (N, classes) of images (N, 3, 32, 32)."""
        return self.head(torch.flatten(self.body(image), 1))
