"""Arrays that the simulator's compiled kernel reads, beside those that torch reads."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from circuit_networks import CONV, TALL, replica_of
from nvmc.hardware.devices import Periphery, Target, load_device
from nvmc.runtime.crossbar.adc import Adc
from nvmc.runtime.crossbar.dac import Dac
from nvmc.runtime.crossbar.native import KERNELS, NUMPY
from nvmc.training.circuit import compiled, converters
from nvmc.training.circuit.clipped import Clipped
from nvmc.training.circuit.converters import encode
from nvmc.training.circuit.products import ConvProduct
from nvmc.training.circuit.reading import Reading
from nvmc.training.replica import Replica

pytestmark = pytest.mark.skipif(KERNELS[0] == NUMPY, reason="no kernel is built")

PERIPHERIES: dict[str, dict[str, Any]] = {
    "multi-level": {"dac_bits": 4, "adc_bits": 4, "adc_range": 60.0},
    "calibrated": {
        "dac_bits": 4,
        "dac_range": "calibrated",
        "adc_bits": 4,
        "adc_range": "calibrated",
    },
    "bit-serial": {"dac_bits": 4, "dac_mode": "bit-serial", "adc_bits": 3, "adc_range": 6.0},
    "offset": {"dac_bits": 5, "signed_inputs": "offset", "adc_bits": 4, "adc_range": 90.0},
    "charges": {
        "dac_bits": 4,
        "dac_mode": "bit-serial",
        "dac_slice_bits": 3,
        "accumulate": "analog",
        "adc_bits": 4,
        "adc_range": 60.0,
    },
    "bipolar": {
        "dac_bits": 4,
        "dac_mode": "bit-serial",
        "dac_slice_bits": 2,
        "signed_inputs": "bipolar",
        "adc_bits": 4,
        "adc_range": 15.0,
    },
    "digital": {"dac_bits": 4, "adc_bits": 4, "subtract": "digital", "adc_range": 60.0},
    "wide": {"dac_bits": 4, "adc_bits": 12},
}


def stepped(replica: Replica, x: Tensor) -> dict[str, Tensor]:
    """Outputs and gradients of the weights and of the inputs."""
    replica.optimizer.zero_grad()
    inputs = x.clone().requires_grad_()
    y = replica(inputs, replica.crossbars.quantized())
    up = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
    y.backward(up)
    assert inputs.grad is not None
    weights = {
        name: w.grad.clone() for name, w in replica.graph.weights.items() if w.grad is not None
    }
    assert weights
    return {"y": y.detach(), "x": inputs.grad, **weights}


def both(replica: Replica, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """As the kernel reads, and as torch does."""
    replica.calibrate()
    replica.train(False)
    found = [stepped(replica, x)]
    for module in (compiled, converters):
        monkeypatch.setattr(module, "KERNELS", (NUMPY,))
    return [*found, stepped(replica, x)]


@pytest.mark.parametrize("encoding", ["sign-magnitude", "differential", "offset", "balanced"])
@pytest.mark.parametrize("periphery", PERIPHERIES)
@pytest.mark.parametrize("network", ["conv", "channels last", "matmul"])
def test_codes_and_gradients_are_those_of_torch(
    network: str, periphery: str, encoding: Any, monkeypatch: pytest.MonkeyPatch
):
    """On the ideal chip, where every current is exact."""
    text, shape = (TALL, (40,)) if network == "matmul" else (CONV, (3, 7, 7))
    target = Target.of(
        load_device("rram4"),
        weight_bits=4,
        cell_bits=2,
        encoding=encoding,
        rows=16,
        cols=8,
        periphery=Periphery.model_validate(PERIPHERIES[periphery]),
    )
    replica, *_, data = replica_of(text, target, shape)
    assert replica.circuit is not None
    replica.circuit.channels_last = network == "channels last"
    by_kernel, by_torch = both(replica, torch.tensor(data.x), monkeypatch)
    assert by_kernel.keys() == by_torch.keys()
    for name, wanted in by_torch.items():
        atol = 2e-5 * float(wanted.abs().max())
        torch.testing.assert_close(by_kernel[name], wanted, rtol=0, atol=atol)


def test_threads_change_no_bit():
    target = Target.of(
        load_device("rram4"),
        rows=16,
        cols=8,
        periphery=Periphery(dac_bits=4, adc_bits=4, adc_range=60.0),
    )
    replica, *_, data = replica_of(CONV, target, (3, 7, 7))
    replica.train(False)
    threads, x = torch.get_num_threads(), torch.tensor(data.x)
    try:
        found: list[Tensor] = []
        for number in (1, 3):
            torch.set_num_threads(number)
            with torch.no_grad():
                found.append(replica(x, replica.crossbars.quantized()))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


@pytest.mark.parametrize("last", [False, True])
def test_threads_change_no_clipped_output(last: bool):
    """They split the entries, and sums are in the order of what they say."""
    generator = torch.Generator().manual_seed(3)
    product = ConvProduct((8, 2, 3, 3), (1, 1), (1, 1), (1, 1), 2, last)
    levels = torch.randint(-3, 4, (2, *product.shape), generator=generator).float()
    rows = (slice(0, 8), slice(8, 18))
    adcs = [Adc(6, reach, signed=True, aligned=False) for reach in (90.0, 60.0)]
    dac = Dac(Periphery(dac_bits=4))
    unit = torch.tensor(1.0)
    reading = Reading(product, levels, None, (1.0, 4.0), 0.0, unit, dac, adcs, rows)
    codes = encode(dac, torch.rand(13, 4, 5, 5, generator=generator), None)
    threads, found = torch.get_num_threads(), list[Clipped | None]()
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append(compiled.compiled_result(reading, codes)[1])
    finally:
        torch.set_num_threads(threads)
    by_torch, (first, second) = reading.result(codes)[1], found
    assert first is not None and second is not None and by_torch is not None
    assert first.where.shape[1] > 20
    assert torch.equal(first.where, second.where)
    assert torch.equal(first.kept, second.kept)
    (places, shares), (own_places, own_shares) = _sorted(by_torch), _sorted(first)
    assert own_places == places
    np.testing.assert_allclose(own_shares, shares, rtol=0, atol=1e-6)


def _sorted(clipped: Clipped) -> tuple[list[list[int]], list[list[float]]]:
    where, kept = clipped.where.numpy(), clipped.kept.numpy()
    order = np.lexsort(where)
    return where[:, order].T.tolist(), kept[:, order].T.tolist()
