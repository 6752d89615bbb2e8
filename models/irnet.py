"""ResNet-18 with binary weights and activations, by IR-Net (Qin et al., CVPR 2020), for CIFAR.

The layout is that of the authors' released network for CIFAR-10: real first convolution, real
shortcuts and classifier, everything else one bit; Hardtanh in place of ReLU. Ahmed et al. (DATE
2024, Sec. IV-A) binarise ResNet-18 so, and put noise on the normalised activations before Sign.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nvmc.models.binary import BinaryConv

__all__ = ["IrNetResNet"]


class _Block(nn.Module):
    """Two binary convolutions and a way around them."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = BinaryConv(inside, outside, stride=stride)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = BinaryConv(outside, outside)
        self.norm2 = nn.BatchNorm2d(outside)
        self.short = nn.Sequential()
        if stride > 1 or inside != outside:
            short = nn.Conv2d(inside, outside, 1, stride, bias=False)
            self.short = nn.Sequential(short, nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.hardtanh(self.norm1(self.conv1(x)))
        return functional.hardtanh(self.norm2(self.conv2(y)) + self.short(x))


class IrNetResNet(nn.Module):
    """ResNet-18 of IR-Net's binary convolutions.

    Args:
        classes: How many.
        channels: Of an image.
        width: Channels of the first stage; each later stage has twice as many.
        blocks: Blocks of each stage; (2, 2, 2, 2) is ResNet-18.
    """

    def __init__(
        self,
        classes: int = 10,
        channels: int = 3,
        width: int = 64,
        blocks: Sequence[int] = (2, 2, 2, 2),
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        found: list[nn.Module] = []
        inside = width
        for stage, count in enumerate(blocks):
            outside = width << stage
            for place in range(count):
                found.append(_Block(inside, outside, 2 if stage and not place else 1))
                inside = outside
        self.blocks = nn.Sequential(*found)
        self.head_norm = nn.BatchNorm1d(inside)
        self.head = nn.Linear(inside, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Class scores (N, classes) of images (N, channels, R, C); 32x32 in the paper."""
        x = self.blocks(self.stem_norm(self.stem(image)))
        return self.head(self.head_norm(torch.mean(x, (2, 3))))
