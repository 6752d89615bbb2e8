"""What is said where a user is about to draw a wrong conclusion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nvmc
from nvmc import load_device, open_compiled, simulate
from nvmc.cli import main
from nvmc.cli.heading import on_off_text
from nvmc.data import load_data
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


@pytest.fixture
def sorted_data(tmp_path: Path) -> str:
    data = load_data("digits")
    assert data.y is not None
    order = np.argsort(data.y, kind="stable")
    np.savez(tmp_path / "sorted.npz", x=data.x[order], y=data.y[order])
    return str(tmp_path / "sorted.npz")


@pytest.mark.parametrize(
    "command",
    [
        ("simulate", "--no-store", "--runs", "3"),
        ("sweep", "--no-store", "--runs", "2", "--sigma", "0.1,0.2"),
        ("sensitivity", "--runs", "2"),
        (
            "solve",
            *"--no-store --runs 10 --percentile 50 --goal 1% --over sigma=0.1,0.2".split(),
        ),
        ("uncertainty", "--runs", "2", "--shift", "noise"),
        ("inspect",),
    ],
)
def test_a_limit_that_takes_few_classes(
    command: tuple[str, ...], sorted_data: str, tmp_path: Path, capsys: Capture
) -> None:
    """The accuracy on two of ten classes looks like one on ten."""
    folder = str(tmp_path / "mlp3.nvmc")
    assert main(["compile", "zoo:mlp3-digits", "--device", "fefet2", "-o", folder]) == 0
    name, *options = command
    words = [name, folder, *options, "--limit", "60", "--json"]
    told, said = _said(capsys, *words, "--data", sorted_data)
    assert said.count("note: the first 60 samples of") == 1 and "lack 8 of 10 classes" in said
    assert json.loads(told)["description"]["data_note"].startswith("the first 60 samples")
    told, said = _said(capsys, *words, "--data", "digits")  # mixed
    assert "first 60" not in said and "data_note" not in json.loads(told)["description"]


def test_a_limit_that_takes_few_classes_in_tables_and_pages(
    sorted_data: str, tmp_path: Path
) -> None:
    compiled = nvmc.compile("zoo:mlp3-digits", "fefet2", output=tmp_path / "mlp3.nvmc")
    options: Any = {"runs": 2, "data": sorted_data, "limit": 60, "store": None}
    result = nvmc.simulate(compiled, **options)
    del options["store"]
    results: list[Any] = [result, nvmc.compare(compiled, compiled, **options, stores=[])]
    results.append(nvmc.sweep(compiled, {"sigma": [0.1, 0.2]}, **options))
    for one in results:
        assert "lack 8 of 10 classes" in one.table("latex")
    page = result.report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "lack 8 of 10 classes" in page
