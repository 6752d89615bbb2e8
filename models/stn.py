"""A spatial transformer network: images are turned upright before they are classified.

Jaderberg et al., NeurIPS 2015. BayesFT (DAC 2021, Fig. 3i) classifies traffic signs with such a
network and names none closer; this one has the small localisation network and classifier that
PyTorch's tutorial on the subject has for digits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["SpatialTransformer"]


class SpatialTransformer(nn.Module):
    """A localisation network of two convolutions, an affine grid, and a classifier like LeNet.

    Args:
        classes: How many.
        channels: Of an image.
        size: Rows and columns.
        widths: Channels of the classifier's two convolutions, and units of its dense layer.
    """

    def __init__(
        self,
        classes: int = 10,
        channels: int = 1,
        size: int = 28,
        widths: tuple[int, int, int] = (10, 20, 50),
    ) -> None:
        super().__init__()
        self.local1 = nn.Conv2d(channels, 8, 7)
        self.local2 = nn.Conv2d(8, 10, 5)
        across = ((size - 6) // 2 - 4) // 2
        self.local3 = nn.Linear(10 * across**2, 32)
        self.local4 = nn.Linear(32, 6)
        self.conv1 = nn.Conv2d(channels, widths[0], 5)
        self.conv2 = nn.Conv2d(widths[0], widths[1], 5)
        left = ((size - 4) // 2 - 4) // 2
        self.fc1 = nn.Linear(widths[1] * left**2, widths[2])
        self.fc2 = nn.Linear(widths[2], classes)
        self.begin()

    @torch.no_grad()
    def begin(self) -> None:
        """Let the transformer leave images as they are: it learns from there."""
        self.local4.weight.zero_()
        self.local4.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))

    def forward(self, image: Tensor) -> Tensor:
        """Class scores (N, classes) of images (N, channels, size, size)."""
        x = torch.relu(torch.max_pool2d(self.local1(image), 2))
        x = torch.relu(torch.max_pool2d(self.local2(x), 2))
        x = torch.relu(self.local3(torch.flatten(x, 1)))
        theta = self.local4(x).view(-1, 2, 3)
        grid = functional.affine_grid(theta, list(image.shape), align_corners=False)
        x = functional.grid_sample(image, grid, align_corners=False)
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))
