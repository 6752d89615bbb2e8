"""Mean average precision (mAP) of detected boxes, as COCO and PASCAL VOC take it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import DataError, OptionError, unknown
from nvmc.metrics.matching import Matches, box_overlaps, coco_matches, voc_matches
from nvmc.metrics.metric import Metric, Reference

__all__ = ["Form", "MeanAP"]

Floats = NDArray[np.float64]
Form = Literal["xyxy", "xywh", "cxcywh", "yxyx"]
"""How a box is written: two corners, a corner or the centre with width and height, or corners with
y first (as of the operator NonMaxSuppression)."""

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""COCO's overlaps."""
RECALLS = np.linspace(0, 1, 101)
"""COCO's recalls, at which precisions are averaged."""


class MeanAP(Metric):
    """Mean over classes (and overlaps) of the average precision of boxes, in [0, 1].

    COCO's by default: overlaps 0.50, 0.55, … 0.95, precisions at 101 recalls, at most 100 boxes an
    image and class, boxes of all sizes, crowds ignored (pycocotools' `stats[0]`; Lin et al., ECCV
    2014). With `iou` at that overlap alone. With `voc` PASCAL VOC's at 0.5, of 2007 at 11 recalls
    or of 2010 the area under the curve, with inclusive pixels and difficult boxes ignored
    (Everingham et al., IJCV 88, 2010). Classes are those that have a box that counts.

    Of equal scores the box of the earlier image (in the order in which images are run), and within
    an image of the earlier row, is taken first.

    Args:
        reference: Boxes of shape (N, G, 5) or (N, G, 6): two corners (x, y, x, y), the class, and
            1 where it is a crowd or difficult; class -1 fills up.

    Raises:
        DataError: They have another shape, or none counts.
    """

    name: ClassVar[str] = "map"
    short: ClassVar[str] = "mAP"
    title: ClassVar[str] = "the mean average precision of boxes (mAP), COCO's at 0.50:0.95"
    reference: ClassVar[Reference] = "values"
    whole: ClassVar[bool] = True
    detects: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    iou: ClassVar[float | None] = None
    voc: ClassVar[int | None] = None
    form: ClassVar[Form] = "xyxy"
    things: ClassVar[str] = "boxes"

    def __init__(self, reference: NDArray[Any]) -> None:
        if reference.ndim != 3 or reference.shape[2] not in (5, 6):
            raise DataError(
                f"boxes to be found have shape {list(reference.shape)}; expected y of float32 (N, "
                "G, 6): x, y, x, y, class, crowd; class -1 fills up"
            )
        self._boxes = [_known(rows) for rows in reference.astype(np.float64)]
        every = np.concatenate(self._boxes)
        self._classes = np.unique(every[every[:, 5] == 0][:, 4])
        if not self._classes.size:
            raise DataError("no image has a box to be found, so mAP says nothing; give others")

    @classmethod
    def of(cls, options: Mapping[str, str]) -> type[Metric]:
        """With an overlap (`iou`), VOC's way (`voc`), or boxes in another form (`boxes`)."""
        fields: dict[str, Any] = {}
        for key, text in options.items():
            if key not in ("iou", "voc", "boxes"):
                raise OptionError(unknown(f"option of metric {cls.name!r}", key, ["iou", "voc"]))
            fields["form" if key == "boxes" else key] = _option(key, text)
        if "iou" in fields and "voc" in fields:
            raise OptionError("metric 'map' has iou and voc, which is at 0.5; give one of the two")
        named = ",".join(f"{key}={text}" for key, text in sorted(options.items()))
        at = f"at {fields['iou']:g}" if "iou" in fields else "COCO's at 0.50:0.95"
        at = f"VOC {fields['voc']}'s at 0.5" if "voc" in fields else at
        title = f"the mean average precision of boxes (mAP), {at}"
        short = "mAP" + (f"@{fields['iou']:g}" if "iou" in fields else "")
        fields |= {"name": f"map:{named}", "short": short, "title": title}
        return type("MeanAP", (cls,), fields)

    def add(self, outputs: NDArray[Any], first: int) -> float:
        """The mean average precision of all images.

        Args:
            outputs: Of shape (N, K + 1, 6): in the first row how many boxes there are, then these:
                the box, its score and its class; class -1 fills up.
            first: The first image.

        Raises:
            DataError: An image has more boxes than K.
        """
        found = outputs.astype(np.float64)
        most = float(found[:, 0, 0].max(initial=0))
        if most > found.shape[1] - 1:
            raise DataError(
                f"an image has {most:,.0f} {self.things}; expected at most "
                f"{found.shape[1] - 1:,}: lower max_output_boxes_per_class or raise the score "
                "threshold of the network"
            )
        counts = found[:, 0, 0].astype(np.int64)
        rows = [image[1 : 1 + count] for image, count in zip(found, counts, strict=True)]
        return float(np.mean([self._of_class(rows, first, one) for one in self._classes]))

    def matches(self, image: int, found: Floats, one: float) -> Matches:
        """What was detected of a class in an image, as it matches what there is."""
        known = self._boxes[image]
        known, found = known[known[:, 4] == one], found[found[:, 5] == one]
        corners, scores = _corners(found[:, :4], self.form), found[:, 4]
        boxes, hard = known[:, :4], known[:, 5] > 0
        if self.voc:
            return voc_matches(boxes, hard, corners, scores)
        return coco_matches(box_overlaps(corners, boxes, hard), hard, scores, self.thresholds)

    @property
    def thresholds(self) -> Floats:
        """The overlaps that count, shape (T,)."""
        return THRESHOLDS if self.iou is None else np.array([self.iou])

    def _of_class(self, rows: list[Floats], first: int, one: float) -> float:
        """The average precision of a class, the mean over the overlaps."""
        matches = Matches.joined(
            [self.matches(i, found, one) for i, found in enumerate(rows, first)]
        )
        if self.voc == 2007:
            return matches.precision(np.linspace(0, 1, 11) - 1e-12)  # 0.3 is reached by 3 of 10
        return matches.area() if self.voc else matches.precision(RECALLS)

    def finish(self, total: Any, images: int) -> float:
        """The mean average precision itself."""
        return float(total)


def _option(key: str, text: str) -> Any:
    """What an option is worth.

    Raises:
        OptionError: It has no such value.
    """
    if key == "boxes" and text in get_args(Form):
        return cast(Form, text)
    if key == "voc" and text in ("2007", "2010"):
        return int(text)
    try:
        if key == "iou" and 0 < float(text) < 1:
            return float(text)
    except ValueError:
        pass
    wanted = {"boxes": ", ".join(get_args(Form)), "voc": "2007 or 2010", "iou": "such as 0.5"}
    raise OptionError(f"{key} of metric 'map' is {text!r}; expected {wanted[key]}")


def _known(rows: Floats) -> Floats:
    """The boxes of an image that there are, each with whether it is a crowd, shape (G, 6)."""
    if rows.shape[1] == 5:
        rows = np.concatenate([rows, np.zeros((len(rows), 1))], axis=1)
    return rows[rows[:, 4] >= 0]


def _corners(boxes: Floats, form: Form) -> Floats:
    """Boxes as two corners (x, y, x, y)."""
    if form == "yxyx":
        return boxes[:, [1, 0, 3, 2]]
    if form == "xyxy":
        return boxes
    corner, size = boxes[:, :2], boxes[:, 2:]
    low = corner - size / 2 if form == "cxcywh" else corner
    return np.concatenate([low, low + size], axis=1)
