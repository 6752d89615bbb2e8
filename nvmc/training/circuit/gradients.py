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

from nvmc.training.circuit.compiled import compiled_result, is_compiled
from nvmc.training.circuit.converters import Codes
from nvmc.training.circuit.products import Product
from nvmc.training.circuit.reading import Reading

__all__ = ["read"]


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, codes: Codes, reading: Reading) -> Tensor:
        one = compiled_result if is_compiled(reading, codes) else Reading.result
        y, shares = one(reading, codes)
        ctx.reading, ctx.shares, ctx.inside = reading, shares, codes.inside
        ctx.save_for_backward(codes.values * codes.step, weight)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        up: Tensor = gradients[0]
        x, weight = ctx.saved_tensors
        product: Product = ctx.reading.product
        wanted = tuple(ctx.needs_input_grad[:2])
        if all(share is None for share in ctx.shares):
            of_x, of_weight = product.gradients(up, x, weight, wanted)
        else:
            of_x, of_weight = into = (
                torch.zeros_like(x) if wanted[0] else None,
                torch.zeros_like(weight) if wanted[1] else None,
            )
            for rows, share in zip(ctx.reading.rows, ctx.shares, strict=True):
                part = up if share is None else up * share
                product.add_gradients(part, x, weight, rows, into)
        if of_x is not None and ctx.inside is not None:
            of_x = of_x * ctx.inside
        return of_x, of_weight, None, None


def read(x: Tensor, weight: Tensor, codes: Codes, reading: Reading) -> Tensor:
    """The outputs of an array, shape (entries, groups, cols, ...).

    Args:
        x: Inputs, entries along the first axis.
        weight: What the array computes with, in the network's units; takes the gradient.
        codes: Of x.
        reading: How they are read.
    """
    return cast(Any, _Read).apply(x, weight, codes, reading)
