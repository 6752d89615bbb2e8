"""The straight-through gradients of an array behind its converters.

Backwards, rounding is the identity, and an output beyond an ADC's range is a constant. So y is
taken for x W per row of tiles, times the share of the conversions behind that sum, by what they
count for, whose code was not clipped: 1 where none was, and with one lane and one pulse the
gradient of clip(I).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from nvmc.training.circuit.clipped import Clipped, add_at
from nvmc.training.circuit.compiled import compiled_result, is_compiled
from nvmc.training.circuit.converters import Codes
from nvmc.training.circuit.products import Gradients, Wanted
from nvmc.training.circuit.reading import Reading

__all__ = ["read"]


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, codes: Codes, reading: Reading) -> Tensor:
        one = compiled_result if is_compiled(reading, codes) else Reading.result
        y, clipped = one(reading, codes)
        ctx.reading, ctx.clipped, ctx.inside = reading, clipped, codes.inside
        ctx.save_for_backward(codes.values * codes.step, weight)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight = ctx.saved_tensors
        wanted: Wanted = ctx.needs_input_grad[:2]
        of_x, of_weight = _gradients(ctx.reading, ctx.clipped, gradients[0], x, weight, wanted)
        if of_x is not None and ctx.inside is not None:
            of_x = of_x * ctx.inside
        return of_x, of_weight, None, None


def _gradients(
    reading: Reading,
    clipped: Clipped | None,
    up: Tensor,
    x: Tensor,
    weight: Tensor,
    wanted: Wanted,
) -> Gradients:
    """Gradients of x and of the weight.

    Outputs that no tile clipped are one product, whatever the rows of tiles. The others are left
    out of it and added with their shares, so that where no conversion was within the range the
    gradient is 0 and not a difference.
    """
    product, rows = reading.product, reading.rows
    if clipped is None:
        return product.gradients(up, x, weight, wanted)
    if len(rows) == 1:
        return product.gradients(clipped.scaled(up, clipped.kept[0]), x, weight, wanted)
    if clipped.few(up.numel()):
        into = product.gradients(clipped.scaled(up, 0.0), x, weight, wanted)
        sizes = torch.tensor([r.stop - r.start for r in rows], device=up.device)
        shares = clipped.kept.repeat_interleave(sizes, 0, output_size=product.matrix.rows)
        add_at(clipped.where, clipped.of(up)[:, None] * shares.t(), product, x, weight, into)
        return into
    into = (
        torch.zeros_like(x) if wanted[0] else None,
        torch.zeros_like(weight) if wanted[1] else None,
    )
    for part, kept in zip(rows, clipped.kept, strict=True):
        product.add_gradients(clipped.scaled(up, kept), x, weight, part, into)
    return into


def read(x: Tensor, weight: Tensor, codes: Codes, reading: Reading) -> Tensor:
    """The outputs of an array, shape (entries, groups, cols, ...).

    Args:
        x: Inputs, entries along the first axis.
        weight: What the array computes with, in the network's units; takes the gradient.
        codes: Of x.
        reading: How they are read.
    """
    return cast(Any, _Read).apply(x, weight, codes, reading)
