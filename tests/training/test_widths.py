"""Learned widths: the gradient of LSQ with noise, and what training does with it."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from nvmc.training import make_method, train
from nvmc.training.draws import TorchDraw
from nvmc.training.methods.gaussian import NoiseInjection
from nvmc.training.widths import FIRST
from small_training import small_network, small_run, small_target, small_task


@pytest.mark.parametrize("per_channel", [False, True])
def test_the_gradient_is_that_of_cells_along_their_reach(tmp_path: Path, per_channel: bool):
    """With code and error in code steps held: cells = r (q + e)/(2^H - 1), w as w inside."""
    target = small_target(per_channel=per_channel)
    run = small_run(tmp_path, NoiseInjection(), small_task(target, sigma=0.3, clip="learned"))
    (replica,) = run.replicas
    assert replica.widths is not None
    with torch.no_grad():  # so that some weights lie at the end of their range
        for number in ("0", "1"):
            getattr(replica.widths, number).sub_(0.7)
    replica.widths.clip(replica.crossbars.clipped())
    cells = replica.crossbars.sampled(0.3, TorchDraw(torch.Generator().manual_seed(1)))
    draw = np.random.default_rng(0)
    for name in ("w1", "w2"):
        found = cells[name]
        weight = replica.graph.weights[name]
        upstream = torch.tensor(draw.standard_normal(found.shape), dtype=torch.float32)
        log = getattr(replica.widths, "0" if name == "w1" else "1")
        along, straight = torch.autograd.grad(
            (upstream * found).sum(), [log, weight], retain_graph=True
        )
        w, c = (t.detach().double().numpy() for t in (weight, found))
        reach = np.abs(w).max(0, keepdims=True) if per_channel else np.abs(w).max()
        at_end = np.isclose(np.abs(w), reach, rtol=1e-6)
        assert 0 < at_end.sum() < w.size
        ratio = np.where(at_end, c, c - w) / reach
        expected = (upstream.double().numpy() * ratio * reach).sum(
            0 if per_channel else None, keepdims=True
        )
        np.testing.assert_allclose(
            along.numpy().reshape(-1), expected.reshape(-1), rtol=2e-4, atol=2e-5
        )
        assert torch.equal(straight, upstream)  # the weight's own gradient is as ever


def test_values_are_those_without_widths(tmp_path: Path):
    run = small_run(tmp_path, NoiseInjection(), small_task(clip="learned"))
    (replica,) = run.replicas
    crossbars, widths = replica.crossbars, replica.widths
    generator = torch.Generator()
    learned = crossbars.sampled(0.2, TorchDraw(generator.manual_seed(3)))
    crossbars.widths = None
    plain = crossbars.sampled(0.2, TorchDraw(generator.manual_seed(3)))
    assert widths is not None and widths.reach("w1").item() > 0
    assert all(torch.equal(learned[name], plain[name]) for name in plain)


def test_weights_begin_within_so_many_deviations(tmp_path: Path):
    crossbars, plain = (
        small_run(tmp_path, NoiseInjection(), small_task(clip=clip)).replicas[0].crossbars
        for clip in ("learned", None)
    )
    with torch.no_grad():
        for name, weight in plain.clipped().items():
            width = FIRST * weight.std(correction=0)
            torch.testing.assert_close(crossbars.clipped()[name], weight.clamp(-width, width))


def test_strong_noise_learns_a_narrower_range(tmp_path: Path):
    """Relative to the deviation of the weights, which noise makes fill their range."""
    peaks: list[float] = []
    for sigma in (0.0, 0.8):
        task = small_task(sigma=sigma, epochs=30, clip="learned")
        run = small_run(tmp_path, method := NoiseInjection(), task)
        for epoch in range(30):
            method.epoch(run, epoch)
        weights = [w.detach() for w in run.replicas[0].crossbars.clipped().values()]
        peaks.append(max(float(w.abs().max() / w.std(correction=0)) for w in weights))
    assert peaks[1] < peaks[0]


def test_a_resumed_run_has_the_same_bits(tmp_path: Path):
    task = small_task(clip="learned")
    outputs = [tmp_path / f"{name}.onnx" for name in ("whole", "parts")]
    outcome = train(small_network(tmp_path), task, make_method("hwa"), output=outputs[0])
    assert outcome.clip == "learned"

    def stop(epoch: object) -> None:
        raise KeyboardInterrupt

    parts = partial(train, small_network(tmp_path), task, make_method("hwa"), output=outputs[1])
    for resume in (False, True):
        with pytest.raises(KeyboardInterrupt):
            parts(checkpoint=tmp_path / "c", resume=resume, on_epoch=stop)
    parts(checkpoint=tmp_path / "c", resume=True)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
