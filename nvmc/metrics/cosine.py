"""Cosine: how far embeddings point the same way."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nvmc.metrics.metric import Metric, Reference

__all__ = ["AgreementCosine", "Cosine"]

UNIT = 2.0**-30
"""An image's cosine counts in whole units, so that sums over up to 2^23 images are exact."""


class Cosine(Metric):
    """Mean cosine of output vectors with those that they are to meet, in [-1, 1].

    Vectors lie along the last axis; the images' means of their vectors' cosines are averaged. A
    vector of zeros has no direction and counts 0, one with NaN or infinite entries -1.

    Args:
        reference: What outputs are compared with, shape (N, ..., D).
    """

    name: ClassVar[str] = "cosine"
    short: ClassVar[str] = "cosine"
    title: ClassVar[str] = "the mean cosine of outputs with the targets, along the last axis"
    reference: ClassVar[Reference] = "values"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __init__(self, reference: NDArray[Any]) -> None:
        self._directions = _directions(reference)

    def add(self, outputs: NDArray[Any], first: int) -> float:
        """Sum over this batch of each image's mean cosine."""
        wanted = self._directions[first : first + len(outputs)]
        cosines = np.sum(_directions(outputs) * wanted, axis=-1)
        cosines = np.where(np.isnan(cosines), -1.0, np.clip(cosines, -1, 1))
        means = cosines.reshape(len(outputs), -1).mean(axis=1)
        return float(np.sum(np.rint(means / UNIT)) * UNIT)

    def limits(self, first: int, last: int) -> tuple[float, float]:
        """-1 to 1 for each image."""
        return float(first - last), float(last - first)

    def finish(self, total: float, images: int) -> float:
        """Mean over the images."""
        return total / images if images else 0.0


class AgreementCosine(Cosine):
    """Mean cosine with the ideal chip's outputs, where there are no targets."""

    name: ClassVar[str] = "agreement-cosine"
    short: ClassVar[str] = "cosine with the ideal chip"
    title: ClassVar[str] = "the mean cosine of outputs with the ideal chip's, along the last axis"
    reference: ClassVar[Reference] = "ideal values"


def _directions(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Vectors of length 1 along the last axis; NaN where one is no direction."""
    wide = vectors.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        largest = np.max(np.abs(wide), axis=-1, keepdims=True, initial=0.0)
        scaled = wide / np.where(largest == 0, 1.0, largest)
        lengths = np.sqrt(np.sum(np.square(scaled), axis=-1, keepdims=True))
        return scaled / np.where(lengths == 0, 1.0, lengths)
