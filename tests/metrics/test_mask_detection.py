"""mAP of masks: a slow loop, pycocotools where installed, COCO's files, and a network of masks."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from nvmc import Target, compile_model, load_device, simulate
from nvmc.data import load_data
from nvmc.data.coco_masks import BITS, mask_of
from nvmc.errors import DataError, ModelError, OptionError
from nvmc.metrics import as_metric
from onnx_text import proto_of

SIZE = (13, 17)
Found = list[tuple[float, int, np.ndarray]]
"""Of an image: score, class and mask of each object."""


def scene(seed: int) -> tuple[np.ndarray, list[Found]]:
    """Discs to be found (6, 4, 13, 17), some of them crowds, and what a poor detector finds."""
    generator = np.random.default_rng(seed)
    known, found = np.zeros((6, 4, *SIZE), np.float32), list[Found]()
    for image in known:
        rows: Found = []
        for place in range(int(generator.integers(0, 5))):
            kind, centre = int(generator.integers(2)), generator.uniform(3, 12, 2)
            radius = generator.uniform(2, 5)
            sign = -1 if generator.random() < 0.2 else 1
            image[place] = sign * (kind + 1) * disc(centre, radius)
            for _ in range(2):
                moved = disc(centre + generator.normal(0, 0.7, 2), radius)
                wrong = kind if generator.random() < 0.8 else 1 - kind
                rows.append((float(generator.random()), wrong, moved))
        rows.append((float(generator.random()), 0, disc(generator.uniform(3, 12, 2), 3)))
        found.append(rows)
    return known, found


def disc(centre: Any, radius: float) -> np.ndarray:
    y, x = np.ogrid[: SIZE[0], : SIZE[1]]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def packed(found: list[Found], most: int = 12) -> np.ndarray:
    pixels = SIZE[0] * SIZE[1]
    out = np.full((len(found), most + 1, 2 - (-pixels // BITS)), -1, np.float32)
    for image, rows in zip(out, found, strict=True):
        image[0] = len(rows)
        for row, (score, kind, mask) in zip(image[1:], rows, strict=False):
            bits = mask.ravel().tolist()
            words = [bits[at : at + BITS] for at in range(0, pixels, BITS)]
            row[:] = [score, kind, *(sum(1 << i for i, b in enumerate(w) if b) for w in words)]
    return out


def value(name: str, known: np.ndarray, found: list[Found]) -> float:
    kind = as_metric(name)
    assert kind is not None
    return float(kind(known).add(packed(found), 0))  # pyright: ignore


def interpolated(marks: list[tuple[float, str]], wanted: int) -> float:
    points, right, wrong = list[tuple[float, float]](), 0, 0
    for _, mark in sorted(marks, key=lambda m: -m[0]):
        right, wrong = right + (mark == "right"), wrong + (mark == "wrong")
        if mark != "ignored":
            points.append((right / wanted, right / (right + wrong)))
    recalls = np.linspace(0, 1, 101).tolist()
    return float(np.mean([max((p for r, p in points if r >= one), default=0.0) for one in recalls]))


def slow(known: np.ndarray, found: list[Found], thresholds: list[float]) -> float:
    """As COCO's paper describes it, mask by mask and pixel set by pixel set."""
    averages: list[float] = []
    classes = {int(m.max()) - 1 for image in known for m in image if m.max() > 0}
    for one in sorted(classes):
        for threshold in thresholds:
            marks, wanted = list[tuple[float, str]](), 0
            for image, rows in zip(known, found, strict=True):
                there = [m for m in image if np.abs(m).max() == one + 1]
                crowd = [bool(m.min() < 0) for m in there]
                pixels = [set(np.flatnonzero(m)) for m in there]
                wanted += crowd.count(False)
                free = set(range(len(there)))
                mine = sorted((r for r in rows if r[1] == one), key=lambda r: -r[0])
                for score, _, mask in mine:
                    own, best, chosen = set(np.flatnonzero(mask)), threshold, None
                    for wanted_crowd in (False, True):
                        for at, other in enumerate(pixels):
                            over = own if crowd[at] else own | other
                            share = len(own & other) / len(over)
                            usable = at in free or crowd[at]
                            if crowd[at] == wanted_crowd and usable and share >= best:
                                best, chosen = share, at
                        if chosen is not None:
                            break
                    if chosen is None:
                        marks.append((score, "wrong"))
                        continue
                    free.discard(chosen)
                    marks.append((score, "ignored" if crowd[chosen] else "right"))
            averages.append(interpolated(marks, wanted))
    return float(np.mean(averages))


@pytest.mark.parametrize("seed", range(3))
def test_masks_are_judged_as_by_a_loop(seed: int) -> None:
    known, found = scene(seed)
    thresholds = [0.5 + 0.05 * step for step in range(10)]
    assert value("map-masks", known, found) == pytest.approx(slow(known, found, thresholds))
    assert value("map-masks:iou=0.75", known, found) == pytest.approx(slow(known, found, [0.75]))
    assert 0.05 < value("map-masks:iou=0.5", known, found) < 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_masks_are_judged_as_by_pycocotools() -> None:
    coco: Any = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    judge: Any = pytest.importorskip("pycocotools.cocoeval")
    tools: Any = pytest.importorskip("pycocotools.mask")
    known, found = scene(7)
    truth, results = list[dict[str, Any]](), list[dict[str, Any]]()
    for place, (image, rows) in enumerate(zip(known, found, strict=True)):
        for mask in image:
            if mask.any():
                there = np.asfortranarray(mask != 0, np.uint8)
                truth.append(
                    {"id": len(truth) + 1, "image_id": place, "area": int(there.sum())}
                    | {"category_id": int(np.abs(mask).max()) - 1, "iscrowd": int(mask.min() < 0)}
                    | {"segmentation": tools.encode(there), "bbox": [0, 0, 1, 1]}
                )
        for score, kind, mask in rows:
            coded = tools.encode(np.asfortranarray(mask, np.uint8))
            results.append(
                {"image_id": place, "category_id": kind, "score": score, "segmentation": coded}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        data = coco.COCO()
        data.dataset = {
            "images": [{"id": i, "height": SIZE[0], "width": SIZE[1]} for i in range(len(known))],
            "categories": [{"id": 0}, {"id": 1}],
            "annotations": truth,
        }
        data.createIndex()
        judged = judge.COCOeval(data, data.loadRes(results), "segm")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    assert value("map-masks", known, found) == pytest.approx(judged.stats[0], abs=1e-6)
    assert value("map-masks:iou=0.5", known, found) == pytest.approx(judged.stats[1], abs=1e-6)
    for one in truth:  # the texts of run lengths, too
        said = {**one["segmentation"], "counts": one["segmentation"]["counts"].decode()}
        assert np.array_equal(mask_of(said, SIZE, (1, 1)), tools.decode(one["segmentation"]))


def test_polygons_hold_the_pixels_whose_centres_they_hold() -> None:
    shape = [2.0, 1.0, 14.5, 3.0, 9.0, 11.5, 6.0, 5.0]
    found = mask_of([shape], SIZE, (1, 1))
    corners = np.reshape(shape, (-1, 2))

    def inside(x: float, y: float) -> bool:
        odd = False
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
            if (y0 <= y) != (y1 <= y) and x >= x0 + (y - y0) / (y1 - y0) * (x1 - x0):
                odd = not odd
        return odd

    for row, column in np.ndindex(SIZE):
        assert found[row, column] == inside(column + 0.5, row + 0.5)
    assert found.any()
    assert np.array_equal(
        mask_of([[3, 2, 7, 2, 7, 6, 3, 6]], SIZE, (1, 1)).nonzero()[0][::4], [2, 3, 4, 5]
    )


def test_run_lengths_go_down_the_columns_and_follow_the_size() -> None:
    said = {"size": [3, 2], "counts": [1, 2, 1, 2]}
    wanted = np.array([[0, 0], [1, 1], [1, 1]], bool)
    assert np.array_equal(mask_of(said, (3, 2), (1, 1)), wanted)
    assert np.array_equal(mask_of(said, (6, 4), (2, 2)), wanted.repeat(2, 0).repeat(2, 1))
    for wrong in ({"size": [3, 2], "counts": [1, 2]}, {"size": [3, 2], "counts": "\x01"}, [[1, 2]]):
        with pytest.raises(ValueError):
            mask_of(wrong, (3, 2), (1, 1))


NETWORK = """g (float[1,1,4,6] x) => (float[M,1,4,6] masks, float[M] scores, int64[M] labels)
<float[2,1,1,1] w, int64[2] two = {0, 1}, int64[4] apart = {2, 1, 4, 6},
 int64[3] rest = {1, 2, 3}> {
  c = Conv (x, w)
  p = Sigmoid (c)
  masks = Reshape (p, apart)
  m = ReduceMax <keepdims = 0> (masks, rest)
  scores = Identity (m)
  labels = Identity (two)
}"""


def compiled(folder: Path) -> Any:
    text = NETWORK.replace(
        "int64[2] axes = {1, 2}, int64[1] first = {0}", "int64[3] allbut = {1,2,3}"
    )
    proto = proto_of(text, w=np.array([[[[9.0]]], [[[-9.0]]]], np.float32))
    onnx.save(proto, folder / "net.onnx")
    target = Target.of(load_device("fefet2"), weight_bits=4)
    return compile_model(folder / "net.onnx", target, output=folder / "net.nvmc")


def test_a_network_of_masks_is_judged_from_npz_and_coco(tmp_path: Path) -> None:
    """Class 0 is where x > 0, class 1 where x < 0: the ideal chip finds all."""
    x = np.zeros((3, 1, 4, 6), np.float32)
    x[:, :, 1:3, 2:5], x[:, :, 3, :] = 1, -1
    y = np.zeros((3, 2, 4, 6), np.float32)
    y[:, 0], y[:, 1] = (x[:, 0] > 0), 2 * (x[:, 0] < 0)
    np.savez(tmp_path / "d.npz", x=x, y=y)
    network = compiled(tmp_path)
    found = simulate(network, runs=3, data=str(tmp_path / "d.npz"), metric="map-masks", sigma=0.1)
    assert found.ideal == 1
    (tmp_path / "coco").mkdir()
    np.savez(tmp_path / "coco" / "images.npz", x=x)
    square = [[2, 1, 5, 1, 5, 3, 2, 3]]
    last = {"size": [4, 6], "counts": [3, 1] * 6}
    notes = [
        {"image_id": i, "category_id": kind, "bbox": [0, 0, 1, 1], "segmentation": said}
        for i in range(3)
        for kind, said in ((0, square), (1, last))
    ]
    images = [{"id": i, "width": 6, "height": 4} for i in range(3)]
    file = tmp_path / "coco" / "annotations.json"
    file.write_text(json.dumps({"images": images, "annotations": notes}))
    spec = f"coco:{tmp_path / 'coco'},labels=masks"
    assert np.array_equal(load_data(spec).targets, y)  # pyright: ignore
    again = simulate(network, runs=3, data=spec, metric="map-masks", sigma=0.1)
    assert np.array_equal(again.values, found.values)
    notes[0]["segmentation"] = [[0, 0, 0.1, 0, 0.1, 0.1]]
    file.write_text(json.dumps({"images": images, "annotations": notes}))
    with pytest.raises(DataError, match="covers no pixel"):
        load_data(spec)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    network = compiled(tmp_path)
    x = np.zeros((2, 1, 4, 6), np.float32)
    for y, said in (
        (np.zeros((2, 3, 6), np.float32), "expected y of float32"),
        (np.zeros((2, 3, 4, 6), np.float32), "no image has a mask"),
        (np.ones((2, 1, 8, 9), np.float32), "give masks of the size"),
        (np.linspace(1, 2, 48, dtype=np.float32).reshape(2, 1, 4, 6), "a mask to be found holds"),
    ):
        with pytest.raises(DataError, match=said) as caught:
            simulate(network, runs=1, data=(x, y), metric="map-masks")
        assert "\n" not in str(caught.value)
    with pytest.raises(OptionError, match="no option voc"):
        as_metric("map-masks:voc=2007")
    with pytest.raises(OptionError, match="masks, scores and classes"):
        simulate(network, runs=1, data=(x, x), metric="map-masks", output="masks,scores")
    proto = proto_of("g (float[1,4] x) => (float[1,3] y) <float[4,3] w> { y = MatMul (x, w) }")
    onnx.save(proto, tmp_path / "mlp.onnx")
    other = compile_model(
        tmp_path / "mlp.onnx", network.manifest.target, output=tmp_path / "m.nvmc"
    )
    with pytest.raises(ModelError, match="which outputs hold masks"):
        simulate(other, runs=1, data=(np.zeros((2, 4), np.float32), x), metric="map-masks")
