"""Residual networks for 32x32 images: ResNet-18 and the pre-activation ones of 18 to 152 layers.

He et al., CVPR 2016 (Table 1) and ECCV 2016 (Fig. 1b), with the stem that CIFAR's images need: 3x3,
no pooling.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["PreActResNet", "ResNet18"]


def _conv(inside: int, outside: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, size, stride, size // 2, bias=False)


class _Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(inside, outside, 3, stride)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = _conv(outside, outside, 3)
        self.norm2 = nn.BatchNorm2d(outside)
        self.short = nn.Sequential()
        if stride > 1 or inside != outside:
            self.short = nn.Sequential(_conv(inside, outside, 1, stride), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.short(x))


class ResNet18(nn.Module):
    """ResNet-18.

    Args:
        classes: How many.
        width: Channels of the first stage; each later stage has twice as many.
        channels: Of an image.
    """

    def __init__(self, classes: int = 10, width: int = 64, channels: int = 3) -> None:
        super().__init__()
        self.stem = _conv(channels, width, 3)
        self.norm = nn.BatchNorm2d(width)
        found: list[nn.Module] = []
        inside = width
        for stage in range(4):
            outside = width << stage
            found += [_Block(inside, outside, 2 if stage else 1), _Block(outside, outside, 1)]
            inside = outside
        self.blocks = nn.Sequential(*found)
        self.head = nn.Linear(inside, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Class scores (N, classes) of images (N, channels, R, C)."""
        x = self.blocks(torch.relu(self.norm(self.stem(image))))
        return self.head(torch.mean(x, (2, 3)))


class _PreActBlock(nn.Module):
    """Normalisation and ReLU ahead of each convolution; `sizes` are those of the kernels."""

    def __init__(self, inside: int, width: int, outside: int, stride: int, deep: bool) -> None:
        super().__init__()
        sizes = (1, 3, 1) if deep else (3, 3)
        widths = (inside, width, width, outside) if deep else (inside, width, outside)
        at = 1 if deep else 0  # the convolution that steps
        self.norms = nn.ModuleList(nn.BatchNorm2d(each) for each in widths[:-1])
        self.convs = nn.ModuleList(
            _conv(widths[k], widths[k + 1], size, stride if k == at else 1)
            for k, size in enumerate(sizes)
        )
        self.short = _conv(inside, outside, 1, stride) if stride > 1 or inside != outside else None

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norms[0](x))
        around = x if self.short is None else self.short(y)
        y = self.convs[0](y)
        for norm, conv in zip(self.norms[1:], self.convs[1:], strict=True):
            y = conv(torch.relu(norm(y)))
        return y + around


class PreActResNet(nn.Module):
    """A pre-activation residual network.

    Args:
        blocks: Blocks of each of the four stages: (2, 2, 2, 2) is PreAct-18; with `deep` (3, 4, 6,
            3) is PreAct-50 and (3, 8, 36, 3) PreAct-152.
        deep: Whether blocks are bottlenecks of three convolutions, four times as wide outside.
        classes: How many.
        width: Channels of the first stage.
        channels: Of an image.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        deep: bool = False,
        classes: int = 10,
        width: int = 64,
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.stem = _conv(channels, width, 3)
        found: list[nn.Module] = []
        inside = width
        for stage, count in enumerate(blocks):
            narrow = width << stage
            outside = 4 * narrow if deep else narrow
            for place in range(count):
                stride = 2 if stage and not place else 1
                found.append(_PreActBlock(inside, narrow, outside, stride, deep))
                inside = outside
        self.blocks = nn.Sequential(*found)
        self.norm = nn.BatchNorm2d(inside)
        self.head = nn.Linear(inside, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Class scores (N, classes) of images (N, channels, R, C)."""
        x = torch.relu(self.norm(self.blocks(self.stem(image))))
        return self.head(torch.mean(x, (2, 3)))
