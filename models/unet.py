"""U-Net with 1-bit weights and 4-bit activations, for segmentation.

Ronneberger et al., MICCAI 2015, with the bit precision of Ahmed et al. (DATE 2024, Sec. IV-A):
binary weights (there without a method's name; here IR-Net's, as for their ResNet-18) and PACT
activations of 4 bits. The first and the last convolution have real weights. Images keep their size
(padding), and a halving is undone by nearest neighbours and a convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nvmc.models.binary import BinaryConv, Pact

__all__ = ["UNet"]


class _Twice(nn.Module):
    """Two convolutions, each with a normalisation and a rounded activation."""

    def __init__(self, inside: int, outside: int, bits: int, first: bool = False) -> None:
        super().__init__()
        self.conv1 = (
            nn.Conv2d(inside, outside, 3, padding=1, bias=False)
            if first
            else BinaryConv(inside, outside, signs=False)
        )
        self.norm1 = nn.BatchNorm2d(outside)
        self.act1 = Pact(bits)
        self.conv2 = BinaryConv(outside, outside, signs=False)
        self.norm2 = nn.BatchNorm2d(outside)
        self.act2 = Pact(bits)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.norm1(self.conv1(x)))
        return self.act2(self.norm2(self.conv2(x)))


class _Up(nn.Module):
    """Twice as many rows and columns, half the channels."""

    def __init__(self, inside: int, outside: int, bits: int) -> None:
        super().__init__()
        self.conv = BinaryConv(inside, outside, signs=False)
        self.norm = nn.BatchNorm2d(outside)
        self.act = Pact(bits)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.act(self.norm(self.conv(x)))


class UNet(nn.Module):
    """U-Net 1/4: a class for each pixel.

    Args:
        classes: How many; 2 for vessels and what is none.
        channels: Of an image.
        width: Channels of the first level; each deeper one has twice as many. 64 in the paper of
            2015, whose deepest level of five then has 1,024.
        levels: Levels, the deepest among them; rows and columns are multiples of 2^(levels - 1).
        bits: Of activations.
    """

    def __init__(
        self, classes: int = 2, channels: int = 3, width: int = 64, levels: int = 5, bits: int = 4
    ) -> None:
        super().__init__()
        widths = [width << level for level in range(levels)]
        inside = [channels, *widths[:-1]]
        self.down = nn.ModuleList(
            _Twice(a, b, bits, first=level == 0)
            for level, (a, b) in enumerate(zip(inside, widths, strict=True))
        )
        rising = widths[::-1]
        self.up = nn.ModuleList(
            _Up(a, b, bits) for a, b in zip(rising[:-1], rising[1:], strict=True)
        )
        self.joined = nn.ModuleList(_Twice(2 * each, each, bits) for each in rising[1:])
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Class scores (N, classes, R, C) of images (N, channels, R, C)."""
        x, kept = image, list[Tensor]()
        for level, down in enumerate(self.down):
            x = down(x if level == 0 else functional.max_pool2d(x, 2))
            kept.append(x)
        for beside, up, joined in zip(kept[-2::-1], self.up, self.joined, strict=True):
            x = joined(torch.cat([beside, up(x)], 1))
        return self.head(x)
