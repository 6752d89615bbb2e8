"""ReRAM-V: training sees the simulator's chip, level by level, and fits the network to it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nvmc.compiler import compile_model
from nvmc.errors import OptionError
from nvmc.evaluation.chip_file import program_chip
from nvmc.evaluation.simulation import simulate
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Target, load_device, parse_noise
from nvmc.passes.io.load import load_model
from nvmc.passes.io.save import save_model
from nvmc.training.evaluation import finished_network
from nvmc.training.methods.reram_v import ReramV
from nvmc.training.run import Run
from nvmc.training.train import train
from small_training import small_network, small_run, small_target, small_task

TARGETS = {
    "rram4": small_target("rram4"),
    "levels": small_target("fefet1", encoding="differential"),
    "channels": small_target("fefet2", per_channel=True, encoding="offset"),
    "analog": Target.of(load_device("rram4"), weight_bits=None),
}


def programmed_file(run: Run, folder: Path, seed: int, chip: int, sigma: float) -> Path:
    """The network as it is now, compiled and programmed as users do it."""
    save_model(finished_network(run.model, run.replicas[0], run.task.options), folder / "now.onnx")
    compiled = compile_model(folder / "now.onnx", run.task.target, output=folder / "now.nvmc")
    program_chip(compiled, chip, folder / "chip.onnx", seed=seed, sigma=sigma)
    return folder / "chip.onnx"


@pytest.mark.parametrize("kind", TARGETS)
def test_training_weights_are_those_of_the_programmed_chip(tmp_path: Path, kind: str):
    """Before training and after it: the deviation follows the levels."""
    method = ReramV(chip=3, chip_seed=7)
    run = small_run(tmp_path, method, small_task(TARGETS[kind], 0.3))
    replica = run.replicas[0]
    for epoch in range(2):
        found = method.weights(run, replica, run.generator("unused"))
        chip = load_model(programmed_file(run, tmp_path, seed=7, chip=3, sigma=0.3))
        assert set(found) == {"w1", "w2"}
        for name, weight in found.items():
            expected = chip.graph.initializers[name].const_value.numpy()
            # held + (programmed - held), then W + (that - W): four roundings in float32.
            clean = np.abs(replica.graph.weights[name].detach().numpy()).max()
            bound = 4 * 2**-24 * (np.abs(expected) + 2 * clean)
            assert np.all(np.abs(weight.detach().numpy() - expected) <= bound)
        method.epoch(run, epoch)


def test_gradients_reach_the_clean_weights(tmp_path: Path):
    method = ReramV()
    run = small_run(tmp_path, method)
    replica = run.replicas[0]
    x, y = next(run.batches(0))
    chip = {n: w.detach().requires_grad_() for n, w in method.weights(run, replica, None).items()}
    expected = torch.autograd.grad(run.criterion(replica(x, chip), y), list(chip.values()))
    loss = method.loss(run, replica, x, y, run.generator("a"))
    found = torch.autograd.grad(loss, [replica.graph.weights[name] for name in chip])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_its_chip_gets_better_and_the_summary_says_so(tmp_path: Path):
    """Under noise so strong that chips differ: the chip known in training beats the others."""
    task = small_task(sigma=1.0, epochs=30, keep="last", chips=100, percentile=50.0)
    output = tmp_path / "out.onnx"
    outcome = train(small_network(tmp_path), task, ReramV(chip=4), output=output)
    summary = outcome.summary
    assert summary["chip_after"] > max(summary["chip_before"], outcome.after.kpp) + 0.05
    compiled = compile_model(output, task.target, output=tmp_path / "out.nvmc")
    found = simulate(compiled, runs=5, data=task.validation, sigma=1.0, seed=0, jobs=1)
    assert found.values[4] == summary["chip_after"]


def test_another_chip_is_another_deviation(tmp_path: Path):
    found = []
    for options in ({}, {"chip": 1}, {"chip_seed": 1}):
        method = ReramV(**options)
        run = small_run(tmp_path, method)
        found.append(method.weights(run, run.replicas[0], None)["w1"].detach())
    assert not torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_without_noise_it_is_the_ideal_chip(tmp_path: Path):
    method = ReramV()
    run = small_run(tmp_path, method, small_task(sigma=0.0))
    ideal = run.replicas[0].crossbars.quantized()
    for name, weight in method.weights(run, run.replicas[0], None).items():
        assert torch.equal(weight, ideal[name])


def test_read_noise_is_no_state_to_diagnose():
    device = load_device("rram4")
    noisy = device.model_copy(
        update={"noise": (*device.noise, parse_noise("read:sigma=0.1,basis=full_range"))}
    )
    task = small_task(small_target().on(noisy))
    assert Chip.of(task.target, 0, 0, 0.2).needs_circuit
    with pytest.raises(OptionError, match="every read"):
        ReramV().check(task)
