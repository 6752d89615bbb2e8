"""A detector with its non-maximum suppression inside: any number of boxes, no axis of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from nvmc import Target, compile_model, load_device, simulate
from nvmc.cli import main
from nvmc.compiled.artifact import Compiled
from nvmc.errors import NvmcError
from nvmc.metrics.detection import MeanAP
from onnx_text import proto_of

Capture = pytest.CaptureFixture[str]

HEAD = """g (float[{size}] x) => ({outputs})
<float[2,1,4,4] w, float[2] b, float[1,16,4] cells, int64[1] most = {{20}}, float[1] iou = {{0.5}},
 float[1] least = {{0.4}}, int64[3] flat = {{1,2,16}}, int64[1] one = {{1}}, int64[1] two = {{2}},
 int64[1] zero = {{0}}> {{
  {begin}
  h = Conv <strides=[4,4]> (image, w, b)
  s = Reshape (h, flat)
  p = Sigmoid (s)
  picked = NonMaxSuppression (cells, p, most, iou, least)
  kind = Gather <axis=1> (picked, one)
  place = Gather <axis=1> (picked, two)
  labels = Squeeze (kind, one)
  flat_place = Squeeze (place, one)
  all_cells = Squeeze (cells, zero)
  boxes = Gather <axis=0> (all_cells, flat_place)
  all_scores = Squeeze (p, zero)
  where = Concat <axis=1> (kind, place)
  scores = GatherND (all_scores, where)
  {end}
}}"""
THREE = "float[M,4] boxes, float[M] scores, int64[M] labels"
JOINED = """labels_f = Cast <to=1> (kind)
  scores_2 = Unsqueeze (scores, one)
  rows = Concat <axis=1> (boxes, scores_2, labels_f)"""
KINDS = {
    "fixed": ("1,1,16,16", THREE, "image = Identity (x)", ""),
    "alone": ("1,16,16", THREE, "image = Unsqueeze (x, zero)", ""),
    "free": ("N,1,16,16", THREE, "image = Identity (x)", ""),
    "joined": ("1,1,16,16", "float[M,6] rows", "image = Identity (x)", JOINED),
}


def network_of(kind: str) -> Compiled:
    """A detector of bright and of dark squares in a grid of 4 x 4 cells."""
    size, outputs, begin, end = KINDS[kind]
    proto = proto_of(HEAD.format(size=size, outputs=outputs, begin=begin, end=end))
    corners = [[4 * c, 4 * r, 4 * c + 4, 4 * r + 4] for r in range(4) for c in range(4)]
    weights = np.stack([np.full((1, 4, 4), 0.3), np.full((1, 4, 4), -0.3)]).astype(np.float32)
    known = {"cells": np.array([corners], np.float32), "w": weights}
    known["b"] = np.array([-2, -2], np.float32)
    for tensor in proto.graph.initializer:
        if tensor.name in known:
            tensor.CopyFrom(onnx.numpy_helper.from_array(known[tensor.name], tensor.name))
    onnx.save(proto, "det.onnx")
    return compile_model("det.onnx", Target.of(load_device("fefet2"), weight_bits=4))


@pytest.fixture
def scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """Drawn scenes (20, 1, 16, 16), and the squares in them; `d.npz` and `coco` hold both."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    x = 0.9 * generator.standard_normal((20, 1, 16, 16)).astype(np.float32)
    y = np.full((20, 5, 6), -1, np.float32)
    notes: list[dict[str, Any]] = []
    for image in range(20):
        for row, cell in enumerate(generator.choice(16, int(generator.integers(5)), replace=False)):
            top, left = (4 * int(v) for v in divmod(int(cell), 4))
            kind = int(generator.integers(2))
            x[image, 0, top : top + 4, left : left + 4] += 0.6 * (1 - 2 * kind)
            y[image, row] = [left, top, left + 4, top + 4, kind, 0]
            box = [10 * left, 10 * top, 40, 40]  # of images of ten times the size
            notes.append({"image_id": 100 + image, "category_id": kind, "bbox": box})
    np.savez("d.npz", x=x, y=y)
    Path("coco").mkdir()
    order = generator.permutation(20)
    np.savez("coco/images.npz", x=x[order], id=100 + order)
    images = [{"id": 100 + image, "width": 160, "height": 160} for image in range(20)]
    Path("coco/annotations.json").write_text(json.dumps({"images": images, "annotations": notes}))
    return x, y


def of_programmed_chip(chip: int, x: np.ndarray, y: np.ndarray) -> float:
    """Image by image in a stock onnxruntime, and no packing."""
    words = ["program", "det.nvmc", "--chip", str(chip), "--sigma", "0.5", "-o", "chip.onnx"]
    assert main(words) == 0
    session: Any = ort.InferenceSession("chip.onnx", providers=["CPUExecutionProvider"])
    found = np.full((len(x), 41, 6), -1.0)
    for place, image in enumerate(x):
        given = image if len(session.get_inputs()[0].shape) == 3 else image[None]
        rows = session.run(None, {"x": given})
        table = rows[0] if len(rows) == 1 else np.column_stack([rows[0], rows[1], rows[2]])
        found[place, 0], found[place, 1 : 1 + len(table)] = len(table), table
    return MeanAP(y).add(found, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_chips_are_judged_through_suppression(
    kind: str, scenes: tuple[np.ndarray, np.ndarray]
) -> None:
    network = network_of(kind)
    found = simulate(network, runs=6, sigma=0.5, data="d.npz", metric="map", percentile=20)
    assert 0.2 < found.ideal <= 1 and len(set(found.values.tolist())) > 1
    for chip in (0, 4):
        assert found.values[chip] == pytest.approx(of_programmed_chip(chip, *scenes), rel=1e-9)
    again = simulate(network, runs=6, sigma=0.5, data="d.npz", metric="map", jobs=1)
    assert np.array_equal(found.values, again.values)
    circuit = simulate(network, runs=2, sigma=0.5, data="d.npz", metric="map", fidelity="circuit")
    np.testing.assert_allclose(circuit.values, found.values[:2], rtol=1e-6)
    coco = simulate(network, runs=6, sigma=0.5, data="coco:coco", metric="map")
    np.testing.assert_allclose(coco.values, found.values, rtol=1e-9)
    voc = simulate(network, runs=2, sigma=0.5, data="d.npz", metric="map:voc=2007")
    assert voc.ideal >= found.ideal and found.kpp.covers == "chips"


def test_which_outputs_and_what_is_refused(
    scenes: tuple[np.ndarray, np.ndarray], capsys: Capture
) -> None:
    network_of("fixed")
    words = ["simulate", "det.nvmc", "--data", "d.npz", "--runs", "2", "--metric", "map"]
    assert main([*words, "--output", "boxes,scores,labels"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "boxes of boxes, scores, labels, run image by image" in told and "(mAP)" in told
    for wrong, said in (
        (["--output", "boxes,scores"], "expected those of boxes, scores and classes as B,S,C"),
        (["--output", "boxes,scores,label"], "output"),
        (["--class-axis", "1"], "whose boxes have a class each"),
        (["--batch", "4"], "batch is 4; expected 1"),
        (["--adaptive"], "an adaptive run counts decisions, but the metric here is mAP"),
    ):
        assert main([*words, *wrong]) == 1
        error = capsys.readouterr().err
        assert said in error and error.strip().count("\n") == 0
    assert main([word for word in words if word not in ("--data", "d.npz")]) == 1
    assert "there are none; give --data" in capsys.readouterr().err
    Path("coco/annotations.json").write_text('{"images": []}')
    for text, said in (
        ('{"images": []}', "is no COCO file (KeyError"),
        ("[1", "is no COCO file"),
        ('{"images": [], "annotations": []}', "has no image"),
        ('{"images": [{"id": 1}], "annotations": [{"image_id": 1}]}', "is no COCO file (KeyError"),
        ('{"images": [{"id": 1, "width": 0}], "annotations": []}', "a size is not above 0"),
    ):
        Path("coco/annotations.json").write_text(text)
        with pytest.raises(NvmcError, match=said.replace("(", r"\(")):
            simulate(network_of("fixed"), runs=2, data="coco:coco", metric="map")


def test_detectors_train_no_further(scenes: tuple[np.ndarray, np.ndarray], capsys: Capture) -> None:
    network_of("fixed")
    words = ["train", "det.onnx", "--data", "d.npz", "--metric", "map", "--device", "rram4"]
    assert main([*words, "-o", "t.onnx"]) == 1
    assert capsys.readouterr().err.strip().count("\n") == 0
