"""The default: noise stronger than that of chips, clipped weights, their average, a teacher."""

from dataclasses import replace
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from scipy.special import expit, log_softmax, softmax

from nvmc.errors import ModelError, OptionError
from nvmc.training import make_method, train
from nvmc.training.draws import TorchDraw
from nvmc.training.methods.hwa import AVERAGE, LIVE, HardwareAware
from nvmc.training.preparation import canonical_network, fitted
from nvmc.training.run import Run
from nvmc.training.teacher import TEMPERATURE, Teacher
from onnx_text import proto_of
from small_training import MLP, small_network, small_run, small_target, small_task


def teacher_file(folder: Path, text: str = MLP) -> Path:
    path = folder / "teacher.onnx"
    onnx.save(proto_of(text), path)
    return path


def taught_run(folder: Path, **options: Any) -> Run:
    task = replace(small_task(), teacher=canonical_network(teacher_file(folder)))
    return small_run(folder, HardwareAware(**options), task)


def test_the_average_is_the_exponential_one_of_every_step(tmp_path: Path):
    method = HardwareAware(average=0.4)
    run = small_run(tmp_path, method, small_task(epochs=2))
    live, name = run.replicas[LIVE], "w1"
    expected = live.graph.weights[name].detach().numpy().astype(np.float64)
    share = 1 / (0.4 * 6)  # three steps an epoch
    generator = run.generator("test")
    for epoch in range(2):
        for x, y in run.batches(epoch):
            method.step(run, live, x, y, generator)
            now = live.graph.weights[name].detach().numpy().astype(np.float64)
            expected = (1 - share) * expected + share * now
    found = method.evaluated(run).graph.weights[name].detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert method.evaluated(run) is run.replicas[AVERAGE]


def test_without_an_average_the_last_step_is_kept(tmp_path: Path):
    method = HardwareAware(average=0.0)
    run = small_run(tmp_path, method)
    method.epoch(run, 0)
    live, average = run.replicas
    assert all(map(torch.equal, live.tensors().values(), average.tensors().values()))


def test_noise_is_stronger_than_that_of_chips(tmp_path: Path):
    method = HardwareAware(strength=3.0, rise=0.0)
    run = small_run(tmp_path, method, small_task(sigma=0.1))
    crossbars = run.replicas[LIVE].crossbars
    spread = crossbars.spread(0.3)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        drawn = [method.weights(run, run.replicas[LIVE], generator)["w1"] for _ in range(4000)]
    found = torch.stack(drawn).std(0)
    torch.testing.assert_close(found, spread["w1"], rtol=0.06, atol=0)
    assert method.summary(run) == pytest.approx({"training_sigma": 0.3})
    assert HardwareAware(sigma=0.05).summary(run) == {"training_sigma": 0.05}


def test_noise_grows_in_eighths_over_the_first_half(tmp_path: Path):
    """96 images in batches of 6 over two epochs: 32 steps, of which 16 have growing noise."""
    method = HardwareAware(strength=2.0, average=0.0)
    task = small_task(sigma=0.1, epochs=2, batch=6, rate=1e-30, clip=None)
    run = small_run(tmp_path, method, task)
    live, generator = run.replicas[LIVE], torch.Generator()
    shares: list[float] = []
    for epoch in range(2):
        for x, y in run.batches(epoch):
            with torch.no_grad():
                clean = live.crossbars.quantized()["w1"]
                noisy = method.weights(run, live, generator.manual_seed(0))["w1"]
                whole = live.crossbars.sampled(0.2, TorchDraw(generator.manual_seed(0)))["w1"]
            shares.append(float((noisy - clean).norm() / (whole - clean).norm()))
            method.step(run, live, x, y, generator)
    growing = [floor(step / 2) / 8 for step in range(16)]
    assert shares == pytest.approx(growing + 16 * [1.0], abs=1e-5)


def test_a_device_without_a_sigma_is_trained_with_its_own_noise(tmp_path: Path):
    task = small_task(small_target("ideal"), sigma=None)
    outcome = train(small_network(tmp_path), task, HardwareAware(), output=tmp_path / "o.onnx")
    assert outcome.summary == {}


def test_weights_are_clipped_unless_they_are_to_stay(tmp_path: Path):
    for clip, width in (("auto", 1.5), (None, None), (2.0, 2.0)):
        output = tmp_path / "out.onnx"
        task = small_task(epochs=1, clip=clip)
        outcome = train(small_network(tmp_path), task, HardwareAware(), output=output)
        assert outcome.clip == width
    assert fitted(small_task(), canonical_network(small_network(tmp_path)), make_method("trice"))
    plain = train(small_network(tmp_path), small_task(epochs=1), make_method("erm"), output=output)
    assert plain.clip is None


@pytest.mark.parametrize("holds", ["class scores", "one score", "values"])
def test_the_distance_to_the_teacher_is_that_of_its_formula(tmp_path: Path, holds: Any):
    model = canonical_network(teacher_file(tmp_path))
    axis = 1 if holds == "class scores" else None
    task = small_task()
    reading = replace(task.read(model), holds=holds, class_axis=axis)
    teacher = Teacher(model, "y", reading, "cpu")
    x = torch.tensor(task.train.x[:20])
    scores = torch.randn((20, 3), generator=torch.Generator().manual_seed(1))
    taught, found = teacher(x).double().numpy(), scores.double().numpy()
    if holds == "class scores":
        p = softmax(taught / TEMPERATURE, 1)
        q = log_softmax(found / TEMPERATURE, 1)
        expected = TEMPERATURE**2 * (p * (np.log(p) - q)).sum(1).mean()
    elif holds == "one score":
        p, q = expit(taught / TEMPERATURE), expit(found / TEMPERATURE)
        each = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
        expected = TEMPERATURE**2 * each.mean()
    else:
        expected = ((taught - found) ** 2).mean() / taught.var()
    assert float(teacher.loss(scores, x)) == pytest.approx(expected, rel=1e-4)
    assert float(teacher.loss(teacher(x), x)) == pytest.approx(0, abs=1e-5)


def test_the_loss_is_shared_between_labels_and_teacher(tmp_path: Path):
    run = taught_run(tmp_path)
    (x, y), *_ = run.batches(0)
    generator, (live, _) = torch.Generator(), run.replicas
    parts = [
        float(HardwareAware(distilled=d, sigma=0.0).loss(run, live, x, y, generator).detach())
        for d in (0.0, 1.0, 0.25)
    ]
    assert parts[2] == pytest.approx(0.75 * parts[0] + 0.25 * parts[1], rel=1e-5)
    assert run.teacher is not None
    scores = live(x, live.crossbars.quantized())
    assert parts[1] == pytest.approx(float(run.teacher.loss(scores, x).detach()), rel=1e-5)


def test_a_teacher_helps_where_labels_are_wrong(tmp_path: Path):
    """Half of the labels are drawn anew; a teacher that was trained on the right ones is not."""
    clean = small_task(epochs=40, sigma=0.0)
    good = tmp_path / "good.onnx"
    train(small_network(tmp_path), clean, make_method("erm"), output=good)
    draw = np.random.default_rng(0)
    y = np.where(draw.random(96) < 0.6, draw.integers(3, size=96), clean.train.y)
    noisy = replace(clean, train=replace(clean.train, y=y), sigma=0.2)
    noisy = replace(noisy, settings=noisy.settings.model_copy(update={"epochs": 20}))
    taught = replace(noisy, teacher=canonical_network(good))
    found = [
        train(small_network(tmp_path), task, HardwareAware(**options), output=tmp_path / "o")
        for task, options in ((noisy, {}), (taught, {"distilled": 0.9}))
    ]
    assert found[1].after.kpp > found[0].after.kpp + 0.03


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("float[N,8] x", "float[N,9] x", "does not run on the inputs"),
        ("float[12,3] w2, float[3] b2", "float[12,4] w2, float[4] b2", "a teacher with the same"),
    ],
)
def test_a_teacher_of_other_data_is_refused(tmp_path: Path, old: str, new: str, told: str):
    text = MLP.replace(old, new).replace("float[N,3] y", "float[N,K] y")
    if "x" in new:
        text = text.replace("float[8,12] w1", "float[9,12] w1")
    task = replace(small_task(), teacher=canonical_network(teacher_file(tmp_path, text)))
    with pytest.raises(ModelError, match=told):
        train(small_network(tmp_path), task, HardwareAware(), output=tmp_path / "out.onnx")


def test_methods_of_papers_take_no_teacher(tmp_path: Path):
    task = replace(small_task(), teacher=canonical_network(teacher_file(tmp_path)))
    with pytest.raises(OptionError, match="'erm' takes no teacher; use hwa"):
        train(small_network(tmp_path), task, make_method("erm"), output=tmp_path / "out.onnx")


def test_probabilities_are_compared_as_the_scores_that_they_come_from(tmp_path: Path):
    """Both networks write their softmax as nodes of their own, so that none stands last."""
    text = MLP.replace("y = Gemm (a, w2, b2)", "z = Gemm (a, w2, b2) e = Exp (z)").replace(
        "}", "axes = Constant <value_ints = [1]> () s = ReduceSum (e, axes) y = Div (e, s) }"
    )
    plain, ended = (canonical_network(teacher_file(tmp_path, network)) for network in (MLP, text))
    task = small_task()
    reading = task.read(plain)
    x = torch.tensor(task.train.x[:20])
    scores = torch.randn((20, 3), generator=torch.Generator().manual_seed(1))
    wanted = Teacher(plain, "y", reading, "cpu").loss(scores, x)
    found = Teacher(ended, "y", reading, "cpu").loss(scores.softmax(1), x, probable=True)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    run = small_run(tmp_path, HardwareAware(), replace(task, teacher=plain))
    assert not run.probable
    with pytest.raises(ModelError, match="of the teacher are probabilities"):
        small_run(tmp_path, HardwareAware(), replace(task, teacher=ended))


def test_a_share_for_the_teacher_needs_one(tmp_path: Path):
    with pytest.raises(
        OptionError, match=r"distilled is 0\.3, but there is no teacher; give --tea"
    ):
        HardwareAware(distilled=0.3).check(small_task())
    HardwareAware(distilled=0).check(small_task())
    HardwareAware().check(small_task())
    taught = replace(small_task(), teacher=canonical_network(teacher_file(tmp_path)))
    make_method("hwa", {"distilled": "0.3"}).check(taught)
