"""The area under the receiver operating characteristic (ROC AUC)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nvmc.data import IGNORED
from nvmc.errors import DataError
from nvmc.metrics.metric import Metric, Reference

__all__ = ["AUC", "area"]


class AUC(Metric):
    """Chance that a decision of a class gets a higher score for it than one of the other classes.

    Half of a tie counts (Hanley and McNeil, Radiology 143, 1982; scikit-learn's `roc_auc_score`).
    Of two classes it is that of class 1, by how much likelier it is than class 0. Of more it is
    the mean over the classes in the labels, each by its probability against all others (macro,
    one-vs-rest). A decision with NaN among its scores is ranked as wrong as can be. It ranks all
    images at once, so it is no sum over them.

    Args:
        labels: Classes of shape (N,) or (N, ...); `IGNORED` where a decision does not count.

    Raises:
        DataError: All labels are of one class.
    """

    name: ClassVar[str] = "auc"
    short: ClassVar[str] = "AUC"
    title: ClassVar[str] = "the area under the ROC curve, of more than two classes the mean"
    reference: ClassVar[Reference] = "classes"
    log_probabilities: ClassVar[bool] = True
    whole: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __init__(self, labels: NDArray[np.integer[Any]]) -> None:
        self._labels = labels
        self._found = np.unique(labels[labels != IGNORED])
        if len(self._found) < 2:
            raise DataError(
                "all labels are of one class, so an AUC says nothing; give images of two or more"
            )

    def add(self, outputs: NDArray[Any], first: int) -> float:
        """The area, of the outputs (N, C, ...) of all images, logarithms of probabilities."""
        labels = self._labels[first : first + len(outputs)]
        if outputs.shape[:1] + outputs.shape[2:] != labels.shape:
            raise DataError(
                f"outputs have shape {outputs.shape}, but labels {labels.shape}; expected class "
                "scores for every label"
            )
        counted = labels != IGNORED
        scores = np.moveaxis(outputs, 1, -1)[counted].astype(np.float64)
        labels = labels[counted]
        if scores.shape[-1] == 2:
            with np.errstate(invalid="ignore"):
                return area(scores[:, 1] - scores[:, 0], labels == 1)
        broken = np.isnan(scores).any(axis=-1, keepdims=True)
        scores = np.where(broken, np.nan, scores)
        return float(np.mean([area(scores[:, one], labels == one) for one in self._found]))

    def finish(self, total: Any, images: int) -> float:
        """The area itself."""
        return float(total)


def area(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """The share of pairs of a positive and a negative of which the positive has the higher score.

    Args:
        scores: Of shape (N,); NaN is the lowest of the positives' and the highest of the others'.
        positive: Of shape (N,), some of them and not all.
    """
    lost = np.isnan(scores)
    scores = np.where(lost, np.where(positive, -np.inf, np.inf), scores)
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # from 1; the mean of equal ones
    ones = int(np.count_nonzero(positive))
    above = float(np.sum(ranks[place.ravel()][positive])) - ones * (ones + 1) / 2
    return above / (ones * (len(scores) - ones))
