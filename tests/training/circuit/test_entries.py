"""What an image gives in training, and its gradients, whatever images are beside it in a batch."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nvmc.hardware.devices import Periphery
from nvmc.runtime.crossbar.adc import Adc
from nvmc.runtime.crossbar.dac import Dac
from nvmc.runtime.crossbar.native import KERNELS, NUMPY
from nvmc.training.circuit import clipped, compiled, converters
from nvmc.training.circuit.converters import encode
from nvmc.training.circuit.gradients import read
from nvmc.training.circuit.products import ConvProduct, LinearProduct, Product
from nvmc.training.circuit.reading import Reading

ROWS = (slice(0, 8), slice(8, 18))
PERIPHERIES: dict[str, dict[str, Any]] = {
    "two-phase": {},
    "two-phase, bit-serial": {"dac_mode": "bit-serial"},
    "two-phase, charges": {"dac_mode": "bit-serial", "accumulate": "analog"},
    "calibrated": {"dac_range": "calibrated"},
    "offset": {"signed_inputs": "offset"},
    "bipolar": {"signed_inputs": "bipolar"},
}


def gradients(x: Tensor, weight: Tensor, up: Tensor, reading: Reading, limit: Tensor | None):
    """The outputs, and gradients of the inputs and of the weight."""
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    y = read(x, weight, encode(reading.dac, x.detach(), limit), reading)
    y.backward(up)
    assert x.grad is not None and weight.grad is not None
    return y.detach(), x.grad, weight.grad


@pytest.mark.parametrize("kernel", sorted({KERNELS[0], NUMPY}))
@pytest.mark.parametrize("way", ["output by output", "tile by tile"])
@pytest.mark.parametrize("kind", ["conv", "linear"])
@pytest.mark.parametrize("periphery", PERIPHERIES)
def test_a_batch_changes_no_image_of_it(
    periphery: str, kind: str, way: str, kernel: str, monkeypatch: pytest.MonkeyPatch
):
    """Images without negative inputs are driven in one phase, also beside others that have two."""
    monkeypatch.setattr(clipped, "_FEW", 1 if way == "output by output" else 1 << 40)
    for module in (compiled, converters):
        monkeypatch.setattr(module, "KERNELS", (kernel,))
    generator = torch.Generator().manual_seed(1)
    if kind == "conv":
        product: Product = ConvProduct((4, 2, 3, 3), (1, 1), (1, 1), (1, 1), 1)
        x = torch.rand(6, 2, 5, 5, generator=generator)
    else:
        product = LinearProduct((5, 18), True)
        x = torch.rand(6, 18, generator=generator)
    x[1::2] -= 0.5
    weight = torch.randint(-3, 4, product.shape, generator=generator).float()
    own = Periphery.model_validate({"dac_bits": 4, **PERIPHERIES[periphery]})
    reach = {"two-phase, bit-serial": 2.0, "offset": 60.0}.get(periphery, 25.0)
    reading = Reading(
        product,
        torch.stack([weight.abs() % 2, weight.abs() // 2]) * weight.sign(),
        None,
        (1.0, 2.0),
        0.0,
        torch.tensor(1.0),
        Dac(own),
        [Adc(5, reach, signed=True, aligned=False)] * 2,
        ROWS,
    )
    limit = torch.tensor(0.9) if own.dac_range == "calibrated" else None
    up = torch.randn(reading.result(encode(reading.dac, x, limit))[0].shape, generator=generator)
    found = gradients(x, weight, up, reading, limit)
    alone = [gradients(x[i : i + 1], weight, up[i : i + 1], reading, limit) for i in range(len(x))]
    y, of_x, of_weight = zip(*alone, strict=True)
    plain = product.gradients(up, x, weight, (True, True))[1]
    assert plain is not None and not torch.allclose(plain, found[2], rtol=0.01)  # some are clipped
    assert torch.equal(found[0], torch.cat(y))
    torch.testing.assert_close(found[1], torch.cat(of_x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[2], torch.stack(of_weight).sum(0), rtol=1e-4, atol=1e-4)
