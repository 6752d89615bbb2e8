"""Random weights that are named by a generator, never by torch's global one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn

from nvmc.models.detector import DetectorMaps
from nvmc.models.stn import SpatialTransformer

__all__ = ["initialised", "one_thread"]


@contextmanager
def one_thread() -> Generator[None]:
    """One thread of torch in the block: with another number sums are rounded otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def initialised(model: nn.Module, generator: torch.Generator, biases: bool = False) -> nn.Module:
    """The model with new weights: He's uniform ones and zero biases (He et al., ICCV 2015).

    LSTM layers get torch's uniform ones within 1/√units, a spatial transformer begins as the
    identity, the detector's head with its prior, and normalisations and learned bounds stay as
    their modules make them.

    Args:
        model: Changed in place.
        generator: What is drawn from.
        biases: Whether biases are drawn too, within 1/√fan-in as torch does: torch's exporter
            leaves a bias of zeros out of the file, and then none can be trained.
    """
    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear)
    for module in model.modules():
        if isinstance(module, kinds):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
                if biases:
                    bound = module.weight[0].numel() ** -0.5
                    nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        elif isinstance(module, nn.LSTM):
            bound = module.hidden_size**-0.5
            for parameter in module.parameters():
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
    for module in model.modules():
        if isinstance(module, SpatialTransformer | DetectorMaps):
            module.begin()
    return model
