"""How good predicted probabilities are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.metrics.decisions import decided

__all__ = ["calibration_error", "log_loss"]

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
        Nats, of shape (N, ...), at most 708.4 (`SMALLEST`).
    """
    if labels is None:
        chosen = np.nan_to_num(probabilities, nan=0.0).max(axis=1)
    else:
        chosen = np.take_along_axis(probabilities, np.expand_dims(labels, 1), axis=1)[:, 0]
    return -np.log(np.fmax(chosen, SMALLEST).astype(np.float64))


def calibration_error(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], bins: int = 15
) -> float:
    """Expected calibration error: the mean distance of confidence and accuracy, bin by bin.

    Confidence is the probability of the most likely class; bins are equally wide, closed above
    (Guo et al., ICML 2017, Eq. 3). Decisions with NaN are wrong with confidence 0.

    Args:
        probabilities: Of shape (N, C, ...).
        labels: Classes of shape (N, ...).
        bins: How many.
    """
    chosen, valid = decided(probabilities)
    confidence = np.where(valid, np.max(probabilities, axis=1), 0.0).ravel()
    hit = ((chosen == labels) & valid).ravel()
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(place, hit - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / max(1, hit.size))
