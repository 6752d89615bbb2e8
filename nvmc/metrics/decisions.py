"""Decisions: the class that outputs are for, and how many of them are right.

The caller adds the counts of its batches and divides by the number of decisions, so that no result
depends on the size of a batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import DataError

__all__ = ["correct", "decided", "decided_as", "decisions", "top_correct"]


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
    _check_shape(logits, labels, chosen.shape)
    return int(np.count_nonzero((chosen == labels) & valid))


def _check_shape(
    outputs: NDArray[Any], labels: NDArray[np.integer[Any]], wanted: tuple[int, ...]
) -> None:
    if labels.shape != wanted:
        raise DataError(
            f"labels have shape {labels.shape} but outputs of shape {outputs.shape} need labels of "
            f"shape {wanted}; give one label per decision"
        )


def decided_as(outputs: NDArray[Any], labels: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The class that each decision is for, in the labels' shape, taken as in `correct`.

    Args:
        outputs: Scores of shape (N, C, ...), C >= 2; or class numbers of the labels' shape.
        labels: Of shape (N, ...).

    Returns:
        Classes of the labels' shape; negative where NaN is among a decision's outputs, or a class
        number is none.

    Raises:
        DataError: The outputs are neither, or the shapes do not fit.
    """
    if outputs.shape != labels.shape:
        chosen, valid = decided(outputs)
        _check_shape(outputs, labels, chosen.shape)
        return np.where(valid, chosen, -1)
    if outputs.dtype.kind != "f":
        return outputs.astype(np.int64)
    whole = np.isfinite(outputs) & (outputs == np.rint(outputs))
    return np.where(whole, outputs, -1).astype(np.int64)


def top_correct(logits: NDArray[Any], labels: NDArray[np.integer[Any]], top: int) -> int:
    """How many labels are among the `top` classes of the greatest outputs.

    Of equal outputs that of the lowest class index counts as greater, as in `correct`, which is
    this for `top` 1.

    Args:
        logits: Scores of shape (N, C, ...).
        labels: Classes of shape (N, ...); none is right where negative.
        top: From 1 to C - 1.

    Raises:
        DataError: The outputs are no scores of more than `top` classes, or the shapes do not fit.
    """
    if logits.shape == labels.shape:
        raise DataError(
            f"the {top} likeliest classes are asked for, but the output holds class numbers; "
            "choose one of class scores with --output"
        )
    chosen, valid = decided(logits)
    _check_shape(logits, labels, chosen.shape)
    if logits.shape[1] == 2:
        raise DataError(
            f"accuracy:k={top} needs decisions between more than {top} classes; each is between "
            "2 here, as for labels that are 0 or 1; give accuracy, f1 or auc"
        )
    if top >= logits.shape[1]:
        raise DataError(
            f"the {top} likeliest of {logits.shape[1]} classes are asked for, so all decisions "
            "would be right; choose fewer"
        )
    place = np.expand_dims(np.maximum(labels, 0), 1)
    inside = place < logits.shape[1]
    own = np.take_along_axis(logits, np.where(inside, place, 0), axis=1)
    index: NDArray[np.int64] = np.arange(int(logits.shape[1]), dtype=np.int64)
    earlier = np.expand_dims(index, (0, *range(2, logits.ndim))) < place
    before = np.sum((logits > own) | ((logits == own) & earlier), axis=1)
    return int(np.count_nonzero((before < top) & valid & (labels >= 0) & inside[:, 0]))


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
