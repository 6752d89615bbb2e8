"""Layers with a target of their own: training computes with what the simulator does."""

from typing import Any

import numpy as np
import pytest
import torch

from circuit_networks import CONV, beside_the_simulator, replica_of
from nvmc.errors import OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import LayerTarget, Periphery, Target, load_device
from nvmc.models.zoo import zoo_path
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.io.load import load_model
from nvmc.passes.pipeline import compile_passes
from nvmc.passes.program_chip import arrays_of
from nvmc.rng import Draw
from nvmc.torchgraph.graph import Graph
from nvmc.training.circuit.choice import check_ranges
from nvmc.training.crossbars import Crossbars
from nvmc.training.draws import TorchDraw

WAN = load_device("rram-wan2022")
LAYERS = [
    LayerTarget(glob="conv*", device=load_device("fefet2"), cell_bits=1),
    LayerTarget(glob="fc2*", device=WAN),
    LayerTarget(glob="fc3*", device=WAN, weight_bits="none"),
]
NAMES = {"conv1.weight": "fefet2", "fc1.weight": "rram4", "fc2.weight": WAN.name}


def target() -> Target:
    return Target.of("rram4", weight_bits=4, layers=LAYERS)


def held_by(cells: Target) -> tuple[Crossbars, dict[str, Array]]:
    """A network's crossbars in training, and its arrays as they are compiled."""
    model = load_model(zoo_path("lenet5-digits"))
    Canonicalize()(model)
    graph, compiled = Graph.of(model), model.clone()
    for step in compile_passes(cells):
        step(compiled)
    arrays = {array.name: array for array in arrays_of(compiled)}
    return Crossbars(model, graph.weights, cells), arrays


class Replayed:
    """The stream of normals that a chip draws from for one array, as torch tensors."""

    def __init__(self, array: str) -> None:
        self._draw = Draw(3, 5, array, "programming")

    def normal(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(self._draw.normal(shape))

    def uniform(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(self._draw.uniform(shape))


@pytest.mark.parametrize("time_s", [None, 43200.0])
def test_weights_are_those_of_the_simulator(time_s: float | None) -> None:
    crossbars, arrays = held_by(target())
    assert {name: arrays[name].target.device.name for name in NAMES} == NAMES
    if time_s is not None:
        crossbars.times_s = (time_s, time_s)
    sources = target().device.sources(0.2)
    chip = Chip.of(target(), 3, 5, 0.2, time_s)
    for name, array in arrays.items():
        held = crossbars.held(name)
        assert held.target == array.target
        assert np.array_equal(held.ideal.numpy(), array.ideal)
        found = crossbars.chip(name, sources, Replayed(name)).numpy()
        wanted = chip.program(array).weights
        # both add a few products of float32 numbers up to the array's full range
        assert np.max(np.abs(found - wanted)) <= 32 * 2**-24 * np.max(np.abs(wanted)), name


def test_spreads_are_those_of_each_device() -> None:
    crossbars, _ = held_by(target())
    found = crossbars.spread(0.2)
    alone = {
        "conv1.weight": (Target.of("fefet2", weight_bits=4, cell_bits=1), None),
        "fc1.weight": (Target.of("rram4", weight_bits=4), 0.2),
        "fc2.weight": (Target.of(WAN, weight_bits=4), None),
    }
    for name, (cells, sigma) in alone.items():
        expected = held_by(cells)[0].spread(sigma)[name]
        assert torch.equal(found[name], expected)


def test_a_fresh_chip_has_the_noise_of_each_device() -> None:
    """WAN clips, so every cell is drawn; (W - ideal) / spread has a variance of 1."""
    crossbars, _ = held_by(target())
    draws = TorchDraw(torch.Generator().manual_seed(3))
    ideal, spread = crossbars.quantized(), crossbars.spread(0.2)
    for name in ("conv1.weight", "fc1.weight"):
        drawn = torch.stack([crossbars.sampled(0.2, draws)[name].detach() for _ in range(30)])
        z = ((drawn - ideal[name].detach()) / spread[name]).double()
        assert abs((z**2).mean().item() - 1) < 5 * (2 / z.numel()) ** 0.5


AROUND: dict[str, Any] = {"dac_bits": 5, "adc_bits": 6}
CIRCUITS: dict[str, list[dict[str, Any]]] = {
    "bits": [{"adc_bits": 4}, {"dac_bits": 3, "dac_mode": "bit-serial"}],
    "none": [{"adc_bits": "none", "dac_bits": "none"}, {"subtract": "digital"}],
    "tiles": [{"rows": 8, "encoding": "offset"}, {"cols": 2, "signed_inputs": "offset"}],
    "calibrated": [{"adc_range": "calibrated"}, {"dac_range": "calibrated"}],
}


@pytest.mark.parametrize("name", CIRCUITS)
def test_circuits_are_those_of_the_simulator(name: str) -> None:
    """On the ideal chip: codes and levels are whole, so that every current is exact."""
    parts = [
        LayerTarget(glob=f"w{i + 2}", **own) for i, own in enumerate(CIRCUITS[name])
    ]  # the first layer, w1, is as the target says
    cells = Target.of(
        "rram4",
        weight_bits=4,
        cell_bits=2,
        rows=16,
        cols=8,
        periphery=Periphery(**AROUND),
        layers=parts,
    )
    replica, task, model, data = replica_of(CONV, cells, (3, 7, 7))
    found, wanted, network = beside_the_simulator(replica, task, model, data)
    assert replica.circuit is not None and replica.circuit.by_lanes
    for array, current in zip(
        replica.circuit.arrays, replica.circuit.currents.tolist(), strict=True
    ):
        known = network.target.periphery.range_of(array)
        if known is not None and known.current is not None:
            assert known.current == pytest.approx(current, rel=1e-6)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())


def test_learned_ranges_want_one_dac() -> None:
    around = Periphery(dac_bits=4, dac_range="calibrated")
    own = LayerTarget(glob="w2", dac_bits=3)
    cells = Target.of("rram4", weight_bits=4, periphery=around, layers=[own])
    _, task, _, _ = replica_of(CONV, cells, (3, 7, 7))
    task.settings.__dict__["ranges"] = "learned"
    with pytest.raises(OptionError, match="learned ranges need one DAC for all layers"):
        check_ranges(task)
