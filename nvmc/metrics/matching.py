"""Detected boxes compared with boxes to be found: which are right, and precision over recall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST", "Matches", "box_overlaps", "coco_matches", "mask_overlaps", "voc_matches"]

MOST = 100
"""COCO takes the best 100 boxes of an image and class."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Matches:
    """Detected boxes of one class.

    Attributes:
        scores: Shape (D,).
        right: Whether each box is right at each overlap, shape (T, D).
        ignored: Whether it counts neither way, shape (T, D).
        wanted: Boxes to be found.
    """

    scores: Floats
    right: Flags
    ignored: Flags
    wanted: int

    @classmethod
    def joined(cls, each: Sequence[Matches]) -> Matches:
        """Those of several images, in their order."""
        return cls(
            np.concatenate([one.scores for one in each]),
            np.concatenate([one.right for one in each], axis=1),
            np.concatenate([one.ignored for one in each], axis=1),
            sum(one.wanted for one in each),
        )

    def precision(self, recalls: Floats) -> float:
        """Mean over overlaps and over `recalls` of the best precision at that recall or above."""
        found: list[float] = []
        for recall, precision in self._curves():
            place = np.searchsorted(recall, recalls, side="left")
            reached = place < len(precision)
            found.append(float(np.sum(precision[place[reached]])) / len(recalls))
        return float(np.mean(found))

    def area(self) -> float:
        """Mean over overlaps of the area under the best precision over recall."""
        found: list[float] = []
        for recall, precision in self._curves():
            found.append(float(np.sum(np.diff(recall, prepend=0.0) * precision)))
        return float(np.mean(found))

    def _curves(self) -> list[tuple[Floats, Floats]]:
        """Recall, and the best precision at that recall or above, box by box, for each overlap."""
        order = np.argsort(-self.scores, kind="stable")
        curves: list[tuple[Floats, Floats]] = []
        for right, ignored in zip(self.right[:, order], self.ignored[:, order], strict=True):
            hits = np.cumsum(right & ~ignored).astype(np.float64)
            misses = np.cumsum(~right & ~ignored)
            precision = hits / (hits + misses + np.spacing(1))  # as pycocotools has it
            best = np.maximum.accumulate(precision[::-1])[::-1]
            curves.append((hits / self.wanted, best))
        return curves


def coco_matches(overlaps: Floats, crowd: Flags, scores: Floats, thresholds: Floats) -> Matches:
    """What was detected of one image and class, matched as COCO does (pycocotools' `evaluateImg`).

    From the highest score down, each takes the object of most overlap that none has taken; crowds
    are taken last, by any number, and make what takes them be ignored.

    Args:
        overlaps: Of what was detected with what there is, shape (D, G).
        crowd: What of that are crowds, shape (G,).
        scores: Of what was detected, shape (D,).
        thresholds: Overlaps that count, shape (T,).
    """
    scores = np.where(np.isnan(scores), -np.inf, scores)
    order = np.argsort(-scores, kind="stable")[:MOST]
    last = np.argsort(crowd, kind="stable")
    crowd, scores, overlaps = crowd[last], scores[order], overlaps[order][:, last]
    right = np.zeros((len(thresholds), len(scores)), np.bool_)
    ignored = np.zeros_like(right)
    for row, threshold in enumerate(thresholds):
        taken = np.zeros(len(crowd), np.bool_)
        for place in range(len(scores)):
            chosen = _best(overlaps[place], taken, crowd, min(threshold, 1 - 1e-10))
            if chosen is not None:
                taken[chosen] = right[row, place] = True
                ignored[row, place] = crowd[chosen]
    return Matches(scores, right, ignored, int(np.count_nonzero(~crowd)))


def _best(overlap: Floats, taken: Flags, crowd: Flags, least: float) -> int | None:
    """The box that a detected one takes, the last of equal overlaps; one of a crowd if no other."""
    for free in (~crowd & ~taken, crowd):
        places = np.flatnonzero(free & (overlap >= least))
        if places.size:
            best = overlap[places]
            return int(places[len(best) - 1 - int(np.argmax(best[::-1]))])
    return None


def voc_matches(known: Floats, difficult: Flags, boxes: Floats, scores: Floats) -> Matches:
    """Boxes of one image and class, matched as PASCAL VOC does at an overlap of 0.5.

    From the highest score down, each is for the box of most overlap: right if that is the first
    one for it, ignored if it is difficult, wrong where another was for it before. Corners are
    pixels that belong to the box.
    """
    scores = np.where(np.isnan(scores), -np.inf, scores)
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    overlaps = box_overlaps(boxes, known, np.zeros(len(known), np.bool_), 1.0)
    right = np.zeros((1, len(boxes)), np.bool_)
    ignored, taken = np.zeros_like(right), np.zeros(len(known), np.bool_)
    for place in range(len(boxes) if len(known) else 0):
        chosen = int(np.argmax(overlaps[place]))
        if overlaps[place, chosen] < 0.5:
            continue
        ignored[0, place] = difficult[chosen]
        right[0, place] = not taken[chosen]
        taken[chosen] = True
    return Matches(scores, right, ignored, int(np.count_nonzero(~difficult)))


def mask_overlaps(masks: Flags, known: Flags, crowd: Flags) -> Floats:
    """Intersection over union of masks (D, pixels) and (G, pixels), shape (D, G).

    With a crowd over the detected mask's own pixels; 0 of two masks without pixels.
    """
    own, other = masks.sum(1, dtype=np.float64)[:, None], known.sum(1, dtype=np.float64)[None]
    both = (masks.astype(np.float32) @ known.astype(np.float32).T).astype(np.float64)
    union: Floats = np.asarray(np.where(crowd[None], own, own + other - both), np.float64)
    return both / np.where(union > 0, union, 1.0)


def box_overlaps(boxes: Floats, known: Floats, crowd: Flags, pixel: float = 0.0) -> Floats:
    """Intersection over union, shape (D, G); with a crowd over the detected box's own area."""
    with np.errstate(all="ignore"):
        low = np.maximum(boxes[:, None, :2], known[None, :, :2])
        high = np.minimum(boxes[:, None, 2:], known[None, :, 2:])
        both = _product(np.clip(high - low + pixel, 0, None))
        own = _product(boxes[:, 2:] - boxes[:, :2] + pixel)[:, None]
        other = _product(known[:, 2:] - known[:, :2] + pixel)[None]
        found = both / np.where(crowd[None], own, own + other - both)
    return np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)


def _product(sizes: Any) -> Floats:
    return np.asarray(sizes[..., 0] * sizes[..., 1], np.float64)
