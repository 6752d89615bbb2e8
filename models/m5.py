"""M5: words from raw sound by convolutions along time (Dai et al., ICASSP 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["M5"]


class M5(nn.Module):
    """Four 1-D convolutions, each with normalisation and a pooling by 4, and a dense layer.

    The widths and the first step are those of PyTorch's tutorial on Speech Commands, which has
    this network at 8 kHz: 32, 32, 64, 64, step 16. (Dai et al.: 128, 128, 256, 512, step 4, for
    other data; `width=128, step=4, last=512` gives that.)

    Args:
        classes: How many; 35 words.
        width: Channels of the first two convolutions; the third has twice as many.
        step: Samples from one window of the first convolution to the next.
        last: Channels of the fourth convolution; twice `width` by default.
    """

    def __init__(
        self, classes: int = 35, width: int = 32, step: int = 16, last: int | None = None
    ) -> None:
        super().__init__()
        widths = [1, width, width, 2 * width, last or 2 * width]
        found: list[nn.Module] = []
        for place, (inside, outside) in enumerate(zip(widths, widths[1:], strict=False)):
            size, stride = (3, 1) if place else (80, step)
            conv = nn.Conv1d(inside, outside, size, stride)
            found += [conv, nn.BatchNorm1d(outside), nn.ReLU(), nn.MaxPool1d(4)]
        self.body = nn.Sequential(*found)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, sound: Tensor) -> Tensor:
        """Class scores (N, classes) of one second (N, 1, 8000)."""
        return self.head(torch.mean(self.body(sound), 2))
