"""A-TRICE: the adversary's step on the weights."""

from pathlib import Path

import pytest
import torch

from nvmc.training import train
from nvmc.training.methods import make_method
from nvmc.training.methods.a_trice import ATrice
from nvmc.training.methods.trice import Trice
from small_training import small_network, small_run, small_task


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_without_reach_it_is_trice(tmp_path: Path) -> None:
    source, task = small_network(tmp_path), small_task(epochs=3)
    for kind, options in (("trice", {"warm": 1}), ("a-trice", {"warm": 1, "reach": 0.0})):
        train(source, task, make_method(kind, options), output=tmp_path / f"{kind}.onnx")
    assert (tmp_path / "trice.onnx").read_bytes() == (tmp_path / "a-trice.onnx").read_bytes()


@pytest.mark.parametrize("reach", [0.05, 0.5])
def test_the_step_is_the_bound_up_the_loss(reach: float, tmp_path: Path) -> None:
    """Every weight moves by the whole bound, along the sign of its slope at the noisy point."""
    method = ATrice(warm=1, reach=reach)
    run = small_run(tmp_path, method)
    replica = run.replicas[0]
    x, y = next(run.batches(0))
    seen: list[dict[str, torch.Tensor]] = []
    call = replica.graph.forward

    def watched(x, weights=None, **rest):
        seen.append({name: weight.detach().clone() for name, weight in weights.items()})
        return call(x, weights, **rest)

    replica.graph.forward = watched
    method.loss(run, replica, x, y, generator()).backward()
    noisy, pushed = seen
    bound = replica.crossbars.spread(reach * 0.2)
    leaves = {name: weight.clone().requires_grad_() for name, weight in noisy.items()}
    run.criterion(replica(x, leaves), y).backward()
    for name, weight in leaves.items():
        step = bound[name] * weight.grad.sign()
        # One float32 rounding of the sum.
        assert torch.allclose(pushed[name], noisy[name] + step, rtol=2**-23, atol=0)


def test_a_small_step_raises_the_loss(tmp_path: Path) -> None:
    """First order: by the sum of |slope| times bound, whatever the draw."""
    run = small_run(tmp_path, Trice(warm=1))
    x, y = next(run.batches(0))
    for seed in range(20):
        losses = [
            method.loss(run, run.replicas[0], x, y, torch.Generator().manual_seed(seed)).item()
            for method in (ATrice(warm=1, reach=0.0), ATrice(warm=1, reach=0.02))
        ]
        assert losses[1] > losses[0]


def test_the_gradient_reaches_the_clean_weights_from_the_pushed_point(tmp_path: Path) -> None:
    method = ATrice(warm=1, reach=0.3)
    run = small_run(tmp_path, method)
    replica = run.replicas[0]
    x, y = next(run.batches(0))
    points: list[dict[str, torch.Tensor]] = []
    call = replica.graph.forward

    def watched(x, weights=None, **rest):
        points.append({name: weight.detach().clone() for name, weight in weights.items()})
        return call(x, weights, **rest)

    replica.graph.forward = watched
    method.loss(run, replica, x, y, generator()).backward()
    found = {name: weight.grad.clone() for name, weight in replica.graph.weights.items()}
    leaves = {name: weight.requires_grad_() for name, weight in points[1].items()}
    run.criterion(replica(x, leaves), y).backward()
    for name, leaf in leaves.items():
        assert torch.equal(found[name], leaf.grad)
