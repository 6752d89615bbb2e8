"""Layers of binary and few-bit networks: IR-Net's convolution, PACT's activation.

In evaluation mode each computes just what its ONNX nodes say (Sign; Round and Clip), which is what
is exported. In training mode the steps have the gradients that their papers give them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["BinaryConv", "Pact", "Sign", "binary_weight", "set_progress"]

EDE = (0.1, 10.0)
"""T_min and T_max of IR-Net, Eq. 10."""


class Sign(nn.Module):
    """The sign, with IR-Net's gradient in training: that of k tanh(t x).

    Error decay estimator (Qin et al., CVPR 2020, Eq. 9 and 10): t = T_min (T_max / T_min)^progress
    and k = max(1/t, 1), so the gradient is nearly the identity's at first and the sign's at last.

    Attributes:
        progress: Share of the training that is done, 0 to 1 (`set_progress`).
    """

    def __init__(self) -> None:
        super().__init__()
        self.progress = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """-1, 0 and 1, of x's shape."""
        step = torch.sign(x)
        if not self.training:
            return step
        low, high = EDE
        t = low * (high / low) ** self.progress
        soft = max(1 / t, 1.0) * torch.tanh(t * x)
        return soft + (step - soft).detach()


def set_progress(model: nn.Module, progress: float) -> None:
    """Tell every `Sign` of a network which share of its training is done."""
    for module in model.modules():
        if isinstance(module, Sign):
            module.progress = progress


def binary_weight(weight: Tensor, sign: Sign) -> Tensor:
    """IR-Net's weight: one magnitude per output channel, a power of two.

    Libra parameter binarization (Qin et al., CVPR 2020, Eq. 4 to 7): each channel less its mean,
    divided by its standard deviation; then sign(w) 2^s, s = round(log2 mean|w|), through which no
    gradient goes.

    Args:
        weight: Latent weights, output channels first.
        sign: What takes the sign.
    """
    axes = tuple(range(1, weight.ndim))
    centred = weight - weight.mean(axes, keepdim=True)
    standard = centred / torch.sqrt((centred * centred).mean(axes, keepdim=True))
    size = torch.log2(standard.abs().mean(axes, keepdim=True))
    return sign(standard) * torch.exp2(torch.round(size)).detach()


class BinaryConv(nn.Conv2d):
    """A 2-D convolution with IR-Net's binary weights; no bias.

    Args:
        inside: Channels in.
        outside: Channels out.
        size: Rows and columns of the kernel; the image keeps its size at stride 1.
        stride: Step in both directions.
        signs: Whether the input's signs are taken first: 1-bit activations.
    """

    def __init__(
        self, inside: int, outside: int, size: int = 3, stride: int = 1, signs: bool = True
    ) -> None:
        super().__init__(inside, outside, size, stride, size // 2, bias=False)
        self.sign = Sign()
        self.signs = signs

    def forward(self, input: Tensor) -> Tensor:  # torch names it so
        """Of (N, inside, R, C): (N, outside, R / stride, C / stride)."""
        x = self.sign(input) if self.signs else input
        weight = binary_weight(self.weight, self.sign)
        return functional.conv2d(x, weight, None, self.stride, self.padding)


class Pact(nn.Module):
    """Activations from 0 to a learned bound a in 2^bits - 1 steps (Choi et al., 2018, Eq. 1 to 3).

    The gradient is 1 within the bounds; that of a is 1 where x >= a.

    Args:
        bits: Of the activations.
        bound: a at the start; 6 by default, as of ReLU6.
    """

    def __init__(self, bits: int, bound: float = 6.0) -> None:
        super().__init__()
        self.bound = nn.Parameter(torch.tensor(bound))
        self.register_buffer("levels", torch.tensor(float(2**bits - 1)), persistent=False)
        self.levels: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Rounded activations of x's shape."""
        clipped = torch.minimum(torch.relu(x), self.bound)
        scale = torch.div(self.levels, self.bound)
        if not self.training:
            return torch.div(torch.round(clipped * scale), scale)
        fixed = scale.detach()
        codes = clipped * fixed
        return (codes + (torch.round(codes) - codes).detach()) / fixed
