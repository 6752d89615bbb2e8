"""Parameters and multiply-adds of torch modules, counted on shapes alone."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["counts_of"]


def counts_of(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """Trained numbers, and multiply-adds of convolutions, dense and LSTM layers for one input.

    Biases, normalisations and what has no weights do not count; nothing is computed.

    Args:
        module: The network, which is moved to torch's device `meta`.
        shape: Of one input, without the axis of images.
    """
    found = 0

    def count(layer: nn.Module, given: Any, result: Any) -> None:
        nonlocal found
        if isinstance(layer, nn.LSTM):
            weights = sum(p.numel() for n, p in layer.named_parameters() if "weight" in n)
            found += weights * given[0].shape[1]
        elif isinstance(layer, nn.Linear):
            found += layer.weight.numel() * math.prod(result.shape[1:-1])
        else:
            found += layer.get_parameter("weight").numel() * math.prod(result.shape[2:])

    counted = (nn.Conv1d, nn.Conv2d, nn.Linear, nn.LSTM)
    handles = [
        layer.register_forward_hook(count)
        for layer in module.modules()
        if isinstance(layer, counted)
    ]
    try:
        with torch.no_grad():
            example: Tensor = torch.zeros((1, *shape), device="meta")
            module.to("meta").eval()(example)
    finally:
        for handle in handles:
            handle.remove()
    return sum(parameter.numel() for parameter in module.parameters()), found
