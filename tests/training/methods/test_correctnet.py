"""CorrectNet: the penalty against singular values, lambda against the paper's closed form."""

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from nvmc.hardware.devices import parse_noise
from nvmc.training.methods.correctnet import CorrectNet, amplification, penalty
from nvmc.training.preparation import canonical_network, prepared_network
from nvmc.training.run import Run
from onnx_text import proto_of
from small_training import small_run, small_target, small_task


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5), (1, 6), (3, 4, 7)])
@pytest.mark.parametrize("bound", [0.3, 1.0])
def test_penalty_is_that_of_the_singular_values(shape: tuple[int, ...], bound: float):
    weight = random(*shape)
    singular = np.linalg.svd(weight.numpy(), compute_uv=False)
    expected = ((singular**2 - bound**2) ** 2).sum()
    assert float(penalty([weight], bound)) == pytest.approx(expected, rel=1e-12)


def test_tall_and_wide_differ_by_a_constant():
    """|W^T W - b^2 I|^2 and |W W^T - b^2 I|^2 differ by b^4 times the difference of their sizes."""
    weight, bound = random(3, 8), 0.7
    wide = ((weight.mT @ weight - bound**2 * torch.eye(8)) ** 2).sum()
    assert float(wide) == pytest.approx(float(penalty([weight], bound)) + 5 * bound**4)


def test_gradient_of_the_penalty():
    weight = random(4, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: penalty([w, w[:2]], 0.5), (weight,))


def test_descending_the_penalty_brings_all_singular_values_to_the_bound():
    weight = random(4, 6).requires_grad_()
    optimizer = torch.optim.SGD([weight], 0.02)
    for _ in range(2000):
        optimizer.zero_grad()
        penalty([weight], 0.8).backward()
        optimizer.step()
    torch.testing.assert_close(
        torch.linalg.svdvals(weight), torch.full((4,), 0.8, dtype=torch.float64)
    )


@pytest.mark.parametrize("sigma", [0.1, 0.4])
def test_bound_under_log_normal_variation_is_the_papers(tmp_path: Path, sigma: float):
    """16 chips of 132 weights: mean and spread of e^theta to a few percent."""
    device = small_target("ideal").device
    noisy = device.model_copy(update={"noise": (parse_noise(f"lognormal-drift:sigma={sigma}"),)})
    target = small_target().on(noisy)
    run = small_run(tmp_path, CorrectNet(k=2.0), small_task(target, None))
    s = math.exp(sigma**2)
    expected = 2 / (math.exp(sigma**2 / 2) + 3 * math.sqrt((s - 1) * s))
    assert run.memory["bound"] == pytest.approx(expected, rel=0.1)


def test_bound_under_programming_errors_is_their_relative_spread(tmp_path: Path):
    """Rram4, sign-magnitude: every weight deviates by s sigma sqrt(1 + 4^2), so m = 1."""
    run = small_run(tmp_path, CorrectNet(), small_task(sigma=0.2))
    crossbars = run.replicas[0].crossbars
    held = [crossbars.held(name) for name in crossbars.names]
    variance = sum(float(h.unit**2) * 0.2**2 * 17 * h.ideal.numel() for h in held)
    spread = math.sqrt(variance / sum(float((h.ideal**2).sum()) for h in held))
    # 2,112 deviations tell their standard deviation to 1 / sqrt(2 * 2112) = 1.5 %, m to less.
    assert amplification(run, run.replicas[0]) == pytest.approx(1 + 3 * spread, rel=0.08)


def test_chips_without_noise_may_amplify_by_k(tmp_path: Path):
    run = small_run(tmp_path, CorrectNet(k=0.5), small_task(small_target("ideal"), None))
    assert run.memory["bound"] == pytest.approx(0.5, rel=1e-6)


def test_loss_is_criterion_plus_penalty_of_the_crossbars(tmp_path: Path):
    method = CorrectNet(beta=0.3, bound=0.6)
    run = small_run(tmp_path, method)
    replica = run.replicas[0]
    x, y = next(run.batches(0))
    weights = replica.crossbars.quantized()
    expected = run.criterion(replica(x, weights), y) + 0.3 * penalty(weights.values(), 0.6)
    found = method.loss(run, replica, x, y, run.generator("a"))
    torch.testing.assert_close(found, expected)


def test_the_regularisation_lowers_the_spectral_norms(tmp_path: Path):
    norms = {}
    for beta in (0.0, 0.1):
        method = CorrectNet(beta=beta, bound=0.5)
        run = small_run(tmp_path, method)
        for epoch in range(10):
            method.epoch(run, epoch)
        norms[beta] = method.summary(run)["spectral_norms"]
    weights = run.replicas[0].crossbars.quantized()
    for name, norm in norms[0.1].items():
        assert norm < norms[0.0][name]
        exact = np.linalg.norm(weights[name].detach().numpy(), 2)
        assert norm == pytest.approx(float(exact), rel=1e-5)


def test_the_bound_is_kept_with_the_run(tmp_path: Path):
    run = small_run(tmp_path, CorrectNet())
    state = CorrectNet().state(run)
    run.memory["bound"] = 0.0
    CorrectNet().restore(run, state, 1)
    assert run.memory["bound"] == state.bound > 0


def test_a_shared_weight_counts_once(tmp_path: Path):
    proto = proto_of(
        """g (float[N,8] x) => (float[N,3] y) <float[8,8] w, float[8,3] v> {
          a = MatMul (x, w)
          r = Relu (a)
          b = MatMul (r, w)
          y = MatMul (b, v)
        }"""
    )
    onnx.save(proto, tmp_path / "shared.onnx")
    method, task = CorrectNet(), small_task()
    model = prepared_network(canonical_network(tmp_path / "shared.onnx"), task, method)
    run = Run(model, task, 1)
    method.begin(run)
    assert set(run.memory["layers"]) == {"w", "v"}
