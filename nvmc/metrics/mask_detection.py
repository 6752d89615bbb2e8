"""Mean average precision (mAP) of detected masks, as COCO takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nvmc.data.coco_masks import BITS
from nvmc.errors import DataError, OptionError
from nvmc.metrics.detection import MeanAP
from nvmc.metrics.matching import Matches, coco_matches, mask_overlaps
from nvmc.metrics.metric import Metric

__all__ = ["MeanMaskAP", "pixels_of"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_EXPECTED = (
    "y of float32 (N, G, rows, columns): class + 1 on an object, -(class + 1) on a crowd, 0 "
    "elsewhere"
)


class MeanMaskAP(MeanAP):
    """As `map`, but overlaps are those of masks (pycocotools' `segm`).

    Args:
        reference: Objects to be found, shape (N, G, rows, columns): class + 1 on the pixels of an
            object, -(class + 1) on those of a crowd, 0 elsewhere; all 0 fills up.

    Raises:
        DataError: They have another shape or other numbers, or none counts.
    """

    name: ClassVar[str] = "map-masks"
    short: ClassVar[str] = "mask mAP"
    title: ClassVar[str] = "the mean average precision of masks (mAP), COCO's at 0.50:0.95"
    segments: ClassVar[bool] = True
    things: ClassVar[str] = "masks"

    def __init__(self, reference: NDArray[Any]) -> None:
        pixels_of(reference)
        self._masks, self._kinds = list[Flags](), list[Floats]()
        for image in reference.reshape(*reference.shape[:2], -1):
            rows = image[image.any(axis=1)]
            self._masks.append(rows != 0)
            self._kinds.append(np.array([_kind(row) for row in rows], np.float64))
        every = np.concatenate(self._kinds)
        self._classes = np.unique(every[every > 0]) - 1
        if not self._classes.size:
            raise DataError("no image has a mask to be found, so mAP says nothing; give others")

    @classmethod
    def of(cls, options: Mapping[str, str]) -> type[Metric]:
        """With an overlap, `iou`."""
        if "voc" in options or "boxes" in options:
            raise OptionError(f"metric {cls.name!r} has no option voc or boxes; expected iou=0.5")
        made: Any = super().of(options)
        made.name = made.name.replace("map:", f"{cls.name}:")
        made.short, made.title = f"mask {made.short}", made.title.replace("boxes", "masks")
        return made

    def matches(self, image: int, found: Floats, one: float) -> Matches:
        """What was detected of a class in an image, as it matches what there is.

        Args:
            image: Number of the image.
            found: Rows of score, class and the mask, `BITS` pixels a number, shape (D, 2 + P).
            one: The class.

        Raises:
            DataError: Masks have another number of pixels than those to be found.
        """
        masks, kinds = self._masks[image], self._kinds[image]
        chosen, pixels = np.abs(kinds) == one + 1, self._masks[image].shape[1]
        found = found[found[:, 1] == one]
        words = found[:, 2:].astype(np.int64)
        if words.shape[1] != -(-pixels // BITS):
            raise DataError(
                f"masks to be found have {pixels:,} pixels each, those of the network between "
                f"{BITS * (words.shape[1] - 1) + 1:,} and {BITS * words.shape[1]:,}; give masks of "
                "the size that the network puts out"
            )
        bits = (words[..., None] >> np.arange(BITS)) & 1
        own = bits.reshape(len(found), words.shape[1] * BITS)[:, :pixels] > 0
        crowd = kinds[chosen] < 0
        overlaps = mask_overlaps(own, masks[chosen], crowd)
        return coco_matches(overlaps, crowd, found[:, 0], self.thresholds)


def pixels_of(reference: NDArray[Any]) -> int:
    """Pixels of each mask to be found.

    Raises:
        DataError: The array holds no masks.
    """
    if reference.ndim != 4:
        raise DataError(
            f"masks to be found have shape {list(reference.shape)}; expected {_EXPECTED}"
        )
    return reference.shape[2] * reference.shape[3]


def _kind(row: NDArray[Any]) -> float:
    """The number of one mask, which is not empty.

    Raises:
        DataError: It holds several, or one that is no class.
    """
    found = np.unique(row[row != 0])
    if len(found) > 1 or found[0] != np.round(found[0]):
        raise DataError(
            f"a mask to be found holds {', '.join(f'{n:g}' for n in found[:3])}; expected "
            f"{_EXPECTED}"
        )
    return float(found[0])
