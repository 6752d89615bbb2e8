"""FTNA: the loss of each bit, and a file that tells classes apart for anyone."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from nvmc.compiler import compile_model
from nvmc.data import Dataset
from nvmc.errors import OptionError, TrainingError
from nvmc.evaluation.simulation import simulate
from nvmc.passes.insert_code_head import CODE_KEY, code_book
from nvmc.training.methods.ftna import Ftna
from nvmc.training.train import train
from small_training import blobs, small_network, small_run, small_target, small_task


def test_loss_is_the_mean_binary_cross_entropy_of_the_labels_words(tmp_path: Path):
    method = Ftna(length=8)
    run = small_run(tmp_path, method)
    replica = run.replicas[0]
    x, y = next(run.batches(0))
    weights = replica.crossbars.quantized()
    logits = replica.values(x, (run.memory["logits"],), weights)[run.memory["logits"]]
    p = 1 / (1 + np.exp(-logits.detach().double().numpy()))
    words = code_book(3, 8)[y.numpy()]
    expected = -np.where(words, np.log(p), np.log(1 - p)).mean()
    assert logits.shape == (32, 8)
    found = method.loss(run, replica, x, y, run.generator("a"))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_code_is_not_trained_and_the_last_layer_is_new(tmp_path: Path):
    run = small_run(tmp_path, Ftna())
    weights = run.replicas[0].graph.weights
    assert {name: tuple(w.shape) for name, w in weights.items()} == {
        "w1": (8, 12),
        "b1": (12,),
        "w2": (12, 16),
        "b2": (16,),
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ftna")
    outcome = train(
        small_network(folder), small_task(epochs=15), Ftna(), output=folder / "out.onnx"
    )
    assert outcome.after.ideal > 0.8 > outcome.before.ideal
    assert outcome.summary == {"length": 16, "distance": 8, "corrects": 3}
    assert not outcome.canonical
    return folder / "out.onnx"


def test_stock_onnxruntime_runs_the_file(trained: Path):
    data = blobs(60, 2)
    session = ort.InferenceSession(trained, providers=["CPUExecutionProvider"])
    (scores,) = session.run(["y"], {"x": data.x})
    assert scores.shape == (60, 3)
    assert np.mean(scores.argmax(axis=1) == data.y) > 0.8


def test_the_code_book_travels_in_the_file(trained: Path):
    proto = onnx.load(trained)
    onnx.checker.check_model(proto, full_check=True)
    assert CODE_KEY in {entry.key for entry in proto.metadata_props}
    (book,) = (t for t in proto.graph.initializer if t.name == "y_code_book")
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(book), code_book(3, 16))


def test_any_user_compiles_it_with_the_decoding_digital(trained: Path, tmp_path: Path):
    compiled = compile_model(trained, small_target(), output=tmp_path / "out.nvmc")
    assert [layer.arrays for layer in compiled.manifest.layers] == [["w1"], ["w2"]]
    found = simulate(compiled, runs=5, data=blobs(60, 2), sigma=0.1, jobs=1)
    assert found.ideal > 0.8


def test_the_file_can_be_trained_on(trained: Path, tmp_path: Path):
    """The head that is there is kept, and still not the code book."""
    outcome = train(trained, small_task(epochs=1), Ftna(), output=tmp_path / "again.onnx")
    assert outcome.before.ideal > 0.8
    first, again = (onnx.load(path) for path in (trained, tmp_path / "again.onnx"))
    assert [n.name for n in first.graph.node] == [n.name for n in again.graph.node]
    books = [
        next(t for t in proto.graph.initializer if t.name == "y_code_book").raw_data
        for proto in (first, again)
    ]
    assert books[0] == books[1]


def test_words_must_suffice_for_the_classes(tmp_path: Path):
    with pytest.raises(OptionError, match="power of two"):
        small_run(tmp_path, Ftna(length=12))


def test_dense_labels_are_refused():
    task = small_task()
    dense = Dataset("dense", np.zeros((4, 3, 2), np.float32), np.zeros((4, 2), np.int64))
    with pytest.raises(TrainingError, match="dense prediction"):
        Ftna().check(type(task)(task.target, 0.2, dense, dense, task.settings))


def test_decoding_may_be_hard(tmp_path: Path):
    run = small_run(tmp_path, Ftna(decoding="hard", length=8))
    replica = run.replicas[0]
    replica.train(False)
    with torch.no_grad():
        scores = replica(run.validation()[0])
    assert torch.equal(scores, scores.round())
    assert -8 <= float(scores.min()) and float(scores.max()) <= 0
