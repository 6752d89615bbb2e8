"""The order in which chips run the images: hard ones first, then the others at random.

A chip goes wrong where the ideal chip decides by a narrow margin. With those images behind them,
chips differ less on the rest, so that fewer random images tell which chips are the lowest
(docs/adaptive.md). The order depends on the network and the images alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.data import Dataset, check_labels
from nvmc.data.items import counted_items, item_of
from nvmc.errors import DataError, ModelError
from nvmc.hardware.chip import Chip
from nvmc.metrics import Metric, against_ideal, choose_metric, mean_a_row
from nvmc.runtime.montecarlo import ChipSession, Feed, Network, outputs_of
from nvmc.runtime.networks import check_chips
from nvmc.runtime.tally import Tally
from nvmc.statistics.adaptive import hard_first

__all__ = ["HARD", "IdealRun", "margins", "run_ideal"]

HARD = 0.02
"""Share of the images that come first."""
ALONE = 3
"""Images that are run alone as well as with others."""
FAR = 0.02
"""Difference of the two, as a share of the output: float32 sums round a thousand times finer."""


@dataclass(frozen=True)
class IdealRun:
    """What the ideal chip tells of the images.

    Attributes:
        feed: The images in the order in which chips run them.
        order: Where each of them stood, shape (images,).
        hard: How many come first because they are hard; 0 where the output holds no classes.
        metric: What chips are judged by on `feed`.
        ideal: The ideal chip's value, where running it in the other order already says it.
        shape: Of the output for one image.
    """

    feed: Feed
    order: NDArray[np.int64]
    hard: int
    metric: Metric
    ideal: float | None
    shape: tuple[int, ...]


def run_ideal(
    network: Network,
    feed: Feed,
    dataset: Dataset | None,
    metric: str | type[Metric] | None = None,
    classes: int | None = None,
) -> IdealRun:
    """Run the ideal chip, which tells the order of the images and what chips are judged by.

    Args:
        network: Behind an ideal periphery.
        feed: The images, in random order.
        dataset: What they are, and the classes or the targets that chips are judged by. Without,
            chips are judged by what the ideal chip decides.
        metric: The metric or its name; by default the one that suits what is known of the images.
        classes: How many the model says there are, along axis 1; None where it does not say.

    Raises:
        ModelError: There are others.
        OptionError: The metric needs something else than there is.
        DataError: The output does not hold the classes, or does not have the shape of the targets.
        OutOfMemoryError: A chip has no room.
    """
    check_chips(network, 1)
    if dataset is not None and dataset.targets is not None:
        return _by_targets(network, feed, dataset, metric)
    labels = None if dataset is None else dataset.y
    by_labels = None if labels is None else choose_metric("classes", metric)(labels)
    scores = network.holds not in ("classes", "values")
    found: list[NDArray[np.float64]] = []
    kept: list[NDArray[Any]] = []
    tally = None if by_labels is None else Tally(by_labels, 0, 1)
    shape = ()
    for first, outputs in _outputs(network, feed):
        if first == 0 and scores:
            _check_classes(network, outputs, classes)
        own = None if labels is None else labels[first : first + len(outputs)]
        if dataset is None or tally is None:
            kept.append(outputs)
        else:
            if first == 0 and scores:
                check_labels(dataset, outputs.shape[1])
            tally.take([outputs])
        if scores:
            found.append(margins(outputs, own))
        shape = outputs.shape[1:]
    hard = round(HARD * len(feed)) if found else 0
    order, hard = hard_first(np.concatenate(found), hard) if hard else (np.arange(len(feed)), 0)
    put = Feed({name: images[order] for name, images in feed.inputs.items()})
    if labels is not None and tally is not None:
        chosen = choose_metric("classes", metric)(labels[order])
        # An image's masks are those of its place, which has changed.
        ideal = None if network.draws else chosen.finish(tally.totals()[0], len(feed))
        return IdealRun(put, order, hard, chosen, ideal, shape)
    if network.draws:
        decided = outputs_of(network, put, Chip.ideal())
    else:
        decided = np.concatenate(kept)[order]
    chosen = against_ideal(decided, metric, holds=network.holds)
    return IdealRun(put, order, hard, chosen, 1.0, shape)


def _check_classes(network: Network, outputs: NDArray[Any], classes: int | None) -> None:
    """Complain of scores that do not lie where the model's own shapes say.

    Which axis has the classes was told by these shapes, and onnxruntime runs networks that put out
    others.

    Raises:
        ModelError: They do not.
    """
    found = outputs.shape[1] if outputs.ndim > 1 else 1
    if found < 2 or classes not in (None, found):
        raise ModelError(
            f"output {network.output!r} puts out {list(outputs.shape[1:])} an image, where its "
            f"shape in the model has {classes or 'several'} classes; export the network with the "
            "shape that its output has"
        )


def _by_targets(
    network: Network, feed: Feed, dataset: Dataset, metric: str | type[Metric] | None
) -> IdealRun:
    """How chips meet values: no image is harder than another."""
    alone = Feed({name: images[:1] for name, images in feed.inputs.items()})
    shape = outputs_of(network, alone, Chip.ideal()).shape[1:]
    kind = choose_metric("values", metric)
    boxes = dataset.targets if kind.detects else None
    chosen = kind(dataset.targets_for(shape) if boxes is None else boxes)
    if chosen.deviation == 0:
        raise DataError(
            f"the target values of {dataset.name} do not differ "
            f"({counted_items(len(feed), dataset.name)}), so "
            f"{chosen.short} says nothing of chips; give "
            f"{item_of(dataset.name)}s with other values"
        )
    return IdealRun(feed, np.arange(len(feed)), 0, chosen, None, shape)


def margins(outputs: NDArray[Any], labels: NDArray[np.integer[Any]] | None) -> NDArray[np.float64]:
    """By how much decisions are made, the mean over the decisions of each image, shape (N,).

    Args:
        outputs: Scores of shape (N, C, ...), C >= 2.
        labels: Classes of shape (N, ...), whose score is compared with the greatest other, so that
            wrong decisions have negative margins; without, the greatest against the second.
            Decisions whose label is `IGNORED` do not count.
    """
    scores = np.moveaxis(outputs.astype(np.float64), 1, -1)
    if labels is None:
        two = np.partition(scores, -2, axis=-1)[..., -2:]
        own, other = two[..., 1], two[..., 0]
    else:
        place = np.maximum(labels, 0)[..., None]
        own = np.take_along_axis(scores, place, -1)[..., 0]
        np.put_along_axis(scores, place, -np.inf, -1)
        other = scores.max(axis=-1)
    with np.errstate(invalid="ignore"):  # both infinite: NaN, no decision
        each = own - other
    return mean_a_row(each, labels)


def _outputs(network: Network, feed: Feed) -> Iterator[tuple[int, NDArray[Any]]]:
    """The ideal chip's outputs, batch by batch; of one pass of a network that draws numbers."""
    if network.draws:
        yield 0, outputs_of(replace(network, passes=1), feed, Chip.ideal())
        return
    session = ChipSession(network, Chip.ideal())
    for first, outputs in session.batches(feed):
        if first == 0 and not outputs.size:
            raise ModelError(
                f"output {network.output!r} has shape {list(outputs.shape[1:])} an image, which "
                "holds nothing; choose another with --output, or export the network anew"
            )
        if first == 0:
            _check_alone(network, session, feed, outputs)
        yield first, outputs


def _check_alone(
    network: Network, session: ChipSession, feed: Feed, together: NDArray[Any]
) -> None:
    """Complain where what comes out for an image depends on the images that are run with it.

    A run of another size may round in another way, and a binary activation may then fall on the
    other side of zero: so all of the images have to differ.
    """
    if len(together) < 2 or together.dtype.kind != "f":
        return
    for place in range(min(ALONE, len(together))):
        image = Feed({name: images[place : place + 1] for name, images in feed.inputs.items()})
        ((_, outputs),) = session.batches(image)
        alone, wanted = outputs[0].astype(np.float64), together[place].astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):  # infinities are no difference
            differ = np.linalg.norm(alone - wanted) > FAR * np.linalg.norm(wanted)
        if not differ:
            return
    raise ModelError(
        f"what output {network.output!r} gives for an image depends on the images that are run "
        "with it (a mean over the images' axis, or a BatchNormalization in training mode); compile "
        "with --shape INPUT=1x… to run image by image, or export it anew"
    )
