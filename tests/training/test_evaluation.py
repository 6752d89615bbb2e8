"""What a network is said to be worth in training, beside what `nvmc simulate` says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nvmc.compiler import compile_model
from nvmc.evaluation.simulation import simulate
from nvmc.training import evaluation
from nvmc.training.evaluation import POPULATION, judge, judge_source
from nvmc.training.preparation import canonical_network
from small_training import blobs, small_network, small_task


@pytest.mark.parametrize("chips", [1, 2, 3, 4])
def test_every_chip_that_is_asked_for_counts(tmp_path: Path, chips: int) -> None:
    """The best of so few chips: one more or one less is another number."""
    source = small_network(tmp_path)
    task = small_task(sigma=1.0, chips=chips, percentile=99.0, seed=5)
    compiled = compile_model(source, task.target, output=tmp_path / "net.nvmc")
    options: dict[str, Any] = {"data": task.validation, "sigma": 1.0, "seed": POPULATION + 5}
    values = simulate(compiled, runs=4, **options).values
    assert len(set(values)) == 4
    found = judge(canonical_network(source), task)
    assert found.kpp == max(values[:chips])


def test_a_source_is_rounded_as_its_training_images_want(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranges come from 512 training images, none of them held out."""
    seen: list[Any] = []
    calibrate = evaluation.calibrate

    def spy(model: bytes, tensors: Any, images: Any) -> Any:
        seen.extend(images.values())
        return calibrate(model, tensors, images)

    monkeypatch.setattr(evaluation, "calibrate", spy)
    task = replace(small_task(activation_bits=4, chips=2, percentile=50.0), train=blobs(600, 1))
    judge_source(canonical_network(small_network(tmp_path)), task)
    (images,) = seen
    assert np.array_equal(images, task.train.x[:512])
