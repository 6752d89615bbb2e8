"""A small detector with its non-maximum suppression inside.

BayesFT (Ye et al., DAC 2021, Fig. 3j) takes Mask R-CNN; this is a network whose outputs are of the
same kind, and that trains in a minute: one stage, without anchors, in the manner of FCOS (Tian et
al., ICCV 2019, Sec. 3.1). Each cell of a grid says how likely the centre of a box of each class
lies in it, and how far the box's sides are.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Detector", "DetectorMaps", "detection_loss", "nms_translations"]

STRIDE = 4
"""Pixels from one cell of the grid to the next."""
MOST, OVERLAP, LEAST = 20, 0.5, 0.05
"""Boxes of a class at most, IoU above which the less likely goes, least score."""


class DetectorMaps(nn.Module):
    """What is trained: maps of scores and distances, before anything is picked.

    Args:
        classes: How many kinds of things.
        channels: Of an image.
        width: Channels of the first layer.
        dropout: Rate of dropout behind every layer but the last, in training alone.
    """

    def __init__(
        self, classes: int = 2, channels: int = 3, width: int = 16, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.classes = classes
        widths = [channels, width, 2 * width, 2 * width, 2 * width]
        strides = [2, 2, 1, 1]
        self.body = nn.Sequential(
            *(
                module
                for inside, outside, stride in zip(widths, widths[1:], strides, strict=False)
                for module in (
                    nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
                    nn.BatchNorm2d(outside),
                    nn.ReLU(),
                    nn.Dropout(dropout),
                )
            )
        )
        self.head = nn.Conv2d(2 * width, classes + 4, 1)
        self.begin()

    @torch.no_grad()
    def begin(self) -> None:
        """Give each class a prior of 0.05 everywhere (Lin et al., ICCV 2017, Sec. 4.1)."""
        self.head.get_parameter("bias")[: self.classes] = -math.log(19)

    def forward(self, image: Tensor) -> Tensor:
        """Maps (N, classes + 4, R / 4, C / 4) of images (N, channels, R, C).

        First a logit for each class; then the logarithms of the distances, in cells, from the
        cell's centre to the left, upper, right and lower side.
        """
        return self.head(self.body(image))


class Detector(nn.Module):
    """A detector of one image: maps, boxes from them, suppression of those that overlap.

    Args:
        maps: The network that is trained.
    """

    def __init__(self, maps: DetectorMaps | None = None) -> None:
        super().__init__()
        self.maps = DetectorMaps() if maps is None else maps

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (M, 4) as x, y, x, y in pixels, scores (M,), classes (M,) of one image.

        That has the shape (1, channels, R, C); M differs from image to image.
        """
        found = self.maps(image)
        scores = torch.sigmoid(found[:, : self.maps.classes]).flatten(2)
        boxes = _boxes_of(found[:, self.maps.classes :])[0]
        picked = _suppress(boxes[None], scores)
        kind, place = picked[:, 1], picked[:, 2]
        return boxes[place], scores[0, kind, place], kind


def _boxes_of(distances: Tensor) -> Tensor:
    """Boxes (N, cells, 4) as x, y, x, y in pixels of maps (N, 4, R, C) of log distances."""
    rows, columns = distances.shape[2:]
    y = (torch.arange(rows, device=distances.device) + 0.5) * STRIDE
    x = (torch.arange(columns, device=distances.device) + 0.5) * STRIDE
    centre = torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)], 0)
    away = torch.exp(distances) * STRIDE
    corners = torch.cat([centre - away[:, :2], centre + away[:, 2:]], 1)
    return corners.flatten(2).transpose(1, 2)


@torch.library.custom_op("nvmc_zoo::suppress", mutates_args=())
def _suppress(boxes: Tensor, scores: Tensor) -> Tensor:
    """ONNX's NonMaxSuppression of one image, plainly: rows of (0, class, place) (M, 3)."""
    rows: list[tuple[int, int, int]] = []
    for kind in range(scores.shape[1]):
        order = cast("Any", torch.argsort(-scores[0, kind], stable=True)).tolist()
        kept: list[int] = []
        for place in order:
            if scores[0, kind, place] <= LEAST or len(kept) == MOST:
                break
            if all(_overlap(boxes[0, place], boxes[0, other]) <= OVERLAP for other in kept):
                kept.append(place)
        rows += [(0, kind, place) for place in kept]
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)


@_suppress.register_fake
def _suppressed(boxes: Tensor, scores: Tensor) -> Tensor:
    """Its shape, for the exporter: as many rows as there are boxes left."""
    rows = cast("Any", torch.library.get_ctx()).new_dynamic_size()
    return boxes.new_empty((rows, 3), dtype=torch.int64)


def _overlap(one: Tensor, other: Tensor) -> float:
    """Intersection over union of two boxes."""
    low, high = torch.maximum(one[:2], other[:2]), torch.minimum(one[2:], other[2:])
    shared = torch.clamp(high - low, min=0).prod()
    both = (one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - shared
    return float(shared / both)


def nms_translations() -> dict[Any, Any]:
    """How the exporter writes the suppression: one NonMaxSuppression."""
    import onnxscript

    op: Any = onnxscript.opset18

    def suppress(boxes: Any, scores: Any) -> Any:
        most = op.Constant(value_ints=[MOST])
        overlap, least = op.Constant(value_floats=[OVERLAP]), op.Constant(value_floats=[LEAST])
        return op.NonMaxSuppression(boxes, scores, most, overlap, least)

    return {torch.ops.nvmc_zoo.suppress.default: suppress}


def detection_loss(maps: Tensor, boxes: Tensor, classes: int) -> Tensor:
    """Focal loss of the classes of cells, and the error of log distances where a centre lies.

    Args:
        maps: Of `DetectorMaps`.
        boxes: (N, G, 6): x, y, x, y, class, 0; rows of class -1 fill up.
        classes: How many.
    """
    scores, distances = maps[:, :classes], maps[:, classes:]
    wanted, away = torch.zeros_like(scores), torch.zeros_like(distances)
    image, row = torch.nonzero(boxes[:, :, 4] >= 0, as_tuple=True)
    box = boxes[image, row]
    centre = (box[:, :2] + box[:, 2:4]) / 2
    cell = torch.floor(centre / STRIDE).long()
    kind = box[:, 4].long()
    wanted[image, kind, cell[:, 1], cell[:, 0]] = 1.0
    middle = (cell + 0.5) * STRIDE
    sides = torch.cat([middle - box[:, :2], box[:, 2:4] - middle], 1) / STRIDE
    away[image, :, cell[:, 1], cell[:, 0]] = torch.log(sides.clamp(min=0.1))
    plain = functional.binary_cross_entropy_with_logits(scores, wanted, reduction="none")
    sure = torch.sigmoid(scores)
    focus = torch.where(wanted > 0, 0.75 * (1 - sure) ** 2, 0.25 * sure**2)
    taken = wanted.amax(1, keepdim=True)
    error = (functional.smooth_l1_loss(distances, away, reduction="none") * taken).sum()
    return ((focus * plain).sum() + error) / max(len(image), 1)
