"""Which outputs of an array its ADCs clipped, and the gradients of a product at a few of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nvmc.training.circuit.products import Gradients, Product

__all__ = ["Clipped", "add_at"]

_FEW = 64
"""Outputs for each one clipped from which on these are handled one by one.

LeNet-5's second convolution took 9 ns for each row of a clipped output, and a whole one more, which
it is instead for each row of tiles, 0.2 ns for each row of every output.
"""


@dataclass(frozen=True)
class Clipped:
    """The outputs behind which some row of tiles clipped conversions.

    Attributes:
        where: Their entries, groups, columns, and places on all further axes together, in an order
            that nothing else decides; shape (4, outputs).
        kept: Of each, the share of the conversions on each row of tiles, by what they count for,
            whose code was not clipped; shape (tiles, outputs).
    """

    where: Tensor
    kept: Tensor

    @classmethod
    def of_shares(cls, shares: Sequence[Tensor | None]) -> Clipped | None:
        """From the shares of all outputs (entries, groups, cols, ...), None for a tile of ones."""
        found = [share for share in shares if share is not None]
        if not found:
            return None
        ones = torch.ones_like(found[0])
        kept = torch.stack([ones if share is None else share for share in shares])
        kept = kept.reshape(*kept.shape[:4], -1)
        where = (kept != 1).any(0).nonzero().t()
        return cls(where, kept[:, *where]) if where.numel() else None

    @classmethod
    def of_numbers(
        cls,
        numbers: Sequence[NDArray[np.int64]],
        kept: Sequence[NDArray[np.float32]],
        shape: tuple[int, int, int, int],
    ) -> Clipped | None:
        """From what the compiled kernel says of each row of tiles, in any order.

        Args:
            numbers: Of the outputs that were clipped, in an array of `shape`.
            kept: Their shares.
            shape: Entries, groups, vectors, columns.
        """
        every = np.unique(np.concatenate(numbers))
        if not len(every):
            return None
        shares = np.ones((len(numbers), len(every)), np.float32)
        for row, some, share in zip(shares, numbers, kept, strict=True):
            row[np.searchsorted(every, some)] = share
        entries, groups, vectors, cols = np.unravel_index(every, shape)
        where = np.stack([entries, groups, cols, vectors])
        return cls(torch.from_numpy(where), torch.from_numpy(shares))

    def few(self, outputs: int) -> bool:
        """Whether they are few among so many outputs."""
        return self.where.shape[1] * _FEW <= outputs

    def scaled(self, values: Tensor, shares: Tensor | float) -> Tensor:
        """A copy of values (entries, groups, cols, ...), times `shares` at the clipped outputs."""
        flat = values.reshape(*values.shape[:3], -1).clone()
        flat[*self.where] *= shares
        return flat.view_as(values)

    def of(self, values: Tensor) -> Tensor:
        """Values (entries, groups, cols, ...) at the clipped outputs."""
        return values.reshape(*values.shape[:3], -1)[*self.where]


def add_at(
    where: Tensor, up: Tensor, product: Product, x: Tensor, weight: Tensor, into: Gradients
) -> None:
    """Add the gradients of a product at a few outputs to those in `into`.

    Args:
        where: The outputs; see `Clipped`.
        up: Gradient of each, one for each row of the matrix, shape (outputs, rows).
        product: What is computed.
        x: What is multiplied.
        weight: By what.
        into: Gradients of x and of the weight.
    """
    entry, group, col, vector = where
    source, places, _ = product.vectors(x)
    vectors, rows = torch.from_numpy(places.vectors), torch.from_numpy(places.rows)
    first = entry * places.entry + group * places.group + vectors.to(where.device)[vector]
    at = (first[:, None] + rows.to(where.device)).flatten()
    column = group * product.matrix.cols + col
    of_x, of_weight = into
    if of_weight is not None:
        driven = source.flatten().index_select(0, at).view_as(up)
        added = torch.zeros_like(weight, memory_format=torch.contiguous_format)
        columns = product.matrices(added[None])[0].mT
        total = up.new_zeros(columns.shape).flatten(0, 1).index_add_(0, column, up * driven)
        columns.copy_(total.view_as(columns))
        of_weight += added
    if of_x is not None:
        columns = product.matrices(weight[None])[0].mT.flatten(0, 1)
        found = torch.zeros_like(source)
        found.view(-1).index_add_(0, at, (up * columns[column]).flatten())
        of_x += found[_inner(x, found)]


def _inner(x: Tensor, padded: Tensor) -> tuple[slice, ...]:
    """Where x lies in the middle of `padded`."""
    sizes = zip(x.shape, padded.shape, strict=True)
    return tuple(slice((wide - n) // 2, (wide + n) // 2) for n, wide in sizes)
