"""Matrix products with a constant side as matrix-vector products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import ModelError
from nvmc.hardware.tiling import Place, matrix_of
from nvmc.runtime.crossbar.operand import Operand

__all__ = ["multiply", "multiply_left"]

Real = NDArray[np.floating[Any]]


def multiply(x: Real, weight: Operand) -> Real:
    """`numpy.matmul(x, W)`, the array holding W.

    Args:
        x: At least 1-D.
        weight: W, at least 1-D; one group per matrix in it.

    Raises:
        ModelError: The shapes do not fit.
    """
    place, shape = Place("CrossbarMatMul"), weight.shape
    rows = matrix_of(place, shape).rows
    matrix = x if x.ndim > 1 else x[None]
    if x.shape[-1] != rows:
        raise ModelError(
            f"MatMul of {list(x.shape)} by weights of {list(shape)}; expected {rows} as the "
            "input's last size: feed that shape"
        )
    y = _stacked(matrix, place, weight)
    y = y if len(shape) > 1 else y[..., 0]
    return y if x.ndim > 1 else np.squeeze(y, -2 if len(shape) > 1 else -1)


def multiply_left(x: Real, weight: Operand) -> Real:
    """`numpy.matmul(W, x)`, the array holding W transposed: the columns of x are the vectors.

    Args:
        x: At least 1-D.
        weight: W, at least 1-D; one group per matrix in it.

    Raises:
        ModelError: The shapes do not fit.
    """
    place, shape = Place("CrossbarLeftMatMul"), weight.shape
    rows = matrix_of(place, shape).rows
    matrix = x if x.ndim > 1 else x[:, None]
    if matrix.shape[-2] != rows:
        raise ModelError(
            f"MatMul of weights of {list(shape)} by {list(x.shape)}; expected {rows} as the "
            f"input's {'last' if x.ndim == 1 else 'last but one'} size: feed that shape"
        )
    y = _stacked(matrix.swapaxes(-1, -2), place, weight).swapaxes(-1, -2)
    y = y if len(shape) > 1 else y[..., 0, :]
    return y if x.ndim > 1 else y[..., 0]


def _stacked(x: Real, place: Place, weight: Operand) -> Real:
    """Vectors (..., vectors, rows) by a stack of matrices, broadcast.

    Axes on which the weights vary are groups; each of the rest is one more axis of vectors, every
    vector being a batch entry of its own.
    """
    stack = weight.shape[:-2]
    try:
        outer = np.broadcast_shapes(x.shape[:-2], stack)
    except ValueError:
        raise ModelError(
            f"inputs stacked {list(x.shape[:-2])} and weights stacked {list(stack)} do not "
            "broadcast; expected equal sizes or 1: feed that shape"
        ) from None
    padded = (1,) * (len(outer) - len(stack)) + stack
    grouped = [axis for axis, size in enumerate(padded) if size != 1]
    free = [axis for axis in range(len(outer) + 1) if axis not in grouped]
    spread = np.broadcast_to(x, (*outer, *x.shape[-2:]))
    order = (*free, *grouped, len(outer) + 1)
    ordered = spread.transpose(order)
    batch = math.prod(ordered.shape[: len(free)])
    vectors = ordered.reshape(batch, math.prod(stack), 1, x.shape[-1])
    y = weight.mvm(place, entries=batch, dtype=x.dtype)(vectors)
    return y.reshape(*ordered.shape[:-1], y.shape[-1]).transpose(np.argsort(order))
