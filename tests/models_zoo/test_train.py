"""Training repeats itself, and what is exported is what was trained."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from nvmc.data import Dataset, load_data
from nvmc.models import NETWORKS, ZOO
from nvmc.models import train as training
from nvmc.models.augment import Affine
from nvmc.models.export import export_onnx

NAMES = ["lenet5-digits", "mlp3-digits"]


def short(name: str) -> training.Recipe:
    return replace(training.RECIPES[name], epochs=1)


def test_every_network_has_a_recipe_and_every_file_too() -> None:
    assert ZOO.keys() <= training.RECIPES.keys()
    assert {recipe.network for recipe in training.RECIPES.values()} == NETWORKS.keys()
    assert {name for row in NETWORKS.values() for name in row.pretrained} == ZOO.keys()


@pytest.mark.parametrize("name", NAMES)
def test_training_repeats_bit_for_bit(name: str) -> None:
    first = training.train(short(name)).state_dict()
    torch.manual_seed(99)  # the global generator must not matter
    second = training.train(short(name)).state_dict()
    other = training.train(replace(short(name), seed=1)).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_one_epoch_learns() -> None:
    recipe = short("lenet5-digits")
    score = training.evaluate(training.train(recipe), recipe, "validation")
    # Guessing hits Binomial(179, 0.1) images: more than 60 has a chance below 1e-17; and scores
    # ln 10 = 2.303.
    assert (score.hits or 0) > 60 and score.loss < np.log(10)


def test_training_never_sees_the_test_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are fitted to `train` alone and chosen on `validation`."""
    asked: list[str] = []

    def load(spec: str, split: str) -> Dataset:
        asked.append(split)
        return load_data(spec, split)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "load_data", load)
    training.train(short("mlp3-digits"))
    assert asked == ["train", "validation"]


def test_without_augmentation_images_stay() -> None:
    moved_by = Affine(turn=0.0, scale=0.0, shift=0.0)
    images = torch.tensor(load_data("digits", limit=5).x)
    moved = moved_by(images, torch.Generator().manual_seed(0))
    # Grid points k pixels from the edge are computed to some 4 float32 roundings of numbers below
    # 28; neighbours differ by at most 1, so the sample moves by at most that in each direction.
    assert torch.abs(moved - images).max() <= 2 * 4 * 28 * 2**-24


def test_shift_stays_within_its_bound() -> None:
    moved_by = Affine(turn=0.0, scale=0.0, shift=3.0)
    images = torch.rand((64, 1, 28, 28), generator=torch.Generator().manual_seed(1))
    moved = moved_by(images, torch.Generator().manual_seed(0))
    for image, other in zip(images[:, 0], moved[:, 0], strict=True):
        # Bilinear values lie between the extremes of the 7 x 7 pixels around.
        around = torch.nn.functional.unfold(image[None, None], 7, padding=3)[0].reshape(49, 28, 28)
        inner = (slice(4, 24), slice(4, 24))
        assert bool((other[inner] <= around.amax(0)[inner] + 1e-5).all())
        assert bool((other[inner] >= around.amin(0)[inner] - 1e-5).all())
    assert not torch.equal(moved, images)


@pytest.mark.parametrize("name", NAMES)
def test_export_computes_what_torch_computes(name: str, tmp_path: Path) -> None:
    model = NETWORKS[training.RECIPES[name].network].module().eval()
    path = tmp_path / "model.onnx"
    export_onnx(model, (1, 28, 28), path)
    assert list(tmp_path.iterdir()) == [path]
    images = load_data("digits", limit=20).x
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": images})
    with torch.no_grad():
        expected = model(torch.tensor(images)).numpy()
    # Sums of at most 784 products, in another order, through at most five layers whose gains at
    # torch's default initialisation are below 1: 784 * 2^-24 a layer, relative to outputs below 1.
    assert np.abs(np.asarray(logits) - expected).max() <= 5 * 784 * 2**-24


def test_command_writes_the_file_and_says_how_good_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "short.onnx"
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        training.main(["mlp3-digits", "--epochs", "1", "-o", str(path)])
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
    printed = capsys.readouterr().out
    assert "test: " in printed and " of 531 correct" in printed
    assert hashlib.sha256(path.read_bytes()).hexdigest() in printed


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_full_recipe_reaches_the_shipped_accuracy(name: str) -> None:
    recipe = training.RECIPES[name]
    score = training.evaluate(training.train(recipe), recipe, "test")
    # Another machine's kernels round otherwise, and training amplifies that: then the hits are
    # those of another seed. Two binomial counts of 531 at an error rate of 1.5 % differ by more
    # than 6 sqrt(2 * 531 * 0.015 * 0.985) = 23.8 with a chance below 1e-8.
    assert abs((score.hits or 0) - (ZOO[name].correct or 0)) <= 23
