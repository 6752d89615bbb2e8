"""A network in training gives what the simulator's circuit gives, code by code."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from circuit_networks import CONV, TALL, beside_the_simulator, replica_of
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Periphery, Target, load_device, parse_noise
from nvmc.hardware.devices.laws import Conductance
from nvmc.passes.graph.describe import serialized
from nvmc.passes.program_chip import arrays_of
from nvmc.runtime.crossbar.native import KERNELS, NUMPY
from nvmc.runtime.provider import make_session
from nvmc.training.draws import TorchDraw, named_generator
from nvmc.training.evaluation import finished_network, mapped
from nvmc.training.held import CellWeights, Seen
from nvmc.training.replica import Replica

PERIPHERIES: dict[str, dict[str, Any]] = {
    "dac": {"dac_bits": 5},
    "dac calibrated": {"dac_bits": 5, "dac_range": "calibrated"},
    "adc full": {"dac_bits": 4, "adc_bits": 5},
    "adc calibrated": {"dac_bits": 4, "adc_bits": 5, "adc_range": "calibrated"},
    "both calibrated": {
        "dac_bits": 4,
        "dac_range": "calibrated",
        "adc_bits": 4,
        "adc_range": "calibrated",
    },
    "given": {"dac_bits": 4, "adc_bits": 6, "adc_range": 150.0},
    "serial": {"dac_bits": 4, "dac_mode": "bit-serial", "adc_bits": 4},
    "offset": {"dac_bits": 5, "signed_inputs": "offset", "adc_bits": 6},
    "offset serial": {
        "dac_bits": 5,
        "signed_inputs": "offset",
        "dac_mode": "bit-serial",
        "adc_bits": 4,
    },
    "slices": {"dac_bits": 5, "dac_mode": "bit-serial", "dac_slice_bits": 2, "adc_bits": 5},
    "charges": {
        "dac_bits": 5,
        "dac_mode": "bit-serial",
        "accumulate": "analog",
        "adc_bits": 5,
        "adc_range": "calibrated",
    },
    "bipolar": {"dac_bits": 4, "signed_inputs": "bipolar", "adc_bits": 6, "subtract": "digital"},
    "bipolar charges": {
        "dac_bits": 5,
        "dac_mode": "bit-serial",
        "dac_slice_bits": 2,
        "accumulate": "analog",
        "signed_inputs": "bipolar",
        "adc_bits": 5,
    },
    "digital": {"dac_bits": 4, "adc_bits": 5, "subtract": "digital"},
    "even, in turn": {"dac_bits": 4, "adc_bits": 5, "row_split": "even", "rows_on": 5},
    "adc alone": {"adc_bits": 6},
}


ENCODINGS = ["sign-magnitude", "differential", "offset", "balanced"]
# Every encoding with every periphery, each pair on one of the networks, which only differ in where
# vectors come from; each network meets every encoding and every periphery.
PAIRS = [
    (("conv", "matmul")[(row + column) % 2], periphery, encoding)
    for row, periphery in enumerate(PERIPHERIES)
    for column, encoding in enumerate(ENCODINGS)
]


@pytest.mark.parametrize(("network", "periphery", "encoding"), PAIRS)
def test_outputs_are_those_of_the_simulator(network: str, periphery: str, encoding: Any):
    """On the ideal chip: codes and levels are whole, so that every current is exact."""
    text, shape = (CONV, (3, 7, 7)) if network == "conv" else (TALL, (40,))
    target = Target.of(
        load_device("rram4"),
        weight_bits=4,
        cell_bits=2,
        encoding=encoding,
        rows=16,
        cols=8,
        periphery=Periphery.model_validate(PERIPHERIES[periphery]),
        per_channel=network == "matmul",
    )
    replica, task, model, data = replica_of(text, target, shape)
    found, wanted, network_ = beside_the_simulator(replica, task, model, data)
    for name, seen, current in zip(
        replica.circuit.arrays,
        replica.circuit.inputs.tolist(),
        replica.circuit.currents.tolist(),
        strict=True,
    ):
        known = network_.target.periphery.range_of(name)
        if known is not None:
            assert known.input == pytest.approx(seen, rel=1e-6)
            if known.current is not None:
                assert known.current == pytest.approx(current, rel=1e-6)
    near = np.isclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())
    # Inputs without bits: currents are rounded in another order, and some lie between two codes.
    assert near.mean() > 0.8 if periphery == "adc alone" else near.all()


OFF_CURRENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "offset": ("offset", {}),
    "offset, both": ("offset", {"signed_inputs": "offset", "dac_mode": "bit-serial"}),
    "offset, calibrated": ("offset", {"adc_range": "calibrated"}),
    "pairs": ("differential", {"subtract": "digital"}),
    "pairs, calibrated": ("differential", {"subtract": "digital", "adc_range": "calibrated"}),
    "signs, analog": ("sign-magnitude", {}),
    "signs, digital": ("sign-magnitude", {"subtract": "digital", "signed_inputs": "offset"}),
}


@pytest.mark.parametrize("use", OFF_CURRENTS)
@pytest.mark.parametrize("network", ["conv", "matmul"])
def test_the_off_current_is_within_range_in_training_too(network: str, use: str):
    """Level 0 conducts a whole step, so that every current is exact; another circuit than exact."""
    text, shape = (CONV, (3, 7, 7)) if network == "conv" else (TALL, (40,))
    encoding, more = OFF_CURRENTS[use]
    conductance = Conductance(min_us=10.0, max_us=40.0)
    device = load_device("rram4").model_copy(update={"conductance": conductance})
    target = Target.of(
        device,
        weight_bits=4,
        cell_bits=2,
        encoding=encoding,
        rows=16,
        cols=8,  # type: ignore
    )
    assert target.off_level == 1.0
    found: dict[str, Any] = {}
    for how in ("none", "exact"):
        stated = {"dac_bits": 4, "adc_bits": 6, "reference": how, **more}
        use_of = target.model_copy(update={"periphery": Periphery.model_validate(stated)})
        replica, task, model, data = replica_of(text, use_of, shape)
        found[how], wanted, _ = beside_the_simulator(replica, task, model, data)
        assert np.allclose(found[how], wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())
    assert not np.allclose(found["none"], found["exact"], rtol=0, atol=1e-4)


class Known:
    """A chip of the simulator in the place of noise that is drawn."""

    def __init__(self, chip: Chip, arrays: dict[str, Array]) -> None:
        self._chip, self._arrays = chip, arrays

    def weights(self, replica: Replica) -> CellWeights:
        found = replica.crossbars.quantized()
        for name, behind in list(found.behind.items()):
            programmed = self._chip.program(self._arrays[name])
            values = [torch.tensor(v) for v in (programmed.weights, programmed.levels)]
            sign = torch.tensor(programmed.sign)
            moved = any(source.stage == "weight" for source in self._chip.sources)
            found[name] = values[0]
            seen = Seen(*values, sign, moved)
            found.behind[name] = replace(behind, weight=values[0], seen=seen)
        return found


@pytest.mark.parametrize("noise", ["programming:sigma=0.2", "additive:sigma=0.1"])
@pytest.mark.parametrize("periphery", ["offset", "digital"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_noisy_chips_are_those_of_the_simulator(periphery: str, encoding: Any, noise: str):
    """Currents are real numbers here: sums in the order of the kernel are the simulator's.

    Where torch sums, a few lie within rounding of the middle of two codes.
    """
    target = Target.of(
        load_device("rram4").model_copy(
            update={"noise": (parse_noise(noise),), "sigma": None, "sigma_range": None}
        ),
        weight_bits=4,
        cell_bits=2,
        encoding=encoding,
        rows=16,
        cols=8,
        periphery=Periphery.model_validate(PERIPHERIES[periphery]),
    )
    replica, task, model, data = replica_of(CONV, target, (3, 7, 7))
    replica.calibrate()
    replica.train(False)
    network = mapped(finished_network(model, replica, task.options), task)
    chip = Chip.of(target, 3, 5)
    arrays = {array.name: array for array in arrays_of(network.model)}
    found = replica(torch.tensor(data.x), Known(chip, arrays).weights(replica)).detach().numpy()
    wanted = make_session(serialized(network.model), chip=chip, quiet=True).run(
        None, {"x": data.x}
    )[0]
    near = np.isclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())
    assert near.all() if KERNELS[0] != NUMPY else near.mean() > 0.8
    assert np.abs(found - wanted).max() < 0.2 * np.abs(wanted).max()


@pytest.mark.parametrize("bits", [3, 5])
def test_rounded_activations_are_the_codes_of_a_calibrated_dac(bits: int):
    """Activations of 3 bits fit a DAC of 4; those of 5 bits are rounded again by it."""
    use = {"dac_bits": 4, "dac_range": "calibrated", "adc_bits": 5, "adc_range": "calibrated"}
    target = Target.of(
        load_device("rram4"),
        weight_bits=4,
        cell_bits=2,
        rows=16,
        cols=8,
        periphery=Periphery.model_validate(use),
    )
    replica, task, model, data = replica_of(CONV, target, (3, 7, 7), activation_bits=bits)
    x = torch.tensor(data.x)
    replica.train()
    for _ in range(3):
        replica(x, replica.crossbars.quantized())
    found, wanted, network = beside_the_simulator(replica, task, model, data)
    # Some of Tanh's values lie within rounding of the middle of two steps.
    near = np.isclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())
    assert near.mean() > 0.9


@pytest.mark.parametrize("use", [{}, {"dac_bits": 4, "adc_bits": 6, "adc_range": "calibrated"}])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_wires_are_those_of_the_simulator(use: dict[str, Any], encoding: Any):
    """Effective conductances are no whole numbers: a few currents lie between two codes."""
    conductance = Conductance(min_us=2.0, max_us=40.0)
    device = load_device("rram4").model_copy(update={"conductance": conductance})
    target = Target.of(
        device,
        weight_bits=4,
        cell_bits=2,
        rows=16,
        cols=8,
        encoding=encoding,
        periphery=Periphery.model_validate({**use, "wire_ohm": {"row": 40.0, "col": 20.0}}),
    )
    replica, task, model, data = replica_of(CONV, target, (3, 7, 7))
    x = torch.tensor(data.x)
    found, wanted, network = beside_the_simulator(replica, task, model, data)
    digital = replica(x).detach().numpy()
    near = np.isclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())
    assert near.mean() > 0.8 if use else near.all()
    assert np.abs(found - wanted).max() < 0.2 * np.abs(digital - wanted).max()


def test_losses_are_held_between_solutions():
    """Other chips of the same law lose nearly the same; the first is exact."""
    device = load_device("rram4").model_copy(
        update={"conductance": Conductance(min_us=2.0, max_us=40.0)}
    )
    target = Target.of(
        device,
        weight_bits=4,
        cell_bits=2,
        rows=32,
        cols=16,
        periphery=Periphery.model_validate({"wire_ohm": {"row": 10.0, "col": 10.0}}),
    )
    replica, *_, data = replica_of(CONV, target, (3, 7, 7))
    x = torch.tensor(data.x)
    chips = [replica.crossbars.sampled(0.2, TorchDraw(named_generator(k, "chip"))) for k in (1, 2)]
    with torch.no_grad():
        exact = [replica.train(False) or replica(x, chip) for chip in chips]
        replica.train()
        held = [replica(x, chip) for chip in chips]
        ideal = replica.train(False) or replica.graph(x, chips[1])
    assert torch.equal(exact[0], held[0])
    assert (held[1] - exact[1]).std() < 0.2 * (ideal - exact[1]).std()
