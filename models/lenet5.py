"""LeNet-5 (LeCun et al., Proc. IEEE 1998) with ReLU and max pooling, for 1x28x28 images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["LeNet5"]


class LeNet5(nn.Module):
    """Two convolutions and three fully connected layers.

    61,706 parameters; 0.417 million multiply-accumulates an image. The first convolution is
    padded by 2, so that 28x28 images take the place of the paper's 32x32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Class scores (N, 10) of images (N, 1, 28, 28)."""
        x = torch.max_pool2d(torch.relu(self.conv1(image)), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = torch.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc3(torch.relu(self.fc2(x)))
