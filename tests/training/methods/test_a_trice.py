"""A-TRICE: the adversary's step on the weights."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from nvmc.training import train
from nvmc.training.method import Method
from nvmc.training.methods import make_method
from nvmc.training.methods.a_trice import ATrice
from nvmc.training.methods.trice import Trice
from nvmc.training.preparation import canonical_network, prepared_network
from nvmc.training.run import Run
from onnx_text import proto_of
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


NORMALISED = """g (float[N,8] x) => (float[N,3] y)
<float[8,12] w1, float[12] b1, float[12] s, float[12] t, float[12] m, float[12] v, float[12,3] w2> {
  h = Gemm (x, w1, b1)
  n = BatchNormalization (h, s, t, m, v)
  y = MatMul (n, w2)
}"""


def normalised_run(folder: Path, method: Method) -> Run:
    proto = proto_of(NORMALISED)
    for tensor in proto.graph.initializer:
        if tensor.name == "v":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.ones(12, np.float32), "v"))
    onnx.save(proto, folder / "bn.onnx")
    task = small_task()
    network = prepared_network(canonical_network(folder / "bn.onnx"), task, method)
    run = Run(network, task, method.replicas)
    method.begin(run)
    return run


def test_the_adversary_s_pass_leaves_running_statistics_alone(tmp_path: Path) -> None:
    """After one step they are those of one pass at the pushed point, as in training there."""
    method = ATrice(warm=1, reach=0.3)
    run = normalised_run(tmp_path, method)
    replica = run.replicas[0]
    replica.train()
    x, y = next(run.batches(0))
    points: list[dict[str, torch.Tensor]] = []
    call = replica.graph.forward

    def watched(x, weights=None, **rest):
        points.append({name: weight.detach().clone() for name, weight in weights.items()})
        return call(x, weights, **rest)

    replica.graph.forward = watched
    method.step(run, replica, x, y, generator())
    other = normalised_run(tmp_path, method).replicas[0]
    other.train()
    before = [buffer.clone() for buffer in other.graph.buffers()]
    other(x, points[1])
    for found, expected in zip(replica.graph.buffers(), other.graph.buffers(), strict=True):
        assert torch.equal(found, expected)
    assert any(
        not torch.equal(old, new) for old, new in zip(before, other.graph.buffers(), strict=True)
    )
