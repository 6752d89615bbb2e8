"""Agreement: the share of decisions that equal the ideal chip's, where there are no labels."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nvmc.metrics.decisions import agreement, decisions
from nvmc.metrics.metric import Metric, Reference

__all__ = ["Agreement"]


class Agreement(Metric):
    """Share of decisions that equal the ideal chip's on the same inputs, in [0, 1].

    Args:
        reference: Outputs of the ideal chip, shape (N, C, ...) with C >= 2.
    """

    name: ClassVar[str] = "agreement"
    short: ClassVar[str] = "agreement with the ideal chip"
    title: ClassVar[str] = "the share of decisions that equal the ideal chip's"
    reference: ClassVar[Reference] = "ideal classes"
    counts: ClassVar[bool] = True

    def __init__(self, reference: NDArray[Any]) -> None:
        self._reference = reference

    @property
    def classes(self) -> NDArray[np.integer[Any]]:
        """The class that each decision is held against; -1 where none agrees."""
        return self._classes

    @cached_property
    def _classes(self) -> NDArray[np.int64]:
        return decisions(self._reference)

    def add(self, outputs: NDArray[Any], first: int) -> float:
        """Equal decisions in this batch."""
        return agreement(outputs, self._reference[first : first + len(outputs)])

    def finish(self, total: float, images: int) -> float:
        """Equal decisions over decisions."""
        return total * self._reference.shape[1] / self._reference.size
