"""A workload's images on a torch device, and the classes that decisions are compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from nvmc.executors.torch_weights import tensor_of
from nvmc.metrics import Metric
from nvmc.runtime.montecarlo import Feed

__all__ = ["Images", "right_decisions"]


class Images:
    """The images, and what a metric compares their decisions with.

    Args:
        feed: The images.
        metric: How outputs are scored.
        device: Where they are wanted.
        memory: Bytes that they may take there; more than that are sent batch by batch.

    Attributes:
        device: Where they are wanted.
    """

    def __init__(self, feed: Feed, metric: Metric, device: torch.device, memory: int) -> None:
        self.device = device
        self._feed = feed
        self._held: dict[str, Tensor] | None = None
        if sum(x.nbytes for x in feed.inputs.values()) <= memory:
            self._held = {k: tensor_of(x).to(device) for k, x in feed.inputs.items()}
        classes = metric.classes if metric.top == 1 else None
        self._classes = None if classes is None else tensor_of(classes).to(device)

    def batch(self, first: int, size: int) -> dict[str, Tensor]:
        """`size` images from `first`, the last one repeated where the data end."""
        if self._held is None or first + size > len(self._feed):
            taken = self._feed.batch(first, size)
            return {k: tensor_of(x).to(self.device) for k, x in taken.items()}
        return {k: x[first : first + size] for k, x in self._held.items()}

    def hits(self, outputs: Tensor, first: int) -> Tensor | None:
        """Right decisions of each chip, shape (chips,); None where only the metric can say.

        Args:
            outputs: Of shape (chips, images, …).
            first: The first of the images.
        """
        if self._classes is None or outputs.dim() < 3 or outputs.shape[2] < 2:
            return None
        classes = self._classes[first : first + outputs.shape[1]]
        if classes.shape != (outputs.shape[1], *outputs.shape[3:]) or outputs.dtype == torch.bool:
            return None
        return right_decisions(outputs, classes)


def right_decisions(outputs: Tensor, classes: Tensor) -> Tensor:
    """How many decisions of each chip are for the class given, as `nvmc.metrics.correct` counts.

    Args:
        outputs: Of shape (chips, N, C, …).
        classes: Of shape (N, …).

    Returns:
        Counts of shape (chips,); what torch calls the index of a maximum is its first one.
    """
    right = (outputs.argmax(2) == classes) & ~outputs.isnan().any(2)
    return right.flatten(1).sum(1)
