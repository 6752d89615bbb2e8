"""Negative feedback training: the corrected scores, the noise of each forward, the heads."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional

from nvmc.errors import OptionError, TrainingError
from nvmc.training.draws import TorchDraw
from nvmc.training.methods.neft import Neft, fed_back, pooled, snapshot_values
from nvmc.training.outcome import Epoch
from nvmc.training.resuming import read_run, write_run
from nvmc.training.run import Run
from nvmc.training.train import train
from onnx_text import model_of
from small_training import small_network, small_run, small_target, small_task

STEPS_FIRST = """g (float[N,4,8] x) => (float[N,3] y)
<float[8,6] w1, float[6,5] w2, float[5,3] w3, int64[1] axis = {0}> {
  s = Transpose <perm = [1,0,2]> (x)
  h = MatMul (s, w1)
  t = Tanh (h)
  m = ReduceMean <keepdims = 0> (t, axis)
  g = MatMul (m, w2)
  u = Tanh (g)
  y = MatMul (u, w3)
}"""
CONVNET = """g (float[N,1,8,8] x) => (float[N,3] y)
<float[4,1,3,3] w1, float[4] g1, float[4] b1, float[4] m1, float[4] v1 = {1.0, 1.0, 1.0, 1.0},
 float[5,4,3,3] w2, float[45,6] w3, float[6] b3, float[6,3] w4> {
  c1 = Conv <pads = [1,1,1,1]> (x, w1)
  n1 = BatchNormalization (c1, g1, b1, m1, v1)
  r1 = Relu (n1)
  p1 = MaxPool <kernel_shape = [2,2], strides = [2,2]> (r1)
  c2 = Conv <pads = [0,0,1,1]> (p1, w2)
  f = Flatten (c2)
  h = MatMul (f, w3)
  a = Add (h, b3)
  t = Tanh (a)
  y = MatMul (t, w4)
}"""


def test_scores_are_corrected_by_decaying_shares():
    o, a, b, c = torch.randn((4, 2, 3), generator=torch.Generator().manual_seed(0))
    expected = (o - 0.5 * (a + b / 10 + c / 100)) / 4
    torch.testing.assert_close(fed_back(o, [a, b, c], 0.5), expected)
    torch.testing.assert_close(fed_back(o, [], 0.5), o)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 3, 7, 5), (2, 3, 4, 9), (2, 3, 2, 1)])
def test_images_are_averaged_as_torch_does(shape: tuple[int, ...]):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    sizes = tuple(min(size, 4) for size in shape[2:])
    expected = functional.adaptive_avg_pool2d(values, sizes).flatten(1)
    torch.testing.assert_close(pooled(values), expected)


def test_rows_stay_as_they_are():
    values = torch.arange(24.0).reshape(2, 3, 4)
    assert torch.equal(pooled(values), values.flatten(1))


def test_snapshots_are_behind_activations_and_evenly_spread():
    model = model_of(CONVNET)
    assert snapshot_values(model, 3) == ["r1", "c2", "t"]
    assert snapshot_values(model, 9) == ["r1", "c2", "t"]
    assert snapshot_values(model, 2) == ["r1", "c2"]
    assert snapshot_values(model, 1) == ["r1"]


def test_a_network_of_one_layer_has_no_snapshot():
    model = model_of("g (float[N,4] x) => (float[N,3] y) <float[4,3] w> {y = MatMul (x, w)}")
    with pytest.raises(TrainingError, match="ovf"):
        snapshot_values(model, 3)


def test_oriented_forwards_see_more_noise(tmp_path: Path):
    """The loss against its own definition, the draws in the same order."""
    method = Neft(beta=0.5, offsets=(0.4, 0.1))
    run = small_run(tmp_path, method)
    replica, device = run.replicas[0], run.task.target.device
    x, y = next(run.batches(0))
    draws = TorchDraw(run.generator("a"))
    outputs = [
        replica(x, replica.crossbars.programmed(device.sources(sigma), draws))
        for sigma in (0.2, 0.6, 0.30000000000000004)
    ]
    expected = functional.cross_entropy((outputs[0] - 0.5 * (outputs[1] + 0.1 * outputs[2])) / 3, y)
    found = method.loss(run, replica, x, y, run.generator("a"))
    torch.testing.assert_close(found, expected)
    spreads = [(other - outputs[0]).std().item() for other in outputs[1:]]
    assert spreads[0] > spreads[1]


def test_no_feedback_is_noise_injection_at_a_lower_temperature(tmp_path: Path):
    method = Neft(beta=0.0)
    run = small_run(tmp_path, method)
    replica = run.replicas[0]
    x, y = next(run.batches(0))
    noisy = method.weights(run, replica, run.generator("a"))
    expected = functional.cross_entropy(replica(x, noisy) / 4, y)
    torch.testing.assert_close(method.loss(run, replica, x, y, run.generator("a")), expected)


def test_heads_read_the_snapshots(tmp_path: Path):
    method = Neft(variant="irs", beta=0.3, hidden=5)
    run = small_run(tmp_path, method)
    replica = run.replicas[0]
    x, y = next(run.batches(0))
    assert run.memory["names"] == ["a"]
    (head,) = run.memory["heads"]
    w1, b1, w2, b2 = (part.detach() for part in head)
    assert [tuple(part.shape) for part in head] == [(5, 12), (5,), (3, 5), (3,)]
    noisy = method.weights(run, replica, run.generator("a"))
    values = replica.values(x, ("a",), noisy)
    snapshot = torch.relu(values["a"] @ w1.mT + b1) @ w2.mT + b2
    expected = functional.cross_entropy((values["y"] - 0.3 * snapshot) / 2, y)
    torch.testing.assert_close(method.loss(run, replica, x, y, run.generator("a")), expected)


def test_heads_are_drawn_as_he_says(tmp_path: Path):
    run = small_run(tmp_path, Neft(variant="irs"))
    ((first, bias, last, offset),) = run.memory["heads"]
    # 512 x 12 draws tell their spread to 1 / sqrt(2 * 6144) = 0.9 %.
    assert first.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.04)
    assert last.std().item() == pytest.approx((2 / 3) ** 0.5, rel=0.08)
    assert not bias.any() and not offset.any()


def test_heads_train_along_and_are_kept_with_the_run(tmp_path: Path):
    method, task = Neft(variant="irs", hidden=5), small_task(every=1)
    run = small_run(tmp_path, method, task)
    before = [part.detach().clone() for part in run.memory["heads"][0]]
    method.epoch(run, 0)
    after = [part.detach().clone() for part in run.memory["heads"][0]]
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    identity, best = {"seed": "0"}, run.replicas[0].tensors()
    epoch = Epoch(epoch=1, loss=0.5, kpp=0.5, best=True, seconds=0.1)
    write_run(tmp_path / "checkpoint", identity, run, method, [epoch], best)
    fresh = small_run(tmp_path, method, task)
    read_run(tmp_path / "checkpoint", identity, fresh, method)
    for part, expected in zip(fresh.memory["heads"][0], after, strict=True):
        assert torch.equal(part, expected)
    kept = fresh.memory["optimizer"].state_dict()["state"]
    assert all(float(entry["step"]) == 3 for entry in kept.values())


def test_heads_follow_the_schedule(tmp_path: Path):
    method = Neft(variant="irs", hidden=5)
    run = small_run(tmp_path, method)
    replica = run.replicas[0]
    rates: list[float] = []
    for x, y in run.batches(0):
        rates.append(replica.optimizer.param_groups[0]["lr"])
        method.step(run, replica, x, y, run.generator("noise"))
        assert run.memory["optimizer"].param_groups[0]["lr"] == rates[-1]
    assert len(set(rates)) == len(rates) > 1


def test_a_convolutional_network_has_heads_on_images(tmp_path: Path):
    model = model_of(CONVNET)
    task = small_task()
    generator = np.random.default_rng(0)
    x = generator.standard_normal((64, 1, 8, 8)).astype(np.float32)
    data = type(task.train)("images", x, generator.integers(3, size=64))
    task = type(task)(task.target, 0.1, data, data, task.settings)
    run = Run(model, task, 1)
    method = Neft(variant="irs", hidden=4)
    method.begin(run)
    shapes = [tuple(head[0].shape) for head in run.memory["heads"]]
    assert shapes == [(4, 4 * 4 * 4), (4, 5 * 3 * 3), (4, 6)]
    assert np.isfinite(method.epoch(run, 0))


@pytest.mark.parametrize("variant", ["ovf", "irs"])
def test_defaults_are_the_authors(variant: str, tmp_path: Path):
    method = Neft(variant=variant)
    run = small_run(tmp_path, method)
    replica = run.replicas[0]
    x, y = next(run.batches(0))
    explicit = Neft(variant=variant, beta={"ovf": 1e-3, "irs": 1e-2}[variant])
    losses = [m.loss(run, replica, x, y, run.generator("a")) for m in (method, explicit)]
    assert losses[0] == losses[1]
    assert method.offsets == (0.15, 0.10, 0.05)


def test_ovf_needs_a_sigma_to_add_to(tmp_path: Path):
    task = small_task(small_target("ideal"), None)
    with pytest.raises(OptionError):
        Neft().check(task)
    Neft(variant="irs").check(task)


def test_what_is_written_has_no_heads(tmp_path: Path):
    source = small_network(tmp_path)
    train(source, small_task(epochs=1), Neft(variant="irs", hidden=4), output=tmp_path / "out.onnx")
    first, second = (onnx.load(path).graph for path in (source, tmp_path / "out.onnx"))
    assert [n.name for n in first.node] == [n.name for n in second.node]
    assert {t.name for t in first.initializer} == {t.name for t in second.initializer}


def test_heads_want_one_label_an_image():
    task = small_task()
    dense = replace(task, train=replace(task.train, y=np.zeros((96, 4, 4), np.int64)))
    with pytest.raises(TrainingError, match="use variant=ovf"):
        Neft(variant="irs").check(dense)
    Neft(variant="ovf").check(dense)


def test_heads_stand_where_every_row_is_an_image():
    """`t` has the steps of a sequence along its first axis."""
    task = small_task()
    x = np.random.default_rng(0).standard_normal((96, 4, 8)).astype(np.float32)
    data = replace(task.train, x=x)
    run = Run(model_of(STEPS_FIRST), replace(task, train=data, validation=data), 1)
    method = Neft(variant="irs", hidden=4)
    method.begin(run)
    assert run.memory["names"] == ["u"]
    assert np.isfinite(method.epoch(run, 0))
