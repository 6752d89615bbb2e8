"""Images with boxes or masks as COCO writes them: one JSON file of annotations, and the images.

The folder has `annotations.json` (COCO's instances: `images`, `annotations`, `categories`), and
the image files by the names that it says, there or in `images/`. Or, in their place, `images.npz`:
`x` of shape (N, channels, rows, columns) as the network takes them, and `id` (N,), the `id` of each
in the JSON; without it they are in the order of `images` there.

T.-Y. Lin et al., Microsoft COCO: common objects in context, ECCV (2014); cocodataset.org.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.budget import check_room
from nvmc.data.coco_masks import mask_of
from nvmc.data.npz import read_npz
from nvmc.data.pictures import pictures
from nvmc.data.sources import Found, Source
from nvmc.errors import DataError

__all__ = ["read_coco"]


def read_coco(source: Source) -> Found:
    """The images, and the boxes to be found in them; with `labels=masks` the masks.

    Boxes are scaled where an image has another size here than the JSON says of it (`width`,
    `height`). The set is every split.

    Returns:
        Images, and float32 (N, G, 6): two corners (x, y, x, y) in pixels, the category's id, and 1
        for a crowd; class -1 fills up. Of masks float32 (N, G, rows, columns): category + 1 on an
        object, -(category + 1) on a crowd, 0 elsewhere.

    Raises:
        DataError: A file is missing or damaged, or they do not fit.
    """
    file, labels = source.folder / "annotations.json", source.options.get("labels", "boxes")
    if labels not in ("boxes", "masks"):
        raise DataError(f"labels of coco is {labels!r}; expected boxes or masks")
    images, annotations, shapes = _parsed(file, masks=labels == "masks")
    if (source.folder / "images.npz").is_file():
        x, ids = _images(source.folder / "images.npz")
        order = list(images) if ids is None else [int(one) for one in ids]
    else:
        order = list(images)[: source.limit]
        x = pictures(source, [_file(source.folder, images[one]) for one in order])
    if len(order) != len(x):
        raise DataError(
            f"{str(file)!r} has {len(order)} images, but images.npz {len(x)}; give their ids as an "
            "array id"
        )
    for one in order:
        if one not in images:
            raise DataError(f"{str(file)!r} has no image {one}, which images.npz has")
        if "size" in source.options and not {"width", "height"} <= images[one].keys():
            raise DataError(
                f"{str(file)!r} has no width and height of image {one}, which is resized; add them"
            )
    scales = [_scale(images[one], x.shape) for one in order]
    if labels == "masks":
        return Found(x, _masks(annotations, shapes, order, scales, x.shape, file))
    return Found(x, _boxes(annotations, order, scales))


_Images = dict[int, dict[str, Any]]


def _parsed(file: Path, *, masks: bool) -> tuple[_Images, list[list[float]], list[Any]]:
    """Images by id; of each annotation its image, class, box and whether it is a crowd; masks."""
    try:
        said = json.loads(file.read_bytes())
        images: _Images = {int(image["id"]): dict(image) for image in said["images"]}
        for image in images.values():
            sizes = [float(image[key]) for key in ("width", "height") if key in image]
            if not all(0 < size < float("inf") for size in sizes):
                raise ValueError("a size is not above 0")
        found = [
            [float(number) for number in (one["image_id"], one["category_id"], *one["bbox"])]
            + [float(one.get("iscrowd", 0))]
            for one in said["annotations"]
        ]
        if not all(len(one) == 7 and np.isfinite(one).all() for one in found):
            raise ValueError("a bbox is not four numbers")
        shapes = [one["segmentation"] for one in said["annotations"]] if masks else []
    except OSError as error:
        raise DataError(
            f"cannot read {str(file)!r}: {error.strerror}; download or write COCO's JSON there"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{str(file)!r} is no COCO file ({type(error).__name__}: {error}); expected images "
            "with id, and annotations with image_id, category_id and bbox [x, y, width, height]"
        ) from error
    return images, found, shapes


def _file(folder: Path, image: dict[str, Any]) -> Path:
    """The file of an image, which lies in the folder whatever the JSON says."""
    name = Path(str(image["file_name"])).name
    beside = folder / "images" / name
    return beside if beside.is_file() else folder / name


def _images(file: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    found = read_npz(str(file))
    ids = found.inputs.get("id")
    x = found.inputs.get("x", found.x)
    if x.ndim != 4 or (ids is not None and ids.ndim != 1):
        raise DataError(
            f"{str(file)!r} has x of shape {list(x.shape)}; expected (N, channels, rows, columns) "
            "and ids (N,)"
        )
    return x, ids


def _scale(image: dict[str, Any], shape: tuple[int, ...]) -> tuple[float, float]:
    """Pixels of `x` per pixel of the JSON, along x and y."""
    width, height = image.get("width", shape[3]), image.get("height", shape[2])
    return shape[3] / float(width), shape[2] / float(height)


def _boxes(
    annotations: list[list[float]], order: list[int], scales: list[tuple[float, float]]
) -> NDArray[np.float32]:
    places = {one: place for place, one in enumerate(order)}
    rows: list[list[list[float]]] = [[] for _ in order]
    for image, kind, left, top, width, height, crowd in annotations:
        if int(image) in places:
            sx, sy = scales[places[int(image)]]
            corners = [sx * left, sy * top, sx * (left + width), sy * (top + height)]
            rows[places[int(image)]].append([*corners, kind, crowd])
    boxes = np.full((len(rows), max(1, 1, *map(len, rows)), 6), -1, np.float32)
    for place, each in enumerate(rows):
        boxes[place, : len(each)] = np.reshape(each, (-1, 6))
    return boxes


def _masks(
    annotations: list[list[float]],
    shapes: list[Any],
    order: list[int],
    scales: list[tuple[float, float]],
    size: tuple[int, ...],
    file: Path,
) -> NDArray[np.float32]:
    """Masks to be found, in the size of the images.

    Raises:
        DataError: One is damaged, or covers no pixel.
        OutOfMemoryError: They are larger than what may be taken.
    """
    places = {one: place for place, one in enumerate(order)}
    rows: list[list[tuple[float, Any]]] = [[] for _ in order]
    for (image, kind, *_, crowd), said in zip(annotations, shapes, strict=True):
        if int(image) in places:
            rows[places[int(image)]].append((-(kind + 1) if crowd else kind + 1, said))
    most = max(1, *map(len, rows), 1)
    check_room("masks to be found", 4 * len(order) * most * size[2] * size[3])
    found = np.zeros((len(order), most, size[2], size[3]), np.float32)
    for place, each in enumerate(rows):
        for at, (kind, said) in enumerate(each):
            try:
                mask = mask_of(said, (size[2], size[3]), scales[place])
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{str(file)!r} has a segmentation of image {order[place]} that cannot be read "
                    f"({type(error).__name__}: {error}); expected polygons, or size and counts"
                ) from error
            if not mask.any():
                raise DataError(
                    f"{str(file)!r} has an object of image {order[place]} that covers no pixel; "
                    "remove it, or give a larger size"
                )
            found[place, at] = kind * mask
    return found
