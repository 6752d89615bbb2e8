"""Several labels an image, each yes or no: their loss, and training by it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from nvmc.data import Dataset
from nvmc.errors import DataError, NvmcError
from nvmc.hardware.devices import Target, load_device
from nvmc.training import Settings, make_method, make_task, train
from nvmc.training.methods.erm import Erm
from nvmc.training.preparation import canonical_network, prepared_network
from nvmc.training.run import Run
from onnx_text import proto_of

NETWORK = """g (float[N,6] x) => (float[N,3] y) <float[6,3] w> { {end} }"""
ENDS = {"scores": "y = MatMul (x, w)", "sigmoid": "s = MatMul (x, w) y = Sigmoid (s)"}
TARGET = Target.of(load_device("ideal"), weight_bits=8)


def labelled(count: int, seed: int) -> Dataset:
    """Each label says whether one of the numbers is above another; some are not known."""
    draws = np.random.default_rng(seed)
    x = draws.standard_normal((count, 6)).astype(np.float32)
    y = (x[:, :3] > x[:, 3:]).astype(np.int64)
    y[draws.random(y.shape) < 0.1] = -100
    return Dataset("labels", x, y)


def source(folder: Path, end: str) -> Path:
    proto = proto_of(NETWORK.replace("{end}", ENDS[end]))
    onnx.save(proto, folder / "net.onnx")
    return folder / "net.onnx"


@pytest.mark.parametrize("end", ENDS)
def test_the_loss_is_binary_cross_entropy_of_the_labels_that_count(
    tmp_path: Path, end: str
) -> None:
    task = make_task(labelled(60, 0), TARGET, validation=labelled(20, 1), settings=Settings())
    run = Run(prepared_network(canonical_network(source(tmp_path, end)), task, Erm()), task, 1)
    data = labelled(30, 2)
    scores = run.replicas[0](torch.as_tensor(data.x))
    found = float(run.criterion(scores, torch.as_tensor(data.y)).detach())
    total, counted = 0.0, 0
    for row, labels in zip(scores.tolist(), np.asarray(data.y).tolist(), strict=True):
        for score, label in zip(row, labels, strict=True):
            if label >= 0:
                p = 1 / (1 + np.exp(-score))
                total -= np.log(p if label else 1 - p)
                counted += 1
    assert found == pytest.approx(total / counted, rel=1e-5)
    right = run.right(scores, torch.as_tensor(data.y))
    wanted = (scores.detach().numpy() > 0) == (data.y == 1)
    assert right.tolist() == wanted[np.asarray(data.y) >= 0].tolist()


@pytest.mark.parametrize("method", ["erm", "hwa"])
def test_training_learns_the_labels(tmp_path: Path, method: str) -> None:
    settings = Settings(epochs=12, batch=20, rate=0.05, chips=2, percentile=50.0, every=0)
    task = make_task(labelled(300, 0), TARGET, validation=labelled(60, 1), settings=settings)
    outcome = train(
        source(tmp_path, "scores"), task, make_method(method), output=tmp_path / "o.onnx"
    )
    assert outcome.after.kpp > 0.85 > outcome.before.kpp


@pytest.mark.parametrize("classes", [False, True])
def test_a_batch_without_a_known_label_changes_nothing(tmp_path: Path, classes: bool) -> None:
    data = labelled(12, 0)
    y = np.where(data.y < 0, 0, data.y)
    y = y.argmax(axis=1) if classes else y
    y[5] = -100  # a batch of its own
    unknown = Dataset("unknown", data.x, y)
    settings = Settings(epochs=2, batch=1, chips=2, percentile=50.0, every=0)
    task = make_task(unknown, TARGET, validation=unknown, settings=settings)
    train(source(tmp_path, "scores"), task, Erm(), output=tmp_path / "o.onnx")
    weights = [
        onnx.numpy_helper.to_array(w) for w in onnx.load(tmp_path / "o.onnx").graph.initializer
    ]
    assert weights and all(np.isfinite(w).all() for w in weights)


def test_labels_other_than_yes_and_no_are_refused(tmp_path: Path) -> None:
    data = labelled(40, 0)
    wrong = Dataset("labels", data.x, np.abs(np.asarray(data.y)) % 7)
    with pytest.raises((DataError, NvmcError)) as caught:
        task = make_task(wrong, TARGET, validation=wrong, settings=Settings())
        prepared_network(canonical_network(source(tmp_path, "scores")), task, Erm())
    assert "\n" not in str(caught.value)
