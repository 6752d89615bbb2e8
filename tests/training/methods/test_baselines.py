"""The baselines from end to end: they learn, they repeat themselves, they can be interrupted."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from nvmc.errors import OptionError
from nvmc.training.method import Method
from nvmc.training.methods import make_method
from nvmc.training.methods.awp import Awp
from nvmc.training.methods.correctnet import CorrectNet
from nvmc.training.methods.ftna import Ftna
from nvmc.training.methods.neft import Neft
from nvmc.training.methods.reram_v import ReramV
from nvmc.training.train import train
from small_training import blobs, small_network, small_task

BASELINES: dict[str, Method] = {
    "awp": Awp(gamma=0.1, steps=2),
    "correctnet": CorrectNet(),
    "ftna": Ftna(),
    "neft-irs": Neft(variant="irs", hidden=8),
    "neft-ovf": Neft(),
    "reram-v": ReramV(chip=2),
}


class Killed(BaseException):
    """The user pressed a key."""


def killed_after(count: int):
    def on_epoch(epoch) -> None:
        if epoch.epoch == count:
            raise Killed

    return on_epoch


@pytest.mark.parametrize("name", BASELINES)
def test_a_run_learns(tmp_path: Path, name: str):
    output = tmp_path / "out.onnx"
    task = small_task(epochs=15, every=0)
    outcome = train(small_network(tmp_path), task, BASELINES[name], output=output)
    data = blobs(60, 2)
    session = ort.InferenceSession(output, providers=["CPUExecutionProvider"])
    (scores,) = session.run(["y"], {"x": data.x})
    assert np.mean(scores.argmax(axis=1) == data.y) > 0.8
    assert outcome.after.kpp > outcome.before.kpp
    assert outcome.method == BASELINES[name].kind


@pytest.mark.parametrize("name", BASELINES)
def test_a_killed_run_goes_on_as_if_nothing_had_been(tmp_path: Path, name: str):
    source, task, method = small_network(tmp_path), small_task(every=2), BASELINES[name]
    whole, parts, kept = (tmp_path / file for file in ("a.onnx", "b.onnx", "run.checkpoint"))
    expected = train(source, task, method, output=whole)
    with pytest.raises(Killed):
        train(source, task, method, output=parts, checkpoint=kept, on_epoch=killed_after(3))
    outcome = train(source, task, method, output=parts, checkpoint=kept, resume=True)
    assert parts.read_bytes() == whole.read_bytes()
    assert outcome.summary == expected.summary
    assert [epoch.loss for epoch in outcome.epochs] == [epoch.loss for epoch in expected.epochs]


@pytest.mark.parametrize(
    ("kind", "texts", "expected"),
    [
        ("awp", {"gamma": "0.1", "steps": "2"}, Awp(gamma=0.1, steps=2)),
        ("correctnet", {"beta": "1e-3", "k": "2"}, CorrectNet(beta=1e-3, k=2.0)),
        ("ftna", {"length": "32", "decoding": "hard"}, Ftna(length=32, decoding="hard")),
        ("neft", {"offsets": "0.1,0.2", "beta": "0.5"}, Neft(offsets=(0.1, 0.2), beta=0.5)),
        ("neft", {"offsets": "0.1"}, Neft(offsets=(0.1,))),
        ("reram-v", {"chip": "4", "chip_seed": "1"}, ReramV(chip=4, chip_seed=1)),
    ],
)
def test_options_come_as_texts(kind: str, texts: dict[str, str], expected: Method):
    assert make_method(kind, texts) == expected


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("awp", {"gamma": -1}),
        ("awp", {"steps": 0}),
        ("correctnet", {"k": 0}),
        ("ftna", {"length": 1}),
        ("neft", {"offsets": ""}),
        ("neft", {"variant": "both"}),
        ("reram-v", {"chip": -1}),
    ],
)
def test_options_out_of_range(kind: str, options: dict):
    with pytest.raises(OptionError, match=next(iter(options))):
        make_method(kind, options)
