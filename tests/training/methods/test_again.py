"""A network that a method has been at may be trained again: nothing is inserted twice."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nvmc.data import Dataset
from nvmc.hardware.devices import Target, load_device
from nvmc.models.zoo import zoo_path
from nvmc.passes.io.load import load_model
from nvmc.training import Settings, Task, make_method, make_task, train

TARGET = Target.of(load_device("rram4"))


def task() -> Task:
    settings = Settings(epochs=1, chips=2, percentile=50, every=0)
    made = make_task("digits", TARGET, sigma=0.1, settings=settings)
    some = Dataset("some", made.train.x[:64], np.asarray(made.train.y)[:64])
    return replace(made, train=some)


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in load_model(path).graph)


@pytest.mark.parametrize("kind", ["bayesft", "ftna", "invnorm", "spatial-spindrop", "spindrop"])
def test_nothing_is_inserted_twice(kind: str, tmp_path: Path):
    once, again = tmp_path / "once.onnx", tmp_path / "again.onnx"
    source = zoo_path("lenet5-digits")
    train(source, task(), make_method(kind), output=once)
    assert operators(once) != operators(source)
    train(once, task(), make_method(kind), output=again)
    assert operators(again) == operators(once)
