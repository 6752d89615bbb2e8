"""Activations rounded in training as `quantize-activations` rounds them in the network.

The range of each tensor is a running mean of its batches' extremes, or learned; it goes into the
ONNX file.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, cast

import onnx_ir as ir
import torch
from torch import Tensor, nn

from nvmc.passes.quantize_activations import mark_activations
from nvmc.training.task import Task

__all__ = ["ActivationRanges", "LearnedRanges", "Rounding", "rounding_of", "within_half"]

MOMENTUM = 0.1
"""Weight of the newest batch in a running range."""


class Rounding(Protocol):
    """What rounds the tensors that enter layers.

    Attributes:
        taps: The rounding by the name of the value that is rounded, in the order of `grid`.
    """

    taps: Mapping[str, Callable[[Tensor], Tensor]]

    def grids(self) -> Iterable[tuple[int, dict[str, tuple[float, float]]]]:
        """Bits, and the ranges of the tensors of so many: what `QuantizeActivations` wants."""
        ...

    def grid(self, position: int) -> tuple[Tensor, int, int] | None:
        """The step of a tensor now, and its least and greatest code; None before it was seen."""
        ...


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
            elif not self.seen[position]:
                return values
            step, signed, levels = self._steps(position)
            bottom = torch.where(signed, -levels, 0)
            inside = torch.clamp(values, bottom * step, levels * step)
            with torch.no_grad():
                shift = torch.clamp(torch.round(values / step), bottom, levels) * step - inside
            return inside + shift

        return rounded

    def grids(self) -> Iterable[tuple[int, dict[str, tuple[float, float]]]]:
        """See `Rounding`."""
        yield self.bits, self.ranges()

    def grid(self, position: int) -> tuple[Tensor, int, int] | None:
        """See `Rounding`."""
        if not self.seen[position]:
            return None
        step, signed, levels = self._steps(position)
        return step, -int(levels) if signed else 0, int(levels)

    def _steps(self, position: int) -> tuple[Tensor, Tensor, Tensor]:
        """Step, whether there are levels below 0, and the highest level."""
        low, high = self.low[position], self.high[position]
        signed = low < 0
        levels = torch.where(signed, 2 ** (self.bits - 1) - 1, 2**self.bits - 1)
        step = torch.where(signed, torch.maximum(-low, high), high) / levels
        return torch.where(step == 0, 1.0, step), signed, levels

    def _look(self, position: int, values: Tensor) -> None:
        low, high = torch.aminmax(values)
        low = torch.clamp(low, max=0.0)
        first = ~self.seen[position]
        share = torch.where(first, 1.0, MOMENTUM)
        self.low[position] += share * (low - self.low[position])
        self.high[position] += share * (high - self.high[position])
        self.seen[position] = True


class LearnedRanges(nn.Module):
    """Straight-through rounding to the codes of a DAC whose range is trained.

    A tensor has the codes 0 ... top, or -top ... top once it was seen below zero, top = 2^D - 1:
    what a two-phase DAC of D bits says. Its range begins as the largest magnitude of its first
    batch. The step s = range / top has the gradient round(x/s) - x/s within the range, and -top or
    top beyond it, where that of x is zero (Esser et al., LSQ, ICLR 2020, Eq. 3), without their
    factor 1/sqrt(N top), which Adam does not see.

    Args:
        marks: For each tensor the value that is rounded, from `mark_activations`.
        bits: D, 1 to 15.
    """

    def __init__(self, marks: Mapping[str, str], bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.names = names = tuple(marks)
        self.reach = nn.Parameter(torch.zeros(len(names)))
        self.signed = nn.Buffer(torch.zeros(len(names), dtype=torch.bool))
        self.seen = nn.Buffer(torch.zeros(len(names), dtype=torch.bool))
        self.taps: Mapping[str, Callable[[Tensor], Tensor]] = {
            mark: self._tap(position) for position, mark in enumerate(marks.values())
        }

    def grids(self) -> Iterable[tuple[int, dict[str, tuple[float, float]]]]:
        """See `Rounding`; a bit more is the sign."""
        reaches: list[float] = cast(Any, self.reach.detach()).tolist()
        signs: list[bool] = cast(Any, self.signed).tolist()
        rows = zip(self.names, reaches, signs, self.seen, strict=True)
        known = [(name, reach, signed) for name, reach, signed, seen in rows if seen]
        yield self.bits, {name: (0.0, reach) for name, reach, signed in known if not signed}
        yield self.bits + 1, {name: (-reach, reach) for name, reach, signed in known if signed}

    def grid(self, position: int) -> tuple[Tensor, int, int] | None:
        """See `Rounding`."""
        if not self.seen[position]:
            return None
        top = 2**self.bits - 1
        step = self.reach[position].detach() / top
        return step, -top if self.signed[position] else 0, top

    def _tap(self, position: int) -> Callable[[Tensor], Tensor]:
        def rounded(values: Tensor) -> Tensor:
            if self.training:
                self._look(position, values.detach())
            elif not self.seen[position]:
                return values
            step = self.reach[position] / (2**self.bits - 1)
            top = 2**self.bits - 1
            return cast(Any, _Learned).apply(
                values, step, -top if self.signed[position] else 0, top
            )

        return rounded

    def _look(self, position: int, values: Tensor) -> None:
        low, high = torch.aminmax(values)
        with torch.no_grad():
            self.signed[position] |= low < 0
            if not self.seen[position]:
                reach = torch.maximum(-low, high)
                self.reach[position] = torch.where(reach > 0, reach, 1.0)
                self.seen[position] = True


@contextmanager
def within_half(rounding: Rounding | None) -> Generator[None]:
    """In the block, an optimiser's step at most halves a learned range: it stays positive."""
    if not isinstance(rounding, LearnedRanges):
        yield
        return
    half = rounding.reach.detach() / 2
    yield
    with torch.no_grad():
        rounding.reach.copy_(torch.maximum(rounding.reach, half))


class _Learned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, step: Tensor, low: int, high: int) -> Tensor:
        scaled = values / step
        codes = torch.clamp(torch.round(scaled), low, high)
        inside = (scaled >= low) & (scaled <= high)
        ctx.save_for_backward(torch.where(inside, codes - scaled, codes), inside)
        return codes * step

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        slope, inside = ctx.saved_tensors
        up: Tensor = gradients[0]
        return up * inside, (up * slope).sum(), None, None


def rounding_of(model: ir.Model, task: Task) -> ActivationRanges | LearnedRanges | None:
    """What rounds the inputs of layers, which are marked in the model; None where nothing does."""
    bits, learned = task.options.activation_bits, task.settings.ranges == "learned"
    bits = task.target.periphery.dac_bits if learned else bits
    if bits is None:
        return None
    marks = mark_activations(model, task.options.skip, bits)
    found = LearnedRanges(marks, bits) if learned else ActivationRanges(marks, bits)
    return found.to(task.settings.accelerator)
