"""Numbers that networks are made with now: whoever changes them raises `RECIPE`, renews the file.

`nvmc reproduce` refuses to mix results of two versions (`nvmc.reproduce.origin`). Renew with
`PYTHONPATH=.:tests python tests/reproduce/test_recipe_version.py`.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from nvmc.models.initialised import initialised
from nvmc.models.recipes import RECIPE
from nvmc.models.stn import SpatialTransformer
from nvmc.training import make_method, train
from small_training import small_network, small_task

FILE = Path(__file__).parents[1] / "files" / "recipe.json"


def first_weights() -> dict[str, list[float]]:
    """Of every kind of layer that draws some, and of a transformer, which begins by a rule."""
    module = nn.ModuleDict(
        {
            "conv1d": nn.Conv1d(2, 2, 3),
            "conv2d": nn.Conv2d(1, 2, 2),
            "linear": nn.Linear(3, 2),
            "lstm": nn.LSTM(1, 1, 2),
            "batchnorm": nn.BatchNorm2d(2),
        }
    )
    made = initialised(module, torch.Generator().manual_seed(3), biases=True)
    found = {name: value.ravel().tolist() for name, value in made.named_parameters()}
    stn = initialised(SpatialTransformer(), torch.Generator().manual_seed(3), biases=True)
    found["stn"] = stn.get_parameter("local4.bias").tolist()
    found["stn classifier"] = stn.get_parameter("fc2.bias").tolist()
    return found


def trained_weights() -> dict[str, list[float]]:
    """Of a small network, two epochs with noise in training, what is not said by default."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task = small_task(epochs=2, every=0, keep="last", rate="auto")
        train(small_network(folder), task, make_method("gaussian"), output=folder / "o.onnx")
        tensors = onnx.load(folder / "o.onnx").graph.initializer
        arrays = {f"trained {t.name}": onnx.numpy_helper.to_array(t) for t in tensors}
    return {name: array.ravel()[:12].tolist() for name, array in arrays.items()}


def numbers() -> dict[str, list[float]]:
    return first_weights() | trained_weights()


def test_networks_are_made_as_this_version_makes_them() -> None:
    """To 1e-4: sums are rounded otherwise on another processor, and two epochs carry that on."""
    stated, found = json.loads(FILE.read_text()), numbers()
    assert stated["recipe"] == RECIPE, "RECIPE was raised: renew tests/files/recipe.json"
    assert stated["numbers"].keys() == found.keys()
    for name, values in found.items():
        np.testing.assert_allclose(
            values, stated["numbers"][name], rtol=1e-4, atol=1e-4, err_msg=f"{name}: raise RECIPE"
        )


if __name__ == "__main__":
    FILE.write_text(json.dumps({"recipe": RECIPE, "numbers": numbers()}, indent=1) + "\n")
