"""Images with boxes as COCO writes them: one JSON file of annotations, and the images.

The folder has `annotations.json` (COCO's instances: `images`, `annotations`, `categories`), and
the image files by the names that it says, there or in `images/`. Or, in their place, `images.npz`:
`x` of shape (N, channels, rows, columns) as the network takes them, and `id` (N,), the `id` of each
in the JSON; without it they are in the order of `images` there.

T.-Y. Lin et al., Microsoft COCO: common objects in context, ECCV (2014); cocodataset.org.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nvmc.data.npz import read_npz
from nvmc.data.pictures import pictures
from nvmc.data.sources import Found, Source
from nvmc.errors import DataError

__all__ = ["read_coco"]


def read_coco(source: Source) -> Found:
    """The images, and the boxes to be found in them.

    Boxes are scaled where an image has another size here than the JSON says of it (`width`,
    `height`). The set is every split.

    Returns:
        Images, and float32 (N, G, 6): two corners (x, y, x, y) in pixels, the category's id, and 1
        for a crowd; class -1 fills up.

    Raises:
        DataError: A file is missing or damaged, or they do not fit.
    """
    file = source.folder / "annotations.json"
    try:
        said = json.loads(file.read_bytes())
        images = {int(image["id"]): image for image in said["images"]}
        annotations = cast(list[dict[str, Any]], said["annotations"])
        if (source.folder / "images.npz").is_file():
            x, ids = _images(source.folder / "images.npz")
            order = list(images) if ids is None else [int(one) for one in ids]
        else:
            order = list(images)[: source.limit]
            x = pictures(source, [_file(source.folder, images[one]) for one in order])
        if len(order) != len(x):
            raise DataError(
                f"{str(file)!r} has {len(order)} images, but images.npz {len(x)}; give their ids "
                "as an array id"
            )
        missing = [one for one in order if one not in images]
        if missing:
            raise DataError(f"{str(file)!r} has no image {missing[0]}, which images.npz has")
        scales = [_scale(images[one], x.shape) for one in order]
        boxes = _boxes(annotations, order, scales)
    except OSError as error:
        raise DataError(f"cannot read {str(file)!r}: {error.strerror}; give COCO's JSON") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{str(file)!r} is no COCO file ({type(error).__name__}: {error}); expected images "
            "with id, and annotations with image_id, category_id and bbox [x, y, width, height]"
        ) from error
    return Found(x, boxes)


def _file(folder: Path, image: dict[str, Any]) -> Path:
    """The file of an image, which lies in the folder whatever the JSON says."""
    name = Path(str(image["file_name"])).name
    beside = folder / "images" / name
    return beside if beside.is_file() else folder / name


def _images(file: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    found = read_npz(str(file), "test")
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
    return shape[3] / float(image.get("width", shape[3])), shape[2] / float(
        image.get("height", shape[2])
    )


def _boxes(
    annotations: list[dict[str, Any]], order: list[int], scales: list[tuple[float, float]]
) -> NDArray[np.float32]:
    places = {one: place for place, one in enumerate(order)}
    rows: list[list[list[float]]] = [[] for _ in order]
    for one in annotations:
        place = places.get(int(one["image_id"]))
        if place is None:
            continue
        left, top, width, height = map(float, one["bbox"])
        sx, sy = scales[place]
        corners = [sx * left, sy * top, sx * (left + width), sy * (top + height)]
        rows[place].append([*corners, float(one["category_id"]), float(one.get("iscrowd", 0))])
    most = max(1, *map(len, rows)) if rows else 1
    boxes = np.full((len(rows), most, 6), -1, np.float32)
    for place, each in enumerate(rows):
        boxes[place, : len(each)] = np.reshape(each, (-1, 6))
    return boxes
