"""DAC and ADC in torch: the codes of `nvmc.runtime.crossbar.dac` and `adc`, and where they clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from nvmc.runtime.crossbar.adc import Adc
from nvmc.runtime.crossbar.dac import Dac
from nvmc.runtime.crossbar.native import KERNELS, NUMPY, drive

__all__ = ["Codes", "Pulse", "convert", "encode", "pulses", "rounded"]


@dataclass(frozen=True)
class Codes:
    """Input codes of whole entries; see `nvmc.runtime.crossbar.dac.Drive`.

    Attributes:
        values: The signed codes, of the inputs' shape (entries, ...).
        step: The input that a code of 1 stands for, shape (entries, 1, ...).
        offset: What is added to every code of an entry, likewise; None where nothing is.
        signed: Which entries have negative inputs, shape (entries,).
        inside: Where inputs are within the range, of their shape; None where all are.
    """

    values: Tensor
    step: Tensor
    offset: Tensor | None
    signed: Tensor
    inside: Tensor | None

    def __getitem__(self, entries: slice) -> Codes:
        """Those of some of the entries."""
        offset = None if self.offset is None else self.offset[entries]
        return Codes(self.values[entries], self.step[entries], offset, self.signed[entries], None)


@dataclass(frozen=True)
class Pulse:
    """What drives the rows for one conversion.

    Attributes:
        weight: What its result counts for: a power of two, negative for negative inputs.
        drive: What is put on the rows, at least 0 unless inputs are bipolar.
        last: Whether it is the last of its phase.
    """

    weight: float
    drive: Tensor
    last: bool = True


def encode(dac: Dac, x: Tensor, limit: Tensor | None) -> Codes:
    """The codes of `Dac.drive`.

    Args:
        dac: The converters.
        x: Entries along the first axis, float32.
        limit: The calibrated range, a scalar; None where each entry has its own.
    """
    with torch.no_grad():
        if KERNELS[0] != NUMPY and x.device.type == "cpu" and x.dtype == torch.float32:
            return _encoded(dac, x, limit)
        axes = (-1, *(1,) * (x.dim() - 1))
        flat = x.flatten(1)
        low, high = flat.amin(1), flat.amax(1)
        signed = ~(low >= 0)
        reach = torch.maximum(high, -low).clamp_(min=0) if limit is None else limit.expand_as(low)
        half = torch.where(signed, dac.half, 0.0) if dac.offsets else torch.zeros_like(low)
        top = torch.where(half > 0, half, dac.largest_code)
        step = (reach / top).view(axes)
        if dac.whole:  # those of the exact quotient, as there
            over, under = (torch.where(step == 0, 1.0, e.view(axes).double()) for e in (top, reach))
            values = x.double().mul_(over).div_(under).round_().to(x.dtype)
        else:
            values = x / torch.where(step == 0, 1.0, step)
        inside = None
        if limit is not None and bool((torch.maximum(high, -low) > reach).any()):
            inside = (x.abs() <= reach.view(axes)).to(x.dtype)
            bound = torch.where(step == 0, 0.0, top.view(axes))
            values = torch.clamp(values, -bound, bound)
        offset = half.view(axes) if dac.offsets and bool(signed.any()) else None
        return Codes(values, step, offset, signed, inside)


def _encoded(dac: Dac, x: Tensor, limit: Tensor | None) -> Codes:
    """`encode` by the simulator's compiled kernel."""
    values, inside = torch.empty_like(x), None
    from_, to = x, values
    if not x.is_contiguous() and x.dim() == 4:  # channels last, if anything
        from_, to = x.movedim(1, 3), values.movedim(1, 3)  # as they lie: no copy is made
    found = drive(
        KERNELS[0],
        from_.detach().numpy(),
        to.numpy(),
        whole=dac.whole,
        top=dac.largest_code,
        half=dac.half,
        limit=None if limit is None else float(limit),
    )
    if limit is not None:
        low, high = torch.aminmax(x)
        if bool(torch.maximum(high, -low) > limit):
            inside = (x.abs() <= limit).to(x.dtype)
    axes = (-1, *(1,) * (x.dim() - 1))
    step, offset = (torch.from_numpy(of).view(axes) for of in (found.step, found.offset))
    offset = offset if dac.offsets and found.signed.any() else None
    return Codes(values, step, offset, torch.from_numpy(found.signed), inside)


def pulses(dac: Dac, codes: Codes) -> Iterator[Pulse]:
    """The pulses of `Dac.expand`, in its order."""
    values = codes.values
    if dac.offsets:
        yield from _phase(dac, values if codes.offset is None else values + codes.offset, 1)
    elif dac.bipolar or not bool(codes.signed.any()):
        yield from _phase(dac, values, 1)
    else:
        yield from _phase(dac, values.clamp(min=0), 1)
        yield from _phase(dac, values.neg().clamp(min=0), -1)


def _phase(dac: Dac, values: Tensor, sign: int) -> Iterator[Pulse]:
    bits, size = dac.serial
    if not bits:
        yield Pulse(float(sign), values)
        return
    whole = values.abs().to(torch.int32)
    for bit in range(0, bits, size):
        drive = ((whole >> bit) & (2**size - 1)).to(values.dtype)
        if dac.bipolar:
            drive = drive.copysign_(values)
        yield Pulse(float(sign * 2**bit), drive, bit + size >= bits)


def convert(adc: Adc, currents: Tensor) -> tuple[Tensor, Tensor | None]:
    """The codes of `Adc.convert`; overwrites the currents.

    Returns:
        The codes, and which of them were clipped, of their shape; None where none was.
    """
    limits = adc.limits
    if limits is None:
        return currents, None
    per_unit, low, high = limits
    if per_unit != 1:
        currents.mul_(per_unit)
    currents.round_()
    least, most = torch.aminmax(currents)
    if bool((least >= low) & (most <= high)):
        return currents, None
    codes = currents.clamp(low, high)
    return codes, codes != currents


class _Rounded(torch.autograd.Function):
    """Inputs as their codes say them; the gradient is the identity within the range, else 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Codes) -> Tensor:
        if codes.inside is not None:
            ctx.save_for_backward(codes.inside)
        return codes.values * codes.step

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        up = gradients[0]
        return (up * ctx.saved_tensors[0] if ctx.saved_tensors else up), None


def rounded(x: Tensor, codes: Codes) -> Tensor:
    """What the codes of x stand for, straight-through."""
    return cast(Any, _Rounded).apply(x, codes)
