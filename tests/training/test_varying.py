"""Noise of activations in training: the law of the simulator, where methods inject noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from nvmc.errors import ModelError
from nvmc.hardware.devices import Target, load_device, parse_noise
from nvmc.training.draws import TorchDraw
from nvmc.training.methods.erm import Erm
from nvmc.training.methods.gaussian import NoiseInjection
from nvmc.training.preparation import canonical_network, prepared_network
from nvmc.training.run import Run
from nvmc.training.task import Task
from onnx_text import proto_of
from small_training import blobs, small_task

NETWORK = """g (float[N,8] x) => (float[N,3] y) <float[8,12] w1, float[12,12] w2, float[12,3] w3> {
  h = MatMul (x, w1)
  s = Sign (h)
  k = MatMul (s, w2)
  r = Add (k, h)
  t = Sign (r)
  y = MatMul (t, w3)
}"""


def run_of(folder: Path, *noise: str, text: str = NETWORK) -> Run:
    onnx.save(proto_of(text), folder / "net.onnx")
    target = Target.of(load_device("ideal"), weight_bits=4).on(None, map(parse_noise, noise))
    task: Task = small_task(target, None)
    model = prepared_network(canonical_network(folder / "net.onnx"), task, NoiseInjection())
    return Run(model, task, 1)


class Fixed:
    """Hands out the same normals, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[torch.Tensor] = []

    def normal(self, shape: tuple[int, ...]) -> torch.Tensor:
        drawn = torch.as_tensor(np.random.default_rng(len(self.asked)).standard_normal(shape))
        self.asked.append(drawn.float())
        return self.asked[-1]

    def uniform(self, shape: tuple[int, ...]) -> torch.Tensor:
        raise AssertionError(shape)


@pytest.mark.parametrize("law", ["additive", "multiplicative"])
def test_a_step_sees_the_law_of_the_simulator(tmp_path: Path, law: str) -> None:
    run = run_of(tmp_path, f"activation:law={law},sigma=0.5")
    replica, draws = run.replicas[0], Fixed()
    weights = replica.crossbars.programmed(run.task.target.device.sources(), draws)
    x = torch.as_tensor(blobs(16, 1).x)
    found = replica(x, weights)
    first, second = draws.asked

    def noisy(value: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return value + 0.5 * z * (value if law == "multiplicative" else 1)

    w = {array: weights[array] for array in replica.crossbars.names}
    h = x @ w["w1"]
    r = torch.sign(noisy(h, first)) @ w["w2"] + h
    expected = torch.sign(noisy(r, second)) @ w["w3"]
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    assert all(bool(weight.grad.any()) for weight in replica.graph.weights.values())


def test_weights_of_the_ideal_chip_bring_no_noise(tmp_path: Path) -> None:
    run, plain = run_of(tmp_path, "activation:sigma=0.5"), run_of(tmp_path)
    x = torch.as_tensor(blobs(16, 1).x)
    pair = [one.replicas[0](x, one.replicas[0].crossbars.quantized()) for one in (run, plain)]
    assert torch.equal(*pair)
    sources = run.task.target.device.sources()
    generator = torch.Generator().manual_seed(1)
    noisy = run.replicas[0].crossbars.programmed(sources, TorchDraw(generator))
    assert not torch.equal(run.replicas[0](x, noisy), pair[0])


def test_training_with_it_runs_and_is_judged_with_it(tmp_path: Path) -> None:
    run = run_of(tmp_path, "activation:sigma=0.5")
    assert np.isfinite(NoiseInjection().epoch(run, 0))
    assert np.isfinite(Erm().epoch(run, 0))
    assert 0 <= run.kpp(run.replicas[0]) <= 1


def test_a_network_without_such_a_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="finds no Sign"):
        run_of(tmp_path, "activation:sigma=0.5", text=NETWORK.replace("Sign", "Tanh"))
