"""The example that the Python interface is promised by runs as it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nvmc

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.torch


class Tiny(torch.nn.Module):
    """One hidden layer, over digits."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc1 = torch.nn.Linear(784, 12)
        self.fc2 = torch.nn.Linear(12, 10)

    def forward(self, image: Any) -> Any:
        return self.fc2(torch.relu(self.fc1(image.flatten(1))))


def test_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("device.toml").write_text(DEVICE)
    Path("mine.toml").write_text('device = "./device.toml"\nrows = 64\ncols = 64\n')
    train, test = (nvmc.load_data("digits", split, 60) for split in ("train", "test"))
    (x, y), (xt, yt) = (train.x, train.y), (test.x, test.y)
    torch_module = Tiny()

    def my_metric(outputs: Any, labels: Any) -> Any:
        """Share of decisions that are right."""
        return (outputs.argmax(1) == labels).mean()

    target = nvmc.Target(
        "mine.toml", weight_bits=4, cell_bits=2, adc_bits=5, adc_range="calibrated"
    )
    plain = nvmc.compile(torch_module, target, example=x[:1], data=(x, y))
    robust = nvmc.train(plain, data=(x, y), epochs=1, every=0).compile(target)
    result = nvmc.simulate(plain, data=(xt, yt), runs=4, metric=my_metric)
    assert result.kpp.value == result.values.min() and result.interval.low is None
    assert 0 <= result.yield_at(0.97).low <= 1
    assert len(result.to_pandas()) == 4
    assert "\\toprule" in result.table("latex")
    swept = result.sweep(sigma=[0, 0.1, 0.2, 0.3])
    assert swept.figure("fig.pdf").read_bytes().startswith(b"%PDF")
    np.testing.assert_array_equal(swept.points[1].values, result.values)  # rram's own sigma
    tile = plain.chip(17).tile("fc1", 0).conductance_us
    assert tile.shape == (64, 12)
    compared = nvmc.compare(plain, robust, data=(xt, yt), runs=3)
    assert [one.label for one in compared.networks] == ["tiny", "tiny-hwa"]


DEVICE = """\
name = "mine"
title = "A test device"
source = "none"
levels = 4
sigma = 0.1

[conductance]
min_us = 1.0
max_us = 50.0

[[noise]]
type = "programming"
basis = "level"
"""
