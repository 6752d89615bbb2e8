"""How the boxes of a detector are read: packed into one output, image by image."""

from __future__ import annotations

from typing import Any

from nvmc.data import Dataset
from nvmc.data.coco_masks import BITS
from nvmc.errors import OptionError
from nvmc.evaluation.reading import Reading
from nvmc.metrics import Metric
from nvmc.metrics.mask_detection import pixels_of
from nvmc.passes.graph.describe import Model
from nvmc.passes.pack_detections import MOST, pack_detections
from nvmc.passes.pack_masks import MOST_MASKS, pack_masks

__all__ = ["boxes_of", "one_by_one"]


def boxes_of(
    model: Model,
    dataset: Dataset | None,
    output: str | None,
    class_axis: int | None,
    metric: type[Metric],
) -> Reading:
    """The packed output of a detector, which the model gets.

    Raises:
        OptionError: There are no boxes to be found, or an axis of classes is given.
        ModelError: The network's outputs do not tell which of them hold boxes.
    """
    what = "masks" if metric.segments else "boxes"
    shape = "(N, G, rows, columns)" if metric.segments else "(N, G, 6)"
    if dataset is None or dataset.targets is None:
        raise OptionError(
            f"metric {metric.name!r} compares {what} with those to be found, but there are none; "
            f"give --data FILE.npz with y of float32 {shape}, or coco:DIR (docs/metrics.md)"
        )
    if class_axis is not None:
        raise OptionError(
            f"--class-axis is given beside metric {metric.name!r}, whose {what} have a class each"
        )
    if metric.segments:
        pixels = pixels_of(dataset.targets)
        name, parts = pack_masks(model, pixels, output)
        sizes = (MOST_MASKS + 1, 2 + -(-pixels // BITS))
    else:
        (name, parts), sizes = pack_detections(model, output), (MOST + 1, 6)
    why = f"{what} of {', '.join(parts)}, run image by image"
    return Reading(name, "values", None, 0, sizes, why=why)


def one_by_one(changes: dict[str, Any], metric: type[Metric] | None, fixed: bool) -> dict[str, Any]:
    """What options change of a network, for one image a run where boxes are detected.

    Raises:
        OptionError: The network takes several images only.
    """
    if metric is None or not metric.detects:
        return changes
    if changes.get("batch", 1) != 1:
        raise OptionError(
            f"batch is {changes['batch']}; expected 1 with metric {metric.name!r}, which runs "
            "image by image"
        )
    return changes if fixed else {**changes, "batch": 1}
