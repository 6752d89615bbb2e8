"""The straight-through gradients of a circuit: against a slow oracle, and the simulator itself."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from circuit_networks import CONV, replica_of
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Periphery, Target, load_device
from nvmc.passes.graph.describe import serialized
from nvmc.runtime.crossbar.adc import Adc
from nvmc.runtime.crossbar.dac import Dac
from nvmc.runtime.provider import make_session
from nvmc.training.circuit import clipped
from nvmc.training.circuit.converters import encode
from nvmc.training.circuit.gradients import read
from nvmc.training.circuit.products import ConvProduct, LinearProduct, Product
from nvmc.training.circuit.reading import Reading
from nvmc.training.evaluation import finished_network, mapped

ROWS = (slice(0, 8), slice(8, 16), slice(16, 18))


def reading_of(product: Product, levels: Tensor, adc: Adc, periphery: Periphery) -> Reading:
    return Reading(
        product,
        levels[None],
        None,
        (1.0,),
        0.0,
        torch.tensor(1.0),
        Dac(periphery),
        [adc] * len(ROWS),
        ROWS,
    )


@pytest.mark.parametrize("kind", ["conv", "linear", "columns first"])
@pytest.mark.parametrize("reach", [1e4, 30.0, 8.0])
@pytest.mark.parametrize("limit", [None, 0.9])
@pytest.mark.parametrize("way", ["output by output", "tile by tile"])
def test_gradients_are_those_of_clipping(
    kind: str, reach: float, limit: float | None, way: str, monkeypatch: pytest.MonkeyPatch
):
    """With one lane and one pulse: of sum_t clip(clip(x) W_t), by autograd in float64.

    A current within half a step beyond the range has a code within it, and counts as inside.
    """
    monkeypatch.setattr(clipped, "_FEW", 1 if way == "output by output" else 1 << 40)
    generator = torch.Generator().manual_seed(1)
    periphery = Periphery(dac_bits=6, dac_range="dynamic" if limit is None else "calibrated")
    if kind == "conv":
        product: Product = ConvProduct((4, 2, 3, 3), (1, 1), (1, 1), (1, 1), 1)
        x = torch.rand(3, 2, 5, 5, generator=generator)
        weight = torch.randint(-3, 4, (4, 2, 3, 3), generator=generator).float()
    else:
        first = kind == "columns first"
        product = LinearProduct((5, 18) if first else (18, 5), first)
        x = torch.rand(7, 18, generator=generator)
        weight = torch.randint(-3, 4, product.shape, generator=generator).float()
    adc = Adc(6, reach, signed=True, aligned=False)
    given = None if limit is None else torch.tensor(limit)
    x.requires_grad_()
    weight.requires_grad_()
    codes = encode(Dac(periphery), x.detach(), given)
    y = read(x, weight, codes, reading_of(product, weight.detach(), adc, periphery))
    up = torch.randn(y.shape, generator=generator)
    y.backward(up)
    wide_x, wide_w = x.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    inside = wide_x if limit is None else wide_x.clamp(-limit, limit)
    # What rounding does to the value is a constant for the gradient.
    value = codes.values.double() * codes.step.double()
    inside = inside + (value - inside).detach()
    total: Any = 0
    for rows in ROWS:
        part = product.currents(inside, wide_w[None], rows)[:, :, 0]
        current = part.detach() / codes.step.double().view(-1, *(1,) * (part.dim() - 1))
        kept = ((current / adc.step).round().abs() <= adc.high).double()
        total = total + part * kept
    total.backward(up.double())
    assert wide_x.grad is not None and wide_w.grad is not None
    torch.testing.assert_close(x.grad, wide_x.grad.float(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(weight.grad, wide_w.grad.float(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("rows", [ROWS, (slice(0, 18),)])
@pytest.mark.parametrize("way", ["output by output", "tile by tile"])
def test_gradients_of_a_clipped_column_are_exactly_zero(
    rows: tuple[slice, ...], way: str, monkeypatch: pytest.MonkeyPatch
):
    """What a difference of sums leaves, an optimiser with normalised steps would follow."""
    monkeypatch.setattr(clipped, "_FEW", 1 if way == "output by output" else 1 << 40)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(7, 18, generator=generator) + 0.5
    weight = torch.randint(-1, 2, (5, 18), generator=generator).float()
    weight[3] = 9.0
    weight.requires_grad_()
    dac = Dac(Periphery(dac_bits=6))
    adc = Adc(6, 300.0, signed=True, aligned=False)
    product, levels = LinearProduct((5, 18), True), weight.detach()[None]
    reading = Reading(
        product, levels, None, (1.0,), 0.0, torch.tensor(1.0), dac, [adc] * len(rows), rows
    )
    y = read(x, weight, encode(dac, x, None), reading)
    y.backward(torch.randn(y.shape, generator=generator))
    assert weight.grad is not None
    assert [bool(row.any()) for row in weight.grad] == [True, True, True, False, True]


@pytest.mark.parametrize("encoding", ["sign-magnitude", "differential"])
@pytest.mark.parametrize("subtract", ["analog", "digital"])
def test_gradients_are_slopes_of_the_simulator(encoding: Any, subtract: Any):
    """Central differences of the simulator's outputs along 6 directions of the input.

    Steps of 2 % of the inputs cross many codes of 12 bits, and the ADC resolves a current of 6.
    What is left is curvature, kinks of Relu, and rounding: below 10 % of the largest slope.
    """
    periphery = Periphery(dac_bits=12, adc_bits=16, subtract=subtract)
    target = Target.of(
        load_device("rram4"),
        weight_bits=4,
        cell_bits=2,
        encoding=encoding,
        rows=16,
        cols=8,
        periphery=periphery,
    )
    replica, task, model, data = replica_of(CONV, target, (3, 7, 7), scale=0.1)
    replica.train(False)
    network = mapped(finished_network(model, replica, task.options), task)
    session = make_session(serialized(network.model), chip=Chip.ideal(), quiet=True)
    x = data.x[:6]
    direction = np.random.default_rng(3).standard_normal(x.shape).astype(np.float32) * 0.02
    ends = [session.run(None, {"x": x + s * direction})[0].astype(np.float64) for s in (1, -1)]
    inputs = torch.tensor(x, requires_grad=True)
    y = replica(inputs, replica.crossbars.quantized())
    for column in range(y.shape[1]):
        (slope,) = torch.autograd.grad(y[:, column].sum(), inputs, retain_graph=True)
        along = (slope.numpy() * direction).sum((1, 2, 3))
        wanted = (ends[0] - ends[1])[:, column] / 2
        np.testing.assert_allclose(along, wanted, rtol=0, atol=0.1 * np.abs(wanted).max())
