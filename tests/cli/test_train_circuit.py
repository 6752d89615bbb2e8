"""`nvmc train` through converters and tiles, and at drawn ages, as a user types it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from nvmc.cli import main
from small_training import blobs, small_network

Capture = pytest.CaptureFixture[str]

TRAINED = ["train", "mlp.onnx", "--data", "blobs.npz", "--device", "rram4", "--weight-bits", "4"]
QUICK = ["--epochs", "2", "--batch", "64", "--chips", "6", "--every", "1", "--rate", "0.01"]
CIRCUIT = ["--dac-bits", "5", "--adc-bits", "4", "--tile", "5x8"]
CALIBRATED = [*CIRCUIT, "--dac-range", "calibrated", "--adc-range", "calibrated"]
LEARNED = [*CALIBRATED, "--ranges", "learned"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small network and its data, the held-out images among them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    small_network(tmp_path)
    for file, seed in (("blobs.npz", 1), ("held.npz", 2)):
        data = blobs(160, seed)
        np.savez(file, allow_pickle=False, x=data.x, y=data.y)
    return tmp_path


def ok(capsys: Capture, *words: str) -> str:
    assert main(words) == 0, capsys.readouterr().err
    return capsys.readouterr().out


@pytest.mark.parametrize("use", [CIRCUIT, CALIBRATED, LEARNED], ids=" ".join)
@pytest.mark.parametrize("method", ["erm", "gaussian", "rc-gaussian"])
def test_the_commands_that_follow_state_the_same_kpp(
    capsys: Capture, use: list[str], method: str
) -> None:
    held = ["--validation", "held.npz", "--sigma", "0.2"]
    told = json.loads(
        ok(capsys, *TRAINED, *QUICK, *use, *held, "--method", method, "-o", "out.onnx", "--json")
    )
    assert told["circuit"] and not told["left_out"]
    compiling, simulating = (shlex.split(command)[1:] for command in told["next"])
    ok(capsys, *compiling)
    simulating[simulating.index("blobs.npz")] = "held.npz"
    chips = ["--seed", str(2**32), "--runs", "6", "--percentile", "1", "--no-store", "--json"]
    found = json.loads(ok(capsys, *simulating, *chips))
    assert found["description"]["fidelity"] == "circuit"
    assert found["percentile"]["value"] == told["after"]["kpp"]


def test_what_stands_around_the_arrays_is_said(capsys: Capture) -> None:
    trained = ok(capsys, *TRAINED, *QUICK, *CALIBRATED, "--method", "erm")
    assert (
        "Circuit, trained through: 5-bit multi-level DAC (range calibrated); 4-bit ADC" in trained
    )
    assert "--tile 5x8 --dac-bits 5 --dac-range calibrated --adc-bits 4" in trained
    assert "--data blobs.npz" in trained
    judged = ok(capsys, *TRAINED, *QUICK, *CIRCUIT, "--method", "erm", "--circuit", "judged")
    assert "Circuit, in KPPs only: 5-bit" in judged
    assert "KPPs have converters and wires, but training did not see it" in judged


@pytest.mark.parametrize("device", ["rram4"])
def test_ages_are_drawn_and_kpps_are_of_the_last(capsys: Capture, device: str) -> None:
    ages = ["--noise", "retention:nu_mean=0.05,nu_std=0.02,t0_s=20", "--time", "1h:30d"]
    told = json.loads(ok(capsys, *TRAINED, *QUICK, *ages, "--method", "gaussian", "--json"))
    assert told["times_s"] == [3600.0, 30 * 86400.0]
    assert "--time 30d" in told["next"][1]
    printed = ok(capsys, *TRAINED, *QUICK, *ages, "--method", "gaussian", "-o", "b.onnx")
    assert "between 1 h and 30 d, drawn log-uniformly old; those of KPPs 30 d" in printed


def test_a_method_that_draws_no_ages_says_so(capsys: Capture) -> None:
    ages = ["--noise", "retention:nu_mean=0.05,nu_std=0.02,t0_s=20", "--time", "1h:30d"]
    told = json.loads(ok(capsys, *TRAINED, *QUICK, *ages, "--method", "erm", "--json"))
    assert told["left_out"] == ["ages before the last, 30 d"] and not told["ages"]
    printed = ok(capsys, *TRAINED, *QUICK, *ages, "--method", "erm", "-o", "b.onnx")
    assert "Chips in training were 30 d old; those of KPPs 30 d" in printed


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--dac-bits", "17"], "dac-bits"),
        (["--dac-mode", "bit-serial"], "bit-serial inputs need"),
        (["--wire-ohm", "5"], "device 'rram4' states no conductance, which wires need"),
        (["--ranges", "learned"], "learned ranges need --dac-bits and --dac-range calibrated"),
        ([*LEARNED, "--activation-bits", "4"], "no --activation-bits"),
        (["--time", "30d"], "no noise source that depends on time"),
        (["--time", "1h,2h"], "two as in 1h:30d"),
        (["--time", "30d:1h", "--noise", "retention:nu_mean=0.1,t0_s=1"], "the earlier first"),
    ],
)
def test_bad_option(capsys: Capture, options: list[str], named: str) -> None:
    assert main([*TRAINED, *QUICK, "--method", "erm", *options]) == 1
    error = capsys.readouterr().err
    assert named in error and error.count("\n") == 1
