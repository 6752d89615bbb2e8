"""How far weights reach, learned: a range falls where the noise that it brings costs more.

The noise of every weight is proportional to the largest one, the reach r of its tensor or channel.
What cells compute with is r (q + e) / (2^H - 1), q the code and e the error in code steps, so the
loss has a gradient along r: that of LSQ's step, noise included (Esser et al., ICLR 2020, Eq. 3):

    d w_cells / d r = (w_cells - w) / r    where |w| < r (the rounding, straight through, and noise)
                    = w_cells / r          where |w| = r
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nvmc.hardware.tiling import Channels

__all__ = ["LearnedWidths"]

FIRST = 2.5
"""Standard deviations that a range begins at, where the weight reaches so far."""
_EDGE = 1 - 1e-6
"""From here on a weight lies at the end of its range, rounded."""


class LearnedWidths(nn.Module):
    """The reach of each weight, or of each of its channels, as a logarithm that is trained.

    Args:
        weights: Those that are clipped, by name; clamped to where they begin.
        channels: The channels that have a scale each, by name; None for one scale.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], channels: Mapping[str, Channels | None]
    ) -> None:
        super().__init__()
        self._channels = {name: channels[name] for name in weights}
        with torch.no_grad():
            for number, (name, weight) in enumerate(weights.items()):
                reach = torch.minimum(
                    FIRST * self._spread(name, weight), self._largest(name, weight)
                )
                tiny = torch.finfo(weight.dtype).tiny
                self.register_parameter(str(number), nn.Parameter(reach.clamp_min(tiny).log()))
        self._numbers = {name: str(number) for number, name in enumerate(weights)}
        self.clip(weights)

    def __contains__(self, name: str) -> bool:
        return name in self._numbers

    def reach(self, name: str) -> Tensor:
        """The reach of a weight, positive, to be broadcast against it."""
        return getattr(self, self._numbers[name]).exp()

    def passed(self, name: str, cells: Tensor, weight: Tensor) -> Tensor:
        """Zero, with the gradient along the reach of what cells compute with."""
        reach = self.reach(name)
        with torch.no_grad():
            inside = weight.abs() < reach * _EDGE
            along = (cells - torch.where(inside, weight, torch.zeros_like(weight))) / reach
        return (reach - reach.detach()) * along

    def clip(self, weights: Mapping[str, Tensor]) -> None:
        """Clamp weights to their reach, in place; no reach stays beyond the largest weight."""
        with torch.no_grad():
            for name, field in self._numbers.items():
                weight, reach = weights[name], self.reach(name)
                torch.clamp(weight, -reach, reach, out=weight)
                largest = self._largest(name, weight)
                log = getattr(self, field)
                log.copy_(torch.where(largest > 0, torch.minimum(log, largest.log()), log))

    def _largest(self, name: str, weight: Tensor) -> Tensor:
        channels = self._channels[name]
        return weight.abs().amax() if channels is None else channels.largest(weight)

    def _spread(self, name: str, weight: Tensor) -> Tensor:
        channels = self._channels[name]
        return weight.std(correction=0) if channels is None else channels.deviation(weight)
