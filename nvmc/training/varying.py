"""Noise of activations in training: the law of `nvmc.passes.vary_activations`, in torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from nvmc.hardware.devices.noise import Activation, Draws
from nvmc.passes.vary_activations import activation_sources
from nvmc.training.held import CellWeights

__all__ = ["Varying"]


class Varying:
    """What acts on activations wherever a step computes with a chip's weights.

    Methods that inject a device's own noise (`Crossbars.programmed`) have it, so it needs nothing
    of them; those that train on the ideal chip's weights have none.

    Args:
        places: What `VaryActivations` found: source, node, and the value that is to have the noise.
    """

    def __init__(self, places: Sequence[tuple[str, str, str]]) -> None:
        self.places = tuple(places)

    def taps(self, weights: Mapping[str, Tensor]) -> dict[str, Callable[[Tensor], Tensor]]:
        """Functions on named values for one step; fresh numbers for every element and image."""
        chip = weights.chip if isinstance(weights, CellWeights) else None
        if chip is None or not self.places:
            return {}
        sources, draws = chip
        known = activation_sources(sources)
        return {v: _tap(known[name], draws) for name, _, v in self.places if known[name].active}


def _tap(source: Activation, draws: Draws) -> Callable[[Tensor], Tensor]:
    def varied(x: Tensor) -> Tensor:
        z = source.factor(draws.normal(tuple(x.shape))).to(x.dtype)
        return x + (x * z if source.law == "multiplicative" else z)

    return varied
