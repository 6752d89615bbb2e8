"""The currents of a column: chains of fused multiply-adds over the rows, in order.

    I = fma(x[R-1], g[R-1], ... fma(x[1], g[1], fma(x[0], g[0], 0)))

In float32 this is the law of every current, so a circuit gives the same bits on every machine and
for every way to batch its inputs; BLAS promises neither. The compiled kernels (`csrc/`) have
instructions for it. Here NumPy does the same, slowly: it is what they are tested against.
In float64 currents are products of BLAS.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.runtime.crossbar.dac import Drive
from nvmc.runtime.crossbar.mvm import ExactMvm
from nvmc.runtime.crossbar.native import NUMPY, Places, Reader, Tile

__all__ = ["Currents", "chained", "fused"]

Single = NDArray[np.float32]
Double = NDArray[np.float64]


def fused(a: Single, b: Single, c: Single) -> Single:
    """A product and a sum, a b + c, rounded once.

    The product is exact in float64, and the sum is rounded to odd there, so that rounding it to
    float32 is rounding once (Boldo and Melquiond, IEEE Trans. Comput. 57(4), 2008).
    """
    product: Double = a.astype(np.float64) * b
    addend: Double = np.broadcast_to(c.astype(np.float64), product.shape)
    total: Double = product + addend
    virtual: Double = total - product
    error: Double = (product - (total - virtual)) + (addend - virtual)
    bits: NDArray[np.int64] = total.view(np.int64)
    inexact = (error != 0) & (bits & 1 == 0)
    bits += np.where(inexact, np.where((error > 0) == (total > 0), 1, -1), 0)
    return total.astype(np.float32)


def chained(x: NDArray[Any], matrices: NDArray[Any]) -> Single:
    """Vectors by matrices, float32.

    Args:
        x: Shape (batch, groups, vectors, rows).
        matrices: Shape (groups, rows, cols).

    Returns:
        Shape (batch, groups, vectors, cols).
    """
    total: Single = np.zeros((*x.shape[:3], matrices.shape[2]), np.float32)
    for row in range(matrices.shape[1]):
        total = fused(x[..., row, None], matrices[:, None, row], total)
    return total


class Currents:
    """The product with the matrices of one row of tiles.

    Args:
        matrices: Shape (groups, rows, cols), float32 or float64, of the inputs too.
        kernel: Which of `KERNELS` computes in float32.
    """

    def __init__(self, matrices: NDArray[Any], kernel: str) -> None:
        self._matrices = matrices
        self._exact = ExactMvm(matrices, matrices.dtype)
        self._reader: Reader | None = None
        if kernel != NUMPY and matrices.dtype == np.float32:
            ones = np.ones((len(matrices), matrices.shape[2]))
            tile = Tile(0, matrices, None, 0 * ones, None, 1.0)
            self._reader = Reader(kernel, ones, np.ones(1), 0.0, None, [tile])

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """Vectors of shape (batch, groups, vectors, rows) by the matrices."""
        if x.dtype != np.float32:
            return self._exact(x)
        if self._reader is None:
            return chained(x, self._matrices)
        out = np.empty((*x.shape[:3], self._matrices.shape[2]), np.float32)
        self._reader.read(x, Places.of(x), Drive.exact(len(x)), out)
        return out
