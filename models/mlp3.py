"""A perceptron of three layers, for 1x28x28 images, and its relatives of BayesFT's Fig. 2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Mlp3"]

_WIDTHS: Mapping[int, tuple[int, ...]] = MappingProxyType(
    {
        3: (784, 256, 128, 10),
        6: (784, 392, 256, 128, 64, 32, 10),
        9: (784, 512, 256, 128, 64, 64, 32, 16, 16, 10),
    }
)
"""Widths by layers; of 6 and 9 those of BayesFT's released code."""
_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "relu": torch.relu,
        "leaky": functional.leaky_relu,
        "elu": functional.elu,
        "gelu": functional.gelu,
    }
)


class _InstanceNorm(nn.Module):
    """Over an image's features, which are one channel; so it has two parameters in all."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x[:, None])[:, 0]


_NORMS: Mapping[str, Callable[[int], nn.Module]] = MappingProxyType(
    {
        "none": lambda width: nn.Identity(),
        "batch": nn.BatchNorm1d,
        "layer": nn.LayerNorm,
        "instance": lambda width: _InstanceNorm(),
        "group": lambda width: nn.GroupNorm(8, width),
    }
)


class Mlp3(nn.Module):
    """Fully connected 784-256-128-10 with ReLU; 235,146 parameters, 0.235 million MACs an image.

    Args:
        depth: Layers: 3, 6 or 9.
        norm: Normalisation behind every layer but the last: `none`, `batch`, `layer`, `instance`
            or `group` (8 groups).
        activation: `relu`, `leaky`, `elu` or `gelu`.
    """

    def __init__(self, depth: int = 3, norm: str = "none", activation: str = "relu") -> None:
        super().__init__()
        widths = _WIDTHS[depth]
        self.depth, self.activation = depth, activation
        for place, (inside, outside) in enumerate(zip(widths, widths[1:], strict=False), 1):
            self.add_module(f"fc{place}", nn.Linear(inside, outside))
            if place < depth:
                self.add_module(f"norm{place}", _NORMS[norm](outside))

    def forward(self, image: Tensor) -> Tensor:
        """Class scores (N, 10) of images (N, 1, 28, 28)."""
        x, activate = torch.flatten(image, 1), _ACTIVATIONS[self.activation]
        for place in range(1, self.depth):
            layer, norm = self.get_submodule(f"fc{place}"), self.get_submodule(f"norm{place}")
            x = activate(norm(layer(x)))
        return self.get_submodule(f"fc{self.depth}")(x)
