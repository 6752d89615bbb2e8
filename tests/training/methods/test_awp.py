"""AWP: the ball around each weight, a loss that rises in it, and nothing left behind."""

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from nvmc.training.methods.awp import Awp, ascended, projected
from small_training import small_run, small_task


@given(st.integers(0, 2**32 - 1), st.floats(0, 3), st.floats(0, 2))
def test_projection_is_the_nearest_point_of_the_ball(seed: int, size: float, gamma: float):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn((3, 4), generator=generator, dtype=torch.float64)
    direction = torch.randn((3, 4), generator=generator, dtype=torch.float64)
    v = size * direction
    found = projected(v, weight, gamma)
    radius = gamma * weight.norm()
    assert found.norm() <= radius * (1 + 1e-12)
    if v.norm() <= radius:
        assert torch.equal(found, v)
    else:  # the nearest point lies on the ray to v
        torch.testing.assert_close(found, v / v.norm() * radius)


def test_one_step_from_a_linear_loss_is_its_direction_on_the_sphere():
    """loss = <a, w>: the worst v of norm gamma |w| is gamma |w| a / |a|."""
    a, w = torch.tensor([[1.0, -2.0], [2.0, 0.0]]), torch.full((2, 2), 3.0)
    found = ascended(lambda at: (a * at["w"]).sum(), {"w": w}, gamma=0.1, steps=3, rate=0.2)
    torch.testing.assert_close(found["w"], 0.1 * 6.0 * a / 3.0)


def test_more_steps_find_a_worse_point_of_a_curved_loss():
    def loss(at):
        return (at["w"] ** 2 @ torch.tensor([1.0, 8.0, 1.0])).sum()

    w = torch.tensor([[3.0, 1.0, 2.0]])
    reached = [
        float(loss({"w": w + ascended(loss, {"w": w}, 1.0, steps, 0.3)["w"]}))
        for steps in (0, 1, 3, 30)
    ]
    assert reached == sorted(reached) and reached[0] < reached[-1]
    # In the ball |v| = |w| the maximum is near the stiff axis: found by brute force over angles.
    turns = torch.randn((200_000, 3), generator=torch.Generator().manual_seed(0))
    points = w + turns / turns.norm(dim=1, keepdim=True) * w.norm()
    best = float((points**2 @ torch.tensor([1.0, 8.0, 1.0])).max())
    assert reached[-1] > 0.999 * best


def test_vectors_and_unused_weights_stay():
    weights = {"bias": torch.ones(3), "unused": torch.ones(2, 2), "w": torch.ones(2, 2)}
    found = ascended(lambda at: at["w"].sum() + at["bias"].sum(), weights, 0.5, 1, 0.5)
    assert set(found) == {"unused", "w"}
    assert not found["unused"].any()
    torch.testing.assert_close(found["w"], torch.full((2, 2), 0.5))


@pytest.mark.parametrize(("gamma", "steps"), [(0.01, 1), (0.1, 4)])
def test_the_loss_that_is_descended_is_higher_than_the_plain_one(
    tmp_path: Path, gamma: float, steps: int
):
    run = small_run(tmp_path, Awp(gamma=gamma, steps=steps))
    replica = run.replicas[0]
    x, y = next(run.batches(0))
    plain = run.criterion(replica(x, replica.crossbars.quantized()), y)
    method = Awp(gamma=gamma, steps=steps)
    assert method.loss(run, replica, x, y, run.generator("a")) > plain


def test_the_gradient_is_that_of_the_loss_at_the_perturbed_point(tmp_path: Path):
    """With v fixed, d loss / d w is the gradient at w_q + v, straight through the rounding."""
    method = Awp(gamma=0.2)
    run = small_run(tmp_path, method)
    replica = run.replicas[0]
    x, y = next(run.batches(0))
    weights = {name: w.detach() for name, w in replica.crossbars.quantized().items()}
    v = ascended(lambda at: run.criterion(replica(x, at), y), weights, 0.2, 1, 0.2)
    moved = {name: (w + v[name]).requires_grad_() for name, w in weights.items()}
    expected = torch.autograd.grad(run.criterion(replica(x, moved), y), list(moved.values()))
    loss = method.loss(run, replica, x, y, run.generator("a"))
    clean = [replica.graph.weights[name] for name in moved]
    for found, wanted in zip(torch.autograd.grad(loss, clean), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_a_step_leaves_the_weights_at_a_plain_step_from_w(tmp_path: Path):
    """SGD moves w by -rate times the gradient at w + v; v itself is gone."""
    method = Awp(gamma=0.2)
    task = small_task(optimizer="sgd", momentum=0.0, decay=0.0, rate=0.5, schedule="constant")
    run = small_run(tmp_path, method, task)
    replica = run.replicas[0]
    x, y = next(run.batches(0))
    before = {name: w.detach().clone() for name, w in replica.graph.weights.items()}
    loss = method.loss(run, replica, x, y, run.generator("a"))
    names = list(before)
    gradients = torch.autograd.grad(loss, [replica.graph.weights[name] for name in names])
    method.step(run, replica, x, y, run.generator("a"))
    for name, gradient in zip(names, gradients, strict=True):
        expected = before[name] - 0.5 * gradient
        np.testing.assert_allclose(
            replica.graph.weights[name].detach().numpy(), expected.numpy(), atol=1e-6
        )


def test_no_radius_is_plain_training(tmp_path: Path):
    run = small_run(tmp_path, Awp(gamma=0.0))
    replica = run.replicas[0]
    x, y = next(run.batches(0))
    plain = run.criterion(replica(x, replica.crossbars.quantized()), y)
    torch.testing.assert_close(Awp(gamma=0.0).loss(run, replica, x, y, run.generator("a")), plain)
