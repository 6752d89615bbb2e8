"""What chips that predict values know of their errors, against closed forms and slow loops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from scipy import optimize, stats

from nvmc import Target, compile_model, load_device
from nvmc.cli import main
from nvmc.compiled.options import CompileOptions
from nvmc.data import load_data
from nvmc.errors import DataError
from nvmc.evaluation.value_uncertainty import noise_of, value_measures, value_uncertainty
from onnx_text import proto_of

Capture = pytest.CaptureFixture[str]

MLP = """g (float[N,6] x) => (float[N,2] y)
<float[6,16] w1, float[16] b1, float[16,2] w2, float[2] b2> {
  h = Gemm (x, w1, b1)
  a = Relu (h)
  y = Gemm (a, w2, b2)
}"""


def test_measures_are_those_of_a_normal_law() -> None:
    generator = np.random.default_rng(0)
    mean, variance = generator.standard_normal((2, 30, 2))
    variance, targets = variance**2, generator.standard_normal((30, 2))
    found = value_measures(mean, variance, targets, 0.5)
    deviation = np.sqrt(variance + 0.25)
    law = stats.norm(mean, deviation)
    assert found.nll == pytest.approx(-law.logpdf(targets).mean(), rel=1e-12)
    assert found.rmse == pytest.approx(np.sqrt(np.mean((mean - targets) ** 2)), rel=1e-14)
    low, high = law.interval(0.9)
    assert found.coverage == np.mean((low <= targets) & (targets <= high))
    claimed = np.arange(1, 20) / 20
    share = [np.mean(np.abs(2 * law.cdf(targets) - 1) <= level) for level in claimed]
    assert found.calibration_error == pytest.approx(np.abs(share - claimed).mean(), abs=1e-12)
    assert found.deviation == pytest.approx(deviation.mean())
    assert found.spread == pytest.approx(np.sqrt(variance.mean()))


def test_values_of_the_law_are_calibrated() -> None:
    generator = np.random.default_rng(1)
    mean, variance = np.zeros(40_000), generator.uniform(0, 2, 40_000)
    targets = generator.normal(mean, np.sqrt(variance + 0.49))
    noise = noise_of(mean, variance, targets)
    assert noise == pytest.approx(0.7, abs=0.02)
    found = value_measures(mean, variance, targets, noise)
    assert found.coverage == pytest.approx(0.9, abs=0.006)  # four standard errors
    assert found.calibration_error < 0.01
    assert value_measures(mean, variance, targets, 0.1).calibration_error > 0.05


@pytest.mark.parametrize("seed", range(3))
def test_the_noise_is_the_likeliest(seed: int) -> None:
    generator = np.random.default_rng(seed)
    mean, targets = generator.standard_normal((2, 50))
    variance = generator.uniform(0, 1, 50) * generator.integers(0, 2, 50)

    def cost(extra: float) -> float:
        return -float(stats.norm(mean, np.sqrt(variance + extra)).logpdf(targets).mean())

    best: Any = optimize.minimize_scalar(cost, bounds=(1e-9, 20), method="bounded")
    found = noise_of(mean, variance, targets) ** 2
    assert cost(found) <= best.fun + 1e-6
    constant = noise_of(mean, np.zeros(50), targets)  # in closed form
    assert constant == pytest.approx(np.sqrt(np.mean((mean - targets) ** 2)), rel=1e-3)
    assert noise_of(mean, np.zeros(50), mean) == 0
    with pytest.raises(DataError, match="NaN or infinity"):
        noise_of(mean * np.nan, variance, targets)


def test_broken_chips_are_finite() -> None:
    found = value_measures(np.array([np.nan, 0.0]), np.zeros(2), np.zeros(2), 1.0)
    assert found.coverage == 0.5 and found.rmse == found.nll == np.finfo(np.float64).max


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    onnx.save(proto_of(MLP), "m.onnx")
    generator = np.random.default_rng(0)
    x = generator.standard_normal((60, 6)).astype(np.float32)
    session: Any = ort.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    y = session.run(None, {"x": x})[0]
    np.savez("d.npz", x=x, y=(y + generator.normal(0, 0.3, y.shape)).astype(np.float32))
    np.savez("few.npz", x=x[:10], y=y[:10])
    return tmp_path


def test_a_network_that_draws_nothing(folder: Path) -> None:
    """The constant is the ideal chip's RMSE on one half; chips are those of `nvmc program`."""
    network = compile_model("m.onnx", Target.of(load_device("fefet2"), weight_bits=4))
    found = value_uncertainty(network, runs=3, sigma=0.4, data="d.npz")
    data = load_data("d.npz").shuffled()

    def outputs(words: list[str]) -> np.ndarray:
        assert main(["program", "m.nvmc", *words, "-o", "chip.onnx"]) == 0
        session: Any = ort.InferenceSession("chip.onnx", providers=["CPUExecutionProvider"])
        return session.run(None, {"x": data.x})[0].astype(np.float64)

    targets = data.targets
    assert targets is not None
    off = outputs(["--chip", "0", "--sigma", "0"])[:30] - targets[:30]
    assert found.noise == pytest.approx(np.sqrt(np.mean(off**2)), rel=1e-3)
    mean = outputs(["--chip", "2", "--sigma", "0.4"])[30:]
    wanted = value_measures(mean, np.zeros_like(mean), targets[30:], found.noise)
    assert found.rows[0].chips[2].rmse == pytest.approx(wanted.rmse, rel=1e-5)
    assert found.rows[0].chips[2].nll == pytest.approx(wanted.nll, rel=1e-5)
    assert found.rows[0].shift.kind == "none" and found.rows[-1].shift.kind == "noise"
    assert found.rows[0].values("spread").tolist() == [0, 0, 0]
    again = value_uncertainty(network, runs=3, sigma=0.4, data="d.npz", batch=7, jobs=1)
    assert again.rows[0].chips[2].coverage == found.rows[0].chips[2].coverage


def test_a_network_that_drops(folder: Path, capsys: Capture) -> None:
    options = CompileOptions(passes=("insert-dropout:rate=0.3,active=true",))
    network = compile_model("m.onnx", Target.of(load_device("fefet2"), weight_bits=4), options)
    found = value_uncertainty(network, runs=3, sigma=0.2, data="d.npz", mc_passes=8)
    assert (found.rows[0].values("spread") > 0).all() and found.noise >= 0
    assert found.rows[0].values("deviation").mean() > found.rows[0].values("spread").mean() / 2
    words = ["uncertainty", "m.nvmc", "--data", "d.npz", "--runs", "3", "--sigma", "0.2"]
    assert main([*words, "--mc-passes", "8", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"][0]["nll"]["values"] == found.rows[0].values("nll").tolist()
    assert told["calibrated"] == 30 and told["noise"] == found.noise
    assert main(words) == 0
    assert "RMSE" in (text := capsys.readouterr().out) and "miscalibrated" in text
    for wrong, said in (
        (["--figure", "f.png"], "the uncertainty of values has no figure yet"),
        (["--shift", "rotation"], "leave the rotation out"),
    ):
        assert main([*words, *wrong]) == 1
        assert said in capsys.readouterr().err
    assert main(["uncertainty", "m.nvmc", "--data", "few.npz", "--runs", "2"]) == 1
    assert "expected at least 20" in capsys.readouterr().err
