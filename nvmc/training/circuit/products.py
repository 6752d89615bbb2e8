"""The product that an array computes, tile by tile, with its gradients.

Whatever the operator, currents have the axes (entries, groups, lanes, cols, ...): an entry is what
the simulator's DAC scales on its own, a group one matrix, a lane what one conversion reads of a
weight (`nvmc.runtime.crossbar.array`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nvmc.hardware.tiling import Matrix
from nvmc.runtime.crossbar.convolution import window_places
from nvmc.runtime.crossbar.geometry import Window
from nvmc.runtime.crossbar.native import Places
from nvmc.torchgraph.operators.padding import filled

__all__ = ["ConvProduct", "Gradients", "LinearProduct", "Product", "Wanted"]

Wanted = tuple[bool, bool]
"""Whether the gradient of x, and that of the weight, is asked for."""
Gradients = tuple[Tensor | None, Tensor | None]
"""Of x and of the weight; None where they are not asked for."""

_CONV: dict[int, Callable[..., Tensor]] = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}


class Product(Protocol):
    """What the matrices of one weight are multiplied by."""

    @property
    def matrix(self) -> Matrix:
        """The weight as the crossbar sees it."""
        ...

    @property
    def channels_last(self) -> bool:
        """Whether results lie in memory with groups and columns last."""
        ...

    def currents(self, x: Tensor, lanes: Tensor, rows: slice) -> Tensor:
        """Currents of a row of tiles.

        Args:
            x: What drives the rows: whole entries, shape (entries, ...).
            lanes: Matrices side by side, shape (lanes, *shape of the weight).
            rows: Rows of the tiles.

        Returns:
            Shape (entries, groups, lanes, cols, ...).
        """
        ...

    def gradients(self, up: Tensor, x: Tensor, weight: Tensor, wanted: Wanted) -> Gradients:
        """Gradients of x and of the weight.

        Args:
            up: Gradient of the result, shape (entries, groups, cols, ...).
            x: What was multiplied.
            weight: The weight, in its own shape.
            wanted: Which of the two; None in the place of the other.
        """
        ...

    def add_gradients(
        self, up: Tensor, x: Tensor, weight: Tensor, rows: slice, into: Gradients
    ) -> None:
        """Add the gradients of the product with `rows` of the weight to those in `into`."""
        ...

    def outputs(self, x: Tensor) -> int:
        """How many numbers the product has for an entry of x."""
        ...

    def matrices(self, lanes: Tensor) -> Tensor:
        """Weights (lanes, *shape of the weight) as matrices (lanes, groups, rows, cols)."""
        ...

    def vectors(self, x: Tensor) -> tuple[Tensor, Places, tuple[int, ...]]:
        """Where the vectors lie that x drives the rows with.

        Returns:
            What holds them, where in it, and the axes that the vectors of an entry are counted by.
        """
        ...

    def by_column(self, unit: Tensor) -> Tensor:
        """A number of each column, given in the weight's rank, in the axes of a result."""
        ...


@dataclass(frozen=True)
class ConvProduct:
    """A convolution of x (N, C, ...) with weights (M, C / groups, *kernel).

    Attributes:
        shape: Of the weight.
        strides: Per axis.
        pads: Zeros on both sides of each axis.
        dilations: Per axis.
        groups: Groups of channels.
        channels_last: Whether results lie in memory with their channels last.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    groups: int
    channels_last: bool = False

    @property
    def matrix(self) -> Matrix:
        """See `Product`."""
        return Matrix(self.groups, math.prod(self.shape[1:]), self.shape[0] // self.groups)

    def currents(self, x: Tensor, lanes: Tensor, rows: slice) -> Tensor:
        """See `Product`."""
        part, channels = self._part(lanes, rows)
        x = x if channels is None else x[:, channels]
        axes = (self.groups, len(lanes), self.matrix.cols)
        kernel = part.view(len(lanes), self.groups, -1, *part.shape[2:])
        kernel = kernel.transpose(0, 1).reshape(-1, *part.shape[2:])
        y = _CONV[len(self.strides)](
            x, kernel, None, self.strides, self.pads, self.dilations, self.groups
        )
        return y.view(len(y), *axes, *y.shape[2:])

    def gradients(self, up: Tensor, x: Tensor, weight: Tensor, wanted: Wanted) -> Gradients:
        """See `Product`."""
        aten: Any = torch.ops.aten
        if self.channels_last:
            x, weight = (part.to(memory_format=torch.channels_last) for part in (x, weight))
        of_x, of_weight, _ = aten.convolution_backward(
            up.flatten(1, 2),
            x,
            weight,
            None,
            self.strides,
            self.pads,
            self.dilations,
            False,
            (0,) * len(self.strides),
            self.groups,
            (*wanted, False),
        )
        return of_x, of_weight

    def add_gradients(
        self, up: Tensor, x: Tensor, weight: Tensor, rows: slice, into: Gradients
    ) -> None:
        """See `Product`."""
        part, channels = self._part(weight[None], rows)
        seen = slice(None) if channels is None else channels
        wanted = into[0] is not None, into[1] is not None
        of_x, of_weight = self.gradients(up, x[:, seen], part[0], wanted)
        if into[0] is not None and of_x is not None:
            into[0][:, seen] += of_x
        if into[1] is not None and of_weight is not None:
            self._cut(of_weight[None], rows)
            into[1][:, self._channels(rows)] += of_weight

    def outputs(self, x: Tensor) -> int:
        """See `Product`."""
        return self.shape[0] * math.prod(self._window(x).output)

    def matrices(self, lanes: Tensor) -> Tensor:
        """See `Product`."""
        return lanes.reshape(len(lanes), self.groups, self.matrix.cols, -1).mT

    def vectors(self, x: Tensor) -> tuple[Tensor, Places, tuple[int, ...]]:
        """See `Product`."""
        window = self._window(x)
        padded = filled(x, self.pads, self.pads).contiguous()
        rows = slice(0, window.output[0])
        places = window_places(padded.shape[1], padded.stride(), self.groups, window, rows)
        return padded, places, window.output

    def _window(self, x: Tensor) -> Window:
        kernel = self.shape[2:]
        axes = zip(x.shape[2:], kernel, self.strides, self.pads, self.dilations, strict=True)
        sizes = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)
        return Window(kernel, self.strides, self.dilations, self.pads, self.pads, sizes)

    def by_column(self, unit: Tensor) -> Tensor:
        """See `Product`."""
        if unit.numel() == 1:
            return unit.reshape(())
        return unit.reshape(self.groups, -1, *(1,) * len(self.strides))

    def _part(self, weight: Tensor, rows: slice) -> tuple[Tensor, slice | None]:
        """The weight with zeros in all other rows, of the input channels that they lie in.

        All channels (None) where it is the whole weight, or where groups share their order.
        """
        if rows.stop - rows.start == self.matrix.rows:
            return weight, None
        channels = self._channels(rows)
        part = weight[:, :, channels].clone()
        self._cut(part, rows)
        return part, (channels if self.groups == 1 else None)

    def _channels(self, rows: slice) -> slice:
        if self.groups > 1:
            return slice(0, self.shape[1])
        size = math.prod(self.shape[2:])
        return slice(rows.start // size, -(-rows.stop // size))

    def _cut(self, part: Tensor, rows: slice) -> None:
        """Put zeros where the channels of `rows` have other rows, in place; (lanes, M, ...)."""
        first = self._channels(rows).start * math.prod(self.shape[2:])
        flat = part.flatten(2)
        flat[:, :, : rows.start - first] = 0
        flat[:, :, rows.stop - first :] = 0
        if flat.data_ptr() != part.data_ptr():
            part.copy_(flat.view_as(part))


@dataclass(frozen=True)
class LinearProduct:
    """A product of vectors (N, K) with weights (K, N'), or (N', K) where columns come first.

    Attributes:
        shape: Of the weight.
        columns_first: Whether its first axis counts columns.
    """

    shape: tuple[int, ...]
    columns_first: bool

    @property
    def matrix(self) -> Matrix:
        """See `Product`."""
        cols, rows = self.shape if self.columns_first else self.shape[::-1]
        return Matrix(1, rows, cols)

    def currents(self, x: Tensor, lanes: Tensor, rows: slice) -> Tensor:
        """See `Product`."""
        turned = self._turned(lanes)[:, :, rows].flatten(0, 1)
        y = functional.linear(x[:, rows], turned)
        return y.view(len(x), 1, len(lanes), self.matrix.cols)

    def gradients(self, up: Tensor, x: Tensor, weight: Tensor, wanted: Wanted) -> Gradients:
        """See `Product`."""
        flat = up.flatten(1)
        of_x = flat @ self._turned(weight) if wanted[0] else None
        of_weight = self._turned(flat.t() @ x) if wanted[1] else None
        return of_x, of_weight

    def add_gradients(
        self, up: Tensor, x: Tensor, weight: Tensor, rows: slice, into: Gradients
    ) -> None:
        """See `Product`."""
        flat = up.flatten(1)
        if into[0] is not None:
            into[0][:, rows].addmm_(flat, self._turned(weight)[:, rows])
        if into[1] is not None:
            self._turned(into[1])[:, rows].addmm_(flat.t(), x[:, rows])

    def outputs(self, x: Tensor) -> int:
        """See `Product`."""
        return self.matrix.cols

    @property
    def channels_last(self) -> bool:
        """See `Product`."""
        return False

    def matrices(self, lanes: Tensor) -> Tensor:
        """See `Product`."""
        return (lanes.mT if self.columns_first else lanes)[:, None]

    def vectors(self, x: Tensor) -> tuple[Tensor, Places, tuple[int, ...]]:
        """See `Product`."""
        x = x.contiguous()
        count = x.shape[1]
        return x, Places(count, 0, np.zeros(1, np.int64), np.arange(count, dtype=np.int64)), ()

    def by_column(self, unit: Tensor) -> Tensor:
        """See `Product`."""
        return unit.reshape(()) if unit.numel() == 1 else unit.reshape(1, -1)

    def _turned(self, weight: Tensor) -> Tensor:
        """Columns ahead of rows."""
        return weight if self.columns_first else weight.mT
