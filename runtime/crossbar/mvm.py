"""The matrix-vector products of one array.

Everything an operator multiplies by weights on crossbars goes through an `Mvm`; all the rest is
digital. `ExactMvm` is the ideal periphery: a floating-point product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nvmc.runtime.crossbar.dac import Drive
from nvmc.runtime.crossbar.native import Places

__all__ = ["ALL", "BLOCK_VECTORS", "FIRST", "ExactMvm", "Mvm", "Reads"]

Real = NDArray[np.floating[Any]]

ALL = slice(None)
BLOCK_VECTORS = 16
"""Input vectors per matrix product when an image brings fewer than that."""


@dataclass(frozen=True)
class Reads:
    """Which reads of the array some input vectors are: noise that is fresh at every read asks.

    Attributes:
        first: Number of the batch entry of x[0] within the call of the kernel.
        part: Number of this product among those of the same entry.
        batch: Entries of the kernel's batch where x runs through it several times, as do the
            steps of a sequence: x[i] is part `part + i // batch` of entry `first + i % batch`.
    """

    first: int = 0
    part: int = 0
    batch: int | None = None

    def numbers(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The entry and the part of each of `count` reads."""
        index = np.arange(count, dtype=np.int64)
        period = max(1, count if self.batch is None else self.batch)
        return self.first + index % period, self.part + index // period


FIRST = Reads()


class Mvm(Protocol):
    """One array of `groups` matrices of `rows` inputs by `cols` outputs, for one kernel call."""

    @property
    def width(self) -> int:
        """Numbers that a product holds for each vector of a group, beside its result."""
        ...

    def columns(self, cols: slice) -> int:
        """How many columns of a group these are."""
        ...

    @property
    def gathers(self) -> bool:
        """Whether `gather` can take input vectors from where they lie."""
        ...

    def gather(
        self,
        source: Real,
        places: Places,
        y: Real,
        reads: Reads,
        drive: Drive,
        *,
        bias: Real | None = None,
        cols: slice = ALL,
    ) -> None:
        """Read vectors that lie within a larger array of codes; only where `gathers`.

        Args:
            source: Holds them.
            places: Where.
            y: Where the results go, a view of shape (entries, groups, vectors, cols).
            reads: Which reads these are.
            drive: How to read the codes.
            bias: Added to the results, shape (groups, cols).
            cols: Which columns are read out.
        """
        ...

    def drive(self, x: Real, out: Real | None = None) -> tuple[Real, Drive]:
        """What the DACs make of whole batch entries, before they are cut into vectors.

        Args:
            x: Entries along the first axis, any shape.
            out: Where the codes go; None for an array of their own.

        Returns:
            Codes of x's shape, zero where x is, and how to read them.
        """
        ...

    def __call__(
        self, x: Real, cols: slice = ALL, reads: Reads = FIRST, drive: Drive | None = None
    ) -> Real:
        """Apply every input vector to its group's matrix.

        Args:
            x: Input vectors, shape (batch, groups, vectors, rows), in any memory order.
            cols: Which columns are read out.
            reads: Which reads these are.
            drive: Where x holds codes, how to read them; None where x holds inputs.

        Returns:
            Shape (batch, groups, vectors, cols), in the dtype of x. What is computed for
            x[i] does not depend on the rest of the batch or on its size.
        """
        ...


class ExactMvm:
    """Floating-point products by BLAS.

    BLAS chooses its kernel, and so its order of summation, by the shape of the product: rows of
    `x @ W` change in their last bits with the number of rows. So that an image does not depend on
    its batch, every product has a shape fixed by the image alone: an image that brings at least
    `BLOCK_VECTORS` vectors is one product; fewer are gathered, over the batch, into products of
    exactly `BLOCK_VECTORS` vectors, the last filled up with zeros. There the vectors are the
    columns of the right factor, which kernels keep in the lanes of one register: OpenBLAS's
    treat 16 alike, but not 32 nor the rows of a left factor (its Haswell and Zen kernels).

    Args:
        matrices: The weights, shape (groups, rows, cols).
        dtype: float32 or float64, of the inputs, the sums and the outputs.
    """

    def __init__(self, matrices: Real, dtype: DTypeLike = np.float32) -> None:
        self._matrices: Real = matrices.astype(dtype, copy=False)

    @property
    def width(self) -> int:
        """Nothing."""
        return 0

    def columns(self, cols: slice) -> int:
        """How many columns of a group these are."""
        return self._matrices[..., cols].shape[-1]

    @property
    def gathers(self) -> bool:
        """Never: BLAS needs them unfolded."""
        return False

    def gather(
        self,
        source: Real,
        places: Places,
        y: Real,
        reads: Reads,
        drive: Drive,
        *,
        bias: Real | None = None,
        cols: slice = ALL,
    ) -> None:
        """Not for BLAS."""
        raise NotImplementedError

    def drive(self, x: Real, out: Real | None = None) -> tuple[Real, Drive]:
        """The inputs as they are."""
        if out is not None:
            out[...] = x
        return x if out is None else out, Drive.exact(len(x))

    def __call__(
        self, x: Real, cols: slice = ALL, reads: Reads = FIRST, drive: Drive | None = None
    ) -> Real:
        """The vectors times W, for every group; see `Mvm`."""
        del reads, drive
        weights = self._matrices[..., cols]
        if x.shape[2] >= BLOCK_VECTORS:
            return _by_image(x, weights)
        return _by_block(x, weights)


def _by_image(x: Real, weights: Real) -> Real:
    if x.strides[3] > x.strides[2]:  # vectors are columns in memory: keep them so
        return (weights.swapaxes(1, 2) @ x.swapaxes(2, 3)).swapaxes(2, 3)
    return x @ weights


def _by_block(x: Real, weights: Real) -> Real:
    batch, groups, vectors, rows = x.shape
    used = batch * vectors
    blocks = -(-used // BLOCK_VECTORS)
    filled = np.zeros((groups, blocks * BLOCK_VECTORS, rows), x.dtype)
    filled[:, :used].reshape(groups, batch, vectors, rows)[...] = x.swapaxes(0, 1)
    vectors_last = filled.reshape(groups, blocks, BLOCK_VECTORS, rows).swapaxes(2, 3)
    y = (weights[:, None].swapaxes(2, 3) @ vectors_last).swapaxes(2, 3)
    cols = weights.shape[2]
    y = y.reshape(groups, blocks * BLOCK_VECTORS, cols)[:, :used]
    return y.reshape(groups, batch, vectors, cols).swapaxes(0, 1)
