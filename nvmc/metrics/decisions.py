"""Decisions: the class that outputs are for, and how many of them are right.

The caller adds the counts of its batches and divides by the number of decisions, so that no result
depends on the size of a batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import DataError

__all__ = ["correct", "decided", "decisions"]


def correct(logits: NDArray[Any], labels: NDArray[np.integer[Any]]) -> int:
    """How many decisions of a network equal their labels.

    The decision is the class of the greatest output along axis 1, the lowest class index among
    equals. A decision with a NaN among its outputs is wrong, whatever the label. Outputs of the
    labels' own shape are no scores but the numbers of the classes decided for.

    Args:
        logits: Outputs of shape (N, C) or (N, C, ...), C >= 2; or class numbers (N,) or (N, ...).
        labels: Classes of shape (N,) or (N, ...); no decision is right where one is negative.

    Returns:
        The count of hits, from 0 to `labels.size`.

    Raises:
        DataError: The outputs are no scores of at least two classes, or the shapes do not fit.
    """
    if logits.shape == labels.shape:
        return int(np.count_nonzero((logits == labels) & (labels >= 0)))
    chosen, valid = decided(logits)
    if labels.shape != chosen.shape:
        raise DataError(
            f"labels have shape {labels.shape} but outputs of shape {logits.shape} need labels of "
            f"shape {chosen.shape}; give one label per decision"
        )
    return int(np.count_nonzero((chosen == labels) & valid))


def decisions(outputs: NDArray[Any]) -> NDArray[np.int64]:
    """The class that each decision of a network is for, taken as in `correct`.

    Args:
        outputs: Outputs of shape (N, C) or (N, C, ...), C >= 2.

    Returns:
        Classes of shape (N,) or (N, ...); -1 where a NaN is among a decision's outputs.

    Raises:
        DataError: The outputs are no scores of at least two classes.
    """
    chosen, valid = decided(outputs)
    return np.where(valid, chosen, -1)


def decided(outputs: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Class of each decision, and whether its outputs are free of NaN.

    Args:
        outputs: Outputs of shape (N, C, ...), C >= 2.

    Returns:
        Both of shape (N, ...).

    Raises:
        DataError: The outputs are no scores of at least two classes.
    """
    if outputs.ndim < 2 or outputs.shape[1] < 2:
        raise DataError(
            f"outputs have shape {outputs.shape}, expected (N, C, ...) with C >= 2 classes; "
            "name the output that holds the class scores"
        )
    if outputs.dtype.kind not in "iuf":
        raise DataError(f"outputs are {outputs.dtype}, expected real numbers; name another output")
    return np.argmax(outputs, axis=1), np.logical_not(np.any(np.isnan(outputs), axis=1))
