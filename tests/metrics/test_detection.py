"""Mean average precision against a slow loop, and against pycocotools where that is installed."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest

from nvmc.errors import DataError, OptionError
from nvmc.metrics import as_metric

SHAPE = (8, 60, 6)


def scene(seed: int, crowds: bool = True) -> tuple[np.ndarray, list[np.ndarray]]:
    """Boxes to be found (8, 7, 6), and those that a poor detector finds: box, score, class."""
    generator = np.random.default_rng(seed)
    known = np.full((8, 7, 6), -1, np.float32)
    found: list[np.ndarray] = []
    for image in known:
        count = int(generator.integers(0, 7))
        corner = generator.uniform(0, 80, (count, 2))
        image[:count, :2] = corner
        image[:count, 2:4] = corner + generator.uniform(20, 60, (count, 2))
        image[:count, 4] = generator.integers(3, size=count)
        image[:count, 5] = (generator.random(count) < 0.2) if crowds else 0
        rows = np.repeat(image[:count], 3, axis=0)
        rows[:, :4] += generator.normal(0, 3, (len(rows), 4))
        rows[:, 4] = np.where(generator.random(len(rows)) < 0.2, 1, rows[:, 4])
        false = generator.uniform(0, 60, (4, 6)).astype(np.float32)
        false[:, 2:4] += false[:, :2]
        false[:, 4] = generator.integers(4, size=4)
        rows = np.concatenate([rows, false])
        scores = generator.random(len(rows))
        found.append(np.column_stack([rows[:, :4], scores, rows[:, 4]]).astype(np.float32))
    return known, found


def packed(found: list[np.ndarray], most: int = 40) -> np.ndarray:
    out = np.full((len(found), most + 1, 6), -1, np.float32)
    for image, rows in zip(out, found, strict=True):
        image[0] = len(rows)
        image[1 : 1 + len(rows)] = rows[:most]
    return out


def value(name: str, known: np.ndarray, found: list[np.ndarray]) -> float:
    kind = as_metric(name)
    assert kind is not None
    metric = kind(known)
    total: Any = metric.add(packed(found), 0)
    return metric.finish(total, len(known))


def overlap(a: list[float], b: list[float], crowd: bool, pixel: float) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + pixel)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + pixel)
    areas = [(c[2] - c[0] + pixel) * (c[3] - c[1] + pixel) for c in (a, b)]
    return width * height / (areas[0] if crowd else sum(areas) - width * height)


def slow_coco(known: np.ndarray, found: list[np.ndarray], thresholds: list[float]) -> float:
    """As the paper's authors describe it, box by box."""
    averages: list[float] = []
    classes = {row[4] for image in known.tolist() for row in image if row[4] >= 0 and row[5] == 0}
    for one in sorted(classes):
        for threshold in thresholds:
            marks: list[tuple[float, str]] = []
            wanted = 0
            for image, rows in zip(known.tolist(), found, strict=True):
                there = [row for row in image if row[4] == one]
                wanted += sum(row[5] == 0 for row in there)
                free = set(range(len(there)))
                detected = sorted((r for r in rows.tolist() if r[5] == one), key=lambda r: -r[4])
                for row in detected:
                    best, chosen = threshold, None
                    for crowd in (0, 1):
                        for place, box in enumerate(there):
                            share = overlap(row, box, bool(crowd), 0.0)
                            usable = place in free or crowd
                            if box[5] == crowd and usable and share >= best:
                                best, chosen = share, place
                        if chosen is not None:
                            break
                    if chosen is None:
                        marks.append((row[4], "wrong"))
                        continue
                    free.discard(chosen)
                    marks.append((row[4], "ignored" if there[chosen][5] else "right"))
            averages.append(interpolated(marks, wanted, np.linspace(0, 1, 101).tolist(), 0.0))
    return float(np.mean(averages))


def interpolated(
    marks: list[tuple[float, str]], wanted: int, recalls: list[float], slack: float = 1e-12
) -> float:
    points, right, wrong = list[tuple[float, float]](), 0, 0
    for _, mark in sorted(marks, key=lambda m: -m[0]):
        right, wrong = right + (mark == "right"), wrong + (mark == "wrong")
        if mark != "ignored":
            points.append((right / wanted, right / (right + wrong)))
    best = [max((p for r, p in points if r >= recall - slack), default=0.0) for recall in recalls]
    return float(np.mean(best))


@pytest.mark.parametrize("seed", range(5))
def test_coco_is_that_of_a_loop(seed: int) -> None:
    known, found = scene(seed)
    thresholds = [0.5 + 0.05 * step for step in range(10)]
    assert value("map", known, found) == pytest.approx(
        slow_coco(known, found, thresholds), abs=1e-9
    )
    assert value("map:iou=0.75", known, found) == pytest.approx(slow_coco(known, found, [0.75]))
    assert 0.05 < value("map:iou=0.5", known, found) < 0.95


def pycoco(known: np.ndarray, found: list[np.ndarray]) -> list[float]:
    """What pycocotools says of the same boxes."""
    coco: Any = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    judge: Any = pytest.importorskip("pycocotools.cocoeval")
    truth, results = list[dict[str, Any]](), list[dict[str, Any]]()
    for place, (image, rows) in enumerate(zip(known.tolist(), found, strict=True)):
        for x, y, right, low, one, crowd in image:
            if one >= 0:
                box = [x, y, right - x, low - y]
                truth.append(
                    {"id": len(truth) + 1, "image_id": place, "category_id": int(one), "bbox": box}
                    | {"area": box[2] * box[3], "iscrowd": int(crowd)}
                )
        for x, y, right, low, score, one in rows.tolist():
            results.append(
                {"image_id": place, "category_id": int(one), "score": score}
                | {"bbox": [x, y, right - x, low - y]}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        data = coco.COCO()
        data.dataset = {
            "images": [{"id": place} for place in range(len(known))],
            "annotations": truth,
            "categories": [{"id": one} for one in range(4)],
        }
        data.createIndex()
        evaluation = judge.COCOeval(data, data.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_coco_is_that_of_pycocotools(seed: int) -> None:
    known, found = scene(seed)
    stats = pycoco(known, found)
    for name, wanted in zip(("map", "map:iou=0.5", "map:iou=0.75"), stats, strict=False):
        assert value(name, known, found) == pytest.approx(wanted, abs=1e-9)


def slow_voc(known: np.ndarray, found: list[np.ndarray], year: int) -> float:
    averages: list[float] = []
    classes = {row[4] for image in known.tolist() for row in image if row[4] >= 0 and row[5] == 0}
    for one in sorted(classes):
        every = [(r, i) for i, rows in enumerate(found) for r in rows.tolist() if r[5] == one]
        marks, taken, wanted = list[tuple[float, str]](), set[tuple[int, int]](), 0
        wanted = sum(row[4] == one and row[5] == 0 for image in known.tolist() for row in image)
        for row, image in sorted(every, key=lambda pair: -pair[0][4]):
            shares = [
                overlap(row, box, False, 1.0) if box[4] == one else -1.0
                for box in known[image].tolist()
            ]
            place = int(np.argmax(shares))
            if shares[place] < 0.5:
                marks.append((row[4], "wrong"))
            elif known[image, place, 5]:
                marks.append((row[4], "ignored"))
            else:
                again = (image, place) in taken
                taken.add((image, place))
                marks.append((row[4], "wrong" if again else "right"))
        if year == 2007:
            averages.append(interpolated(marks, wanted, [r / 10 for r in range(11)]))
            continue
        right = sorted({k / wanted for k in range(1, wanted + 1)})
        averages.append(sum(interpolated(marks, wanted, [r]) / wanted for r in right))
    return float(np.mean(averages))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("year", [2007, 2010])
def test_voc_is_that_of_a_loop(seed: int, year: int) -> None:
    known, found = scene(seed)
    assert value(f"map:voc={year}", known, found) == pytest.approx(slow_voc(known, found, year))


def test_forms_of_boxes() -> None:
    known, found = scene(3)
    wanted = value("map", known, found)
    for form in ("xywh", "cxcywh", "yxyx"):
        other = [rows.astype(np.float64) for rows in found]
        for rows in other:
            low, high = rows[:, :2].copy(), rows[:, 2:4].copy()
            if form == "yxyx":
                rows[:, :4] = rows[:, [1, 0, 3, 2]]
            else:
                rows[:, 2:4] = high - low
                rows[:, :2] = (low + high) / 2 if form == "cxcywh" else low
        assert value(f"map:boxes={form}", known, other) == pytest.approx(wanted, abs=0.02)


def test_what_no_map_is_made_of() -> None:
    known, found = scene(1)
    perfect = [np.column_stack([k[:, :4], np.ones(len(k)), k[:, 4]])[k[:, 4] >= 0] for k in known]
    assert value("map", known, perfect) == value("map:voc=2010", known, perfect) == 1
    assert value("map", known, [np.empty((0, 6))] * 8) == 0
    broken = [np.full_like(rows, np.nan) for rows in found]
    assert value("map", known, broken) == 0
    with pytest.raises(DataError, match="an image has 50 boxes; expected at most 40"):
        value("map", known, [np.zeros((50, 6))] * 8)
    with pytest.raises(DataError, match="no image has a box"):
        value("map", np.full((2, 3, 6), -1.0), found)
    with pytest.raises(DataError, match="boxes to be found have shape"):
        value("map", np.zeros((2, 4)), found)
    for name, said in (
        ("map:iou=1.5", "iou of metric 'map' is '1.5'"),
        ("map:voc=2012", "expected 2007 or 2010"),
        ("map:boxes=xx", "expected xyxy, xywh, cxcywh, yxyx"),
        ("map:iou=0.5,voc=2007", "give one of the two"),
        ("map:size=3", "option of metric 'map'"),
    ):
        with pytest.raises(OptionError, match=said):
            as_metric(name)
