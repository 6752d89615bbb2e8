"""What is said where a user is about to draw a wrong conclusion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nvmc import load_device, open_compiled, simulate
from nvmc.cli import main
from nvmc.cli.heading import on_off_text
from nvmc.hardware.devices import Target

Capture = pytest.CaptureFixture[str]

DEVICE = """
name = "NAME"
title = "made up"
source = "made up"
levels = 4
sigma = 0.2
conductance = { min_us = MIN, max_us = MAX }

[defaults]
weight_bits = 4
cell_bits = 2

[[noise]]
type = "programming"
basis = "level"
"""


def _device(folder: Path, name: str, low: float, high: float) -> str:
    path = folder / f"{name}.toml"
    text = DEVICE.replace("NAME", name).replace("MIN", f"{low:g}").replace("MAX", f"{high:g}")
    path.write_text(text)
    return str(path)


def _said(capsys: Capture, *words: str) -> tuple[str, str]:
    capsys.readouterr()
    assert main(words) == 0
    captured = capsys.readouterr()
    return " ".join(captured.out.split()), captured.err


def test_an_on_off_ratio_that_nothing_sees(tmp_path: Path, capsys: Capture) -> None:
    values: list[tuple[float, ...]] = []
    for name, low, high, ratio in (("high", 10, 40, "4"), ("low", 100, 130, "1.3")):
        folder = str(tmp_path / f"{name}.nvmc")
        device = _device(tmp_path, name, low, high)
        told, _ = _said(capsys, "compile", "zoo:mlp3-digits", "--device", device, "-o", folder)
        assert f"On/off ratio {ratio}: without ADC and wires" in told
        found = simulate(open_compiled(folder), runs=3, data="digits", limit=50, store=None)
        values.append(tuple(found.values))
    assert values[0] == values[1] and np.std(values[0]) > 0  # as is said


@pytest.mark.parametrize(
    ("low", "options"),
    [
        (0.1, []),  # a ratio of 300 and more
        (10, ["--adc-bits", "8"]),
        (10, ["--wire-ohm", "1"]),
        (10, ["--encoding", "offset", "--reference", "column"]),
    ],
)
def test_one_that_is_high_or_that_counts(
    low: float, options: list[str], tmp_path: Path, capsys: Capture
) -> None:
    device = _device(tmp_path, "mine", low, 40)
    folder = str(tmp_path / "m.nvmc")
    words = ["compile", "zoo:mlp3-digits", "--device", device, "-o", folder, *options]
    assert "On/off ratio" not in _said(capsys, *words)[0]


def test_a_device_that_states_no_conductance() -> None:
    assert on_off_text(Target.of(load_device("rram4"))) is None


def test_microsiemens_that_may_be_siemens(tmp_path: Path, capsys: Capture) -> None:
    low = _device(tmp_path, "low", 1e-4, 5e-3)
    for words in (["devices", "show", low], ["compile", "zoo:mlp3-digits", "--device", low]):
        words += ["-o", str(tmp_path / "m.nvmc")] * (words[0] == "compile")
        said = _said(capsys, *words)[1]
        assert "conduct 0.005 µS at most" in said and "write max_us = 5000" in said
    usual = _device(tmp_path, "usual", 1e-4, 0.011)
    assert "siemens" not in _said(capsys, "devices", "show", usual)[1]


def test_random_inputs(tmp_path: Path, capsys: Capture) -> None:
    folder = str(tmp_path / "m.nvmc")
    _said(capsys, "compile", "zoo:mlp3-digits", "--device", "rram4", "-o", folder)
    common = [folder, "--runs", "10", "--limit", "5"]
    for words in (
        ["simulate", *common],
        ["sweep", *common, "--sigma", "0.1"],
        ["sensitivity", *common, "--percentile", "50"],
    ):
        assert "Inputs are random:" in _said(capsys, *words)[0]
    assert "Inputs are random" not in _said(capsys, "simulate", *common, "--data", "digits")[0]
