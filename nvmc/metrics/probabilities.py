"""How good predicted probabilities are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.data import IGNORED
from nvmc.metrics.decisions import decided

__all__ = ["calibration_error", "log_loss", "mean_a_row"]

SMALLEST = float(np.finfo(np.float64).tiny)
"""A probability below this counts as this: its negative logarithm is 708.4, not infinite."""


def log_loss(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]] | None = None
) -> NDArray[np.float64]:
    """Negative log-likelihood of each decision, -ln p.

    Args:
        probabilities: Of shape (N, C, ...). NaN counts as 0.
        labels: Classes of shape (N, ...), whose probability is taken; without, that of the most
            likely class, which needs no labels.

    Returns:
        Nats, of shape (N, ...), at most 708.4 (`SMALLEST`); NaN where a label is `IGNORED`.
    """
    if labels is None:
        chosen = np.nan_to_num(probabilities, nan=0.0).max(axis=1)
    else:
        place = np.expand_dims(np.maximum(labels, 0), 1)
        chosen = np.take_along_axis(probabilities, place, axis=1)[:, 0]
    found = -np.log(np.fmax(chosen, SMALLEST).astype(np.float64))
    return found if labels is None else np.where(labels == IGNORED, np.nan, found)


def mean_a_row(values: NDArray[np.float64], labels: NDArray[Any] | None) -> NDArray[np.float64]:
    """Mean over the decisions of each image that count, shape (N,); 0 where none does.

    Args:
        values: One a decision, shape (N, ...).
        labels: Of the same shape, `IGNORED` where a decision does not count; None where all do.
    """
    flat = values.reshape(len(values), -1)
    if labels is None or not np.any(labels == IGNORED):
        return flat.mean(axis=1)
    counted = (labels != IGNORED).reshape(flat.shape)
    return np.where(counted, flat, 0.0).sum(axis=1) / np.maximum(1, counted.sum(axis=1))


def calibration_error(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], bins: int = 15
) -> float:
    """Expected calibration error: the mean distance of confidence and accuracy, bin by bin.

    Confidence is the probability of the most likely class; bins are equally wide, closed above
    (Guo et al., ICML 2017, Eq. 3). Decisions with NaN are wrong with confidence 0.

    Args:
        probabilities: Of shape (N, C, ...).
        labels: Classes of shape (N, ...); a decision whose label is `IGNORED` does not count.
        bins: How many.
    """
    chosen, valid = decided(probabilities)
    counted = labels != IGNORED
    confidence = np.where(valid, np.max(probabilities, axis=1), 0.0)[counted]
    hit = ((chosen == labels) & valid)[counted]
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(place, hit - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / max(1, hit.size))
