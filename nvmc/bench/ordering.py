"""The order in which chips run the images: hard ones first, then the others at random.

A chip goes wrong where the ideal chip decides by a narrow margin. With those images behind them,
chips differ less on the rest, so that fewer random images tell which chips are the lowest
(docs/adaptive.md). The order depends on the network and the images alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.chip import Chip
from nvmc.runtime.montecarlo import ChipSession, Feed, Network, outputs_of
from nvmc.statistics.adaptive import hard_first

__all__ = ["HARD", "margins", "order_of"]

HARD = 0.02
"""Share of the images that come first."""

Indices = NDArray[np.int64]


def order_of(
    network: Network, feed: Feed, labels: NDArray[np.integer[Any]] | None
) -> tuple[Indices, int]:
    """The order of the images, and how many come first because they are hard.

    Args:
        network: Behind an ideal periphery.
        feed: The images, in random order.
        labels: Their classes; without, the ideal chip's decisions count.

    Returns:
        Indices of shape (images,), and a number; 0 where the output holds no classes.
    """
    hard, everything = round(HARD * len(feed)), np.arange(len(feed))
    if not hard:
        return everything, 0
    found: list[NDArray[np.float64]] = []
    for first, outputs in _outputs(network, feed):
        if outputs.ndim < 2 or outputs.shape[1] < 2:
            return everything, 0
        found.append(margins(outputs, None if labels is None else labels[first:][: len(outputs)]))
    return hard_first(np.concatenate(found), hard)


def margins(outputs: NDArray[Any], labels: NDArray[np.integer[Any]] | None) -> NDArray[np.float64]:
    """By how much decisions are made, the mean over the decisions of each image, shape (N,).

    Args:
        outputs: Scores of shape (N, C, ...), C >= 2.
        labels: Classes of shape (N, ...), whose score is held against the greatest other, so that
            wrong decisions have negative margins; without, the greatest against the second.
    """
    scores = np.moveaxis(outputs.astype(np.float64), 1, -1)
    if labels is None:
        two = np.partition(scores, -2, axis=-1)[..., -2:]
        each = two[..., 1] - two[..., 0]
    else:
        place = labels[..., None]
        own = np.take_along_axis(scores, place, -1)[..., 0]
        np.put_along_axis(scores, place, -np.inf, -1)
        each = own - scores.max(axis=-1)
    return each.reshape(len(each), -1).mean(axis=1)


def _outputs(network: Network, feed: Feed) -> Iterator[tuple[int, NDArray[Any]]]:
    """The ideal chip's outputs, batch by batch; of one pass of a network that draws numbers."""
    if network.masks:
        yield 0, outputs_of(replace(network, passes=1), feed, Chip.ideal())
    else:
        yield from ChipSession(network, Chip.ideal()).batches(feed)
