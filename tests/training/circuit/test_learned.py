"""Ranges of DACs that are learned, and come out of the file as they were trained."""

import numpy as np
import pytest
import torch

from circuit_networks import CONV, beside_the_simulator, replica_of
from nvmc.hardware.devices import Periphery, Target, load_device
from nvmc.training.activations import LearnedRanges


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_gradients_are_those_of_lsq(low: float):
    """In plain loops, Esser et al., Eq. 3: of the step, and of the values."""
    ranges = LearnedRanges({"a": "m"}, 2)
    tap = ranges.taps["m"]
    tap(torch.tensor([low, 1.5]))
    assert ranges.reach.tolist() == [1.5]
    x = torch.linspace(-2, 2, 41).requires_grad_()
    if low == 0:
        ranges.eval()
    up = torch.linspace(0.5, 1.5, 41)
    y = tap(x)
    (y * up).sum().backward()
    step, bottom = 0.5, -3 if low else 0
    wanted = 0.0
    for value, weight, slope in zip(x.tolist(), up.tolist(), x.grad.tolist(), strict=True):
        scaled = value / step
        inside = bottom <= scaled <= 3
        code = min(max(round(scaled), bottom), 3)
        wanted += weight * ((code - scaled) if inside else code)
        if min(abs(scaled - bottom), abs(scaled - 3)) > 1e-6:
            assert slope == pytest.approx(weight if inside else 0.0)
    assert ranges.reach.grad.item() == pytest.approx(wanted / 3, rel=1e-4)


def test_the_file_gives_a_dac_the_learned_codes():
    use = {"dac_bits": 3, "dac_range": "calibrated", "adc_bits": 5, "adc_range": "calibrated"}
    target = Target.of(
        load_device("rram4"),
        weight_bits=4,
        cell_bits=2,
        rows=16,
        cols=8,
        periphery=Periphery.model_validate(use),
    )
    replica, task, model, data = replica_of(CONV, target, (3, 7, 7), ranges="learned", rate=0.05)
    x, y = torch.tensor(data.x), torch.tensor(data.y)
    replica.train()
    first = None
    for _ in range(4):
        scores = replica(x, replica.crossbars.quantized())
        first = replica.activations.reach.detach().clone() if first is None else first
        replica.update(torch.nn.functional.cross_entropy(scores, y))
    found, wanted, network = beside_the_simulator(replica, task, model, data)
    near = np.isclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())
    assert near.mean() > 0.9
    learned = replica.activations.reach.tolist()
    ranges = [network.target.periphery.range_of(name).input for name in replica.circuit.arrays]
    assert ranges == pytest.approx(learned, rel=1e-6)
    assert not torch.allclose(first, replica.activations.reach, rtol=0.01)
