"""ResNet-18 for 32x32 images, untrained: 0.56 billion multiplications an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ResNet18"]


class _Block(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        self.short = nn.Sequential()
        if stride > 1 or inside != outside:
            short = nn.Conv2d(inside, outside, 1, stride, bias=False)
            self.short = nn.Sequential(short, nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.short(x))


class ResNet18(nn.Module):
    """He et al., CVPR 2016, Table 1, with the stem that CIFAR's images need: 3x3, no pooling.

    Args:
        classes: How many.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64))
        widths = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
        self.blocks = nn.Sequential(
            *(
                block
                for inside, outside, stride in widths
                for block in (_Block(inside, outside, stride), _Block(outside, outside, 1))
            )
        )
        self.head = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, 32, 32)."""
        y = self.blocks(F.relu(self.stem(x)))
        return self.head(y.mean((2, 3)))
