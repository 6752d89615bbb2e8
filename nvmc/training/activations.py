"""Activations rounded in training as `quantize-activations` rounds them in the network.

The range of each tensor is a running mean of its batches' extremes; it goes into the ONNX file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

__all__ = ["ActivationRanges"]

MOMENTUM = 0.1
"""Weight of the newest batch in a running range."""


class ActivationRanges(nn.Module):
    """Straight-through rounding of named tensors to the grid of `QuantizeActivations`.

    Inside the range the gradient passes, outside it is zero.

    Args:
        marks: For each tensor the value that is rounded, from `mark_activations`.
        bits: Bits of each, 1 to 16; a tensor that is seen below zero needs 2.
    """

    def __init__(self, marks: Mapping[str, str], bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.names = names = tuple(marks)
        self.low = nn.Buffer(torch.zeros(len(names)))
        self.high = nn.Buffer(torch.zeros(len(names)))
        self.seen = nn.Buffer(torch.zeros(len(names), dtype=torch.bool))
        self.taps: Mapping[str, Callable[[Tensor], Tensor]] = {
            mark: self._tap(position) for position, mark in enumerate(marks.values())
        }

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Smallest and largest value of each tensor that was seen: what the pass wants."""
        lows: list[float] = cast(Any, self.low).tolist()
        highs: list[float] = cast(Any, self.high).tolist()
        rows = zip(self.names, lows, highs, self.seen, strict=True)
        return {name: (low, high) for name, low, high, seen in rows if seen}

    def _tap(self, position: int) -> Callable[[Tensor], Tensor]:
        def rounded(values: Tensor) -> Tensor:
            if self.training:
                self._look(position, values.detach())
            low, high = self.low[position], self.high[position]
            signed = low < 0
            levels = torch.where(signed, 2 ** (self.bits - 1) - 1, 2**self.bits - 1)
            step = torch.where(signed, torch.maximum(-low, high), high) / levels
            step = torch.where(step == 0, 1.0, step)
            bottom = torch.where(signed, -levels, 0)
            inside = torch.clamp(values, bottom * step, levels * step)
            with torch.no_grad():
                shift = torch.clamp(torch.round(values / step), bottom, levels) * step - inside
            return inside + shift

        return rounded

    def _look(self, position: int, values: Tensor) -> None:
        low, high = torch.aminmax(values)
        low = torch.clamp(low, max=0.0)
        first = ~self.seen[position]
        share = torch.where(first, 1.0, MOMENTUM)
        self.low[position] += share * (low - self.low[position])
        self.high[position] += share * (high - self.high[position])
        self.seen[position] = True
