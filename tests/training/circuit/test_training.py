"""Training through a circuit: resumed bit for bit, noise of reads, ages, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from circuit_networks import CONV, replica_of
from nvmc.errors import OptionError
from nvmc.hardware.devices import Device, Periphery, Target, load_device, parse_noise
from nvmc.hardware.devices.laws import Conductance
from nvmc.hardware.devices.sources.read import Read as ReadNoise
from nvmc.hardware.reads import clipped_reads
from nvmc.training import Epoch, make_method, train
from nvmc.training.draws import TorchDraw, named_generator
from onnx_text import model_of
from small_training import small_network, small_run, small_target, small_task

CALIBRATED = {"dac_bits": 4, "dac_range": "calibrated", "adc_bits": 5, "adc_range": "calibrated"}
WIRED = {"adc_bits": 5, "wire_ohm": {"row": 20.0, "col": 20.0}}


def target_of(periphery: dict[str, Any], *noise: str, **use: Any) -> Target:
    conductance = Conductance(min_us=2.0, max_us=40.0)
    device = load_device("rram4").model_copy(update={"conductance": conductance})
    device = device.with_noise(parse_noise(text) for text in noise)
    target = Target.of(device, weight_bits=4, cell_bits=2, rows=5, cols=8, **use)
    return target.model_copy(update={"periphery": Periphery.model_validate(periphery)})


@pytest.mark.parametrize("ranges", ["measured", "learned"])
@pytest.mark.parametrize("periphery", [CALIBRATED, WIRED])
def test_a_resumed_run_has_the_same_bytes(
    tmp_path: Path, periphery: dict[str, Any], ranges: str
) -> None:
    """Ranges are found anew after powers of two, wires at the beginning of every epoch."""
    if ranges == "learned" and periphery is WIRED:
        periphery = {**CALIBRATED, **WIRED}
    target = target_of(periphery, "read:sigma=0.1")
    task = small_task(target, epochs=5, every=0, chips=2, ranges=ranges)
    source, checkpoint = small_network(tmp_path), tmp_path / "checkpoint"
    whole, parts = tmp_path / "whole.onnx", tmp_path / "parts.onnx"
    method = make_method("gaussian")
    train(source, task, method, output=whole)

    def kill(epoch: Epoch) -> None:
        if epoch.epoch in (1, 3):
            raise KeyboardInterrupt

    for resume in (False, True):
        with pytest.raises(KeyboardInterrupt):
            train(
                source,
                task,
                method,
                output=parts,
                checkpoint=checkpoint,
                resume=resume,
                on_epoch=kill,
            )
    train(source, task, method, output=parts, checkpoint=checkpoint, resume=True)
    assert whole.read_bytes() == parts.read_bytes()


SLICED = {"dac_bits": 6, "dac_mode": "bit-serial", "dac_slice_bits": 4, "accumulate": "analog"}


@pytest.mark.parametrize(
    "use",
    [
        {},
        {"adc_bits": 12},
        {"dac_bits": 6, "dac_mode": "bit-serial"},
        SLICED,
        {**SLICED, "adc_bits": 12, "signed_inputs": "bipolar"},
    ],
)
def test_noise_of_reads_has_its_law(use: dict[str, Any]):
    """In closed form: of an output, unit step sqrt(sum_l c_l^2 sum_b 4^b sum_r x_b^2 sigma^2)."""
    target = target_of(use, "read:sigma=0.3").model_copy(update={"rows": 64, "cols": 64})
    alone = {"noise": target.device.noise[1:], "sigma": None, "sigma_range": None}
    silent = target.device.model_copy(update=alone)
    target = target.model_copy(update={"device": silent})
    text = "g (float[N,6] x) => (float[N,4] y) <float[6,4] w> { y = MatMul (x, w) }"
    replica, *_ = replica_of(text, target, (6,))
    replica.train(False)
    x = torch.tensor([[0.5, 1.0, 0.0, 2.0, 0.25, 0.75]]).expand(4000, 6).contiguous()
    generator = named_generator(1, "reads")
    weights = replica.crossbars.programmed(target.device.sources(), TorchDraw(generator))
    y = replica(x, weights, generator).detach()
    held = replica.crossbars.held("w")
    step, drive = 1.0, x[0].numpy() ** 2
    if use.get("dac_bits"):
        step = 2.0 / 63
        codes = np.rint(x[0].numpy() * 63 / 2.0).astype(int)
        size = use.get("dac_slice_bits", 1)
        drive = sum(4.0**b * ((codes >> b) % 2**size) ** 2 for b in range(0, 6, size))
    formed = sum(c**2 for c in held.layout.coefficients.tolist())
    wanted = float(held.unit) * step * 0.3 * np.sqrt(formed * drive.sum())
    # The standard deviation of 4000 normals errs by 1.1 %, four times that; an ADC of 12 bits adds
    # little to it.
    assert y.std(0).numpy() == pytest.approx(np.full(4, wanted), rel=0.05)


@pytest.mark.parametrize("use", [{}, {"adc_bits": 14}])
def test_reads_are_clipped_at_zero_conductance_as_in_the_simulator(use: dict[str, Any]) -> None:
    """Means and spreads of outputs are those of columns of clipped cells (`clipped_reads`)."""
    device = Device(
        name="noisy",
        title="cells of noisy reads",
        source="made up",
        levels="continuous",
        clip="zero",
        conductance=Conductance(min_us=0.0, max_us=10.0),
        noise=(ReadNoise(sigma=3.0, basis="us"),),
    )
    target = Target.of(device, encoding="differential", periphery=Periphery(**use))
    text = "g (float[N,6] x) => (float[N,4] y) <float[6,4] w> { y = MatMul (x, w) }"
    replica, *_ = replica_of(text, target, (6,))
    replica.train(False)
    drive = np.array([0.5, 1.0, 0.0, 2.0, 0.25, 0.75])
    x = torch.tensor(drive, dtype=torch.float32).expand(8000, 6).contiguous()
    generator = named_generator(1, "reads")
    weights = replica.crossbars.programmed(target.device.sources(), TorchDraw(generator))
    y = replica(x, weights, generator).detach().numpy()
    held = replica.crossbars.held("w")
    levels = held.cells.targets.double().numpy()
    means, spreads = clipped_reads(levels, np.full_like(levels, 0.3), 0.0, ndtr)
    unit = float(held.unit)
    mean = unit * drive @ (means[0] - means[1])
    spread = unit * np.sqrt(drive**2 @ (spreads[0] ** 2 + spreads[1] ** 2))
    plain = unit * drive @ (levels[0] - levels[1])
    assert np.abs(mean - plain).max() > 0.05 * unit
    np.testing.assert_allclose(y.mean(0), mean, atol=5 * spread.max() / np.sqrt(8000))
    np.testing.assert_allclose(y.std(0), spread, rtol=0.05)


def test_cells_that_are_not_linear_are_not_trained_through(tmp_path: Path) -> None:
    device = load_device("rram-milo2021")
    target = Target.of(device, periphery=Periphery(dac_bits=6, read_v=0.3))
    method = make_method("gaussian")
    with pytest.raises(OptionError, match="not proportional.*leave read_v out"):
        task = small_task(target, epochs=1, chips=2)
        train(small_network(tmp_path), task, method, output=tmp_path / "out.onnx")
    judged = small_task(target, epochs=1, chips=2, circuit="judged")
    train(small_network(tmp_path), judged, method, output=tmp_path / "out.onnx")


def test_columns_that_saturate_are_not_trained_through(tmp_path: Path) -> None:
    task = small_task(target_of({"adc_bits": 6, "column_limit": 50.0}), epochs=1, chips=2)
    with pytest.raises(OptionError, match="columns that saturate cannot.*circuit judged"):
        train(small_network(tmp_path), task, make_method("gaussian"), output=tmp_path / "out.onnx")


def test_reference_columns_are_not_trained_through(tmp_path: Path) -> None:
    stated = {"adc_bits": 6, "reference": "column"}
    task = small_task(target_of(stated, encoding="offset"), epochs=1, chips=2)
    method = make_method("gaussian")
    with pytest.raises(OptionError, match="reference columns cannot be trained.*circuit judged"):
        train(small_network(tmp_path), task, method, output=tmp_path / "out.onnx")
    judged = small_task(task.target, epochs=1, chips=2, circuit="judged")
    train(small_network(tmp_path), judged, method, output=tmp_path / "out.onnx")
    useless = small_task(target_of(stated), epochs=1, chips=2)
    with pytest.raises(OptionError, match="sign-magnitude leaves cells unformed"):
        train(small_network(tmp_path), useless, method, output=tmp_path / "out.onnx")


def test_noise_of_reads_is_left_out_and_said_where_a_method_has_none(tmp_path: Path) -> None:
    target, source = target_of({}, "read:sigma=0.1"), small_network(tmp_path)
    task = small_task(target, epochs=1, chips=2)
    for kind, left in (("erm", ("the noise of reads",)), ("gaussian", ())):
        outcome = train(source, task, make_method(kind), output=tmp_path / f"{kind}.onnx")
        assert outcome.left_out == left


def test_ages_are_log_uniform():
    target = target_of({}, "retention:nu_mean=0.1,t0_s=1")
    task = replace(small_task(target), times_s=(10.0, 1e5))
    replica, *_ = replica_of(CONV, target_of({}, "retention:nu_mean=0.1,t0_s=1"), (3, 7, 7))
    replica.crossbars.times_s = task.times_s
    draws = TorchDraw(named_generator(1, "ages"))
    ages = np.log10([replica.crossbars._drawn_time(draws) for _ in range(2000)])
    assert 1 <= ages.min() < 1.02 and 4.98 < ages.max() <= 5
    # Quartiles of 2000 uniforms err by sqrt(p (1 - p) / 2000) of the range, four times that.
    assert np.quantile(ages, [0.25, 0.5, 0.75]) == pytest.approx([2, 3, 4], abs=0.18)
    assert replica.crossbars.time_s == 1e5


def test_a_chip_of_an_age_is_the_simulator_s_law(tmp_path: Path) -> None:
    """With one exponent for all cells every conductance is (t/t0)^-nu of what it was."""
    target = small_target().model_copy(
        update={
            "device": load_device("rram4").with_noise([parse_noise("retention:nu_mean=0.1,t0_s=1")])
        }
    )
    run = small_run(tmp_path, make_method("erm"), replace(small_task(target), times_s=(1e4, 1e4)))
    crossbars = run.replicas[0].crossbars
    aged = crossbars.programmed(target.device.sources(0.0), TorchDraw(named_generator(1)))
    for name, ideal in crossbars.quantized().items():
        torch.testing.assert_close(aged[name], ideal * 10**-0.4, rtol=1e-5, atol=1e-6)


LSTM = """g (float[S,N,4] x) => (float[S,1,N,3] y)
<float[1,12,4] w, float[1,12,3] r> { y = LSTM <hidden_size = 3> (x, w, r) }"""


@pytest.mark.parametrize(
    ("text", "shape", "named"),
    [
        (LSTM, (4,), "LSTM 'LSTM_0'"),
        (
            "g (float[N,2,3] x) => (float[N,2,4] y) <float[2,3,4] w> { y = MatMul (x, w) }",
            (2, 3),
            "only matrices",
        ),
    ],
)
def test_what_cannot_be_trained_through_is_refused(text: str, shape: tuple[int, ...], named: str):
    assert model_of(text)
    with pytest.raises(OptionError, match=named):
        replica_of(text, target_of({"adc_bits": 5}), shape)
    replica_of(text, target_of({"adc_bits": 5}), shape, circuit="judged")
