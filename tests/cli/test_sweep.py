"""`nvmc sweep` as a user types it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nvmc.cli import main

Capture = pytest.CaptureFixture[str]
Run = Callable[..., str]

COMMON = ["--data", "digits", "--limit", "60", "--runs", "4"]
RETENTION = ["--noise", "retention:nu_mean=0.05,nu_std=0.02,t0_s=20"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("sweep") / "mlp3.nvmc")
    assert main(["compile", "zoo:mlp3-digits", "--device", "fefet2", "-o", folder]) == 0
    return folder


@pytest.fixture
def run(compiled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Run:
    """Run `nvmc sweep` in an empty folder: what it prints, or its one line of error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def runner(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main(["sweep", compiled, *words]) == code
        captured = capsys.readouterr()
        if code == 0:
            return captured.out
        (line,) = captured.err.splitlines()
        assert line.startswith("nvmc: error: ")
        assert list(tmp_path.iterdir()) == []
        return line

    return runner


def as_json(capsys: Capture, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


def test_table(run: Run) -> None:
    text = run("--sigma", "0:0.4:0.2", "--time", "20s,1y", *RETENTION, *COMMON)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "4 chips, seed 0, 60 images (digits, limit 60)" in " ".join(text.split())
    assert "No lower limit yet, 368 chips give one: --runs 368." in " ".join(text.split())
    rows = [line.split() for line in lines if line.split()[:1] in (["0"], ["0.2"], ["0.4"])]
    assert [row[:2] for row in rows] == [[s, t] for t in ("20s", "1y") for s in ("0", "0.2", "0.4")]
    ideal, mean, std, worst, kpp = rows[0][2:7]
    assert ideal == mean == worst == kpp and std == "0.00"  # no noise, and at t0 no decay
    assert {row[2] for row in rows} == {ideal}


def test_four_options_fit_eighty_columns(run: Run) -> None:
    text = run(
        *("--sigma", "0.1", "--time", "1h", "--adc-bits", "8,none", "--dac-bits", "8,none"),
        *(*RETENTION, "--data", "digits", "--limit", "5", "--runs", "1"),
    )
    assert max(map(len, text.splitlines())) <= 80
    assert "sigma 0.1, 1 h since programming" in " ".join(text.split())


def test_json_is_that_of_simulations(compiled: str, capsys: Capture) -> None:
    result = as_json(capsys, "sweep", compiled, "--sigma", "0.1:0.3:0.1", *COMMON)
    assert result["format"] == "nvmc.evaluation.sweep/1" and result["axes"] == ["sigma"]
    assert [point["at"] for point in result["points"]] == [
        {"sigma": sigma} for sigma in (0.1, 0.2, 0.3)
    ]
    for point in result["points"]:
        alone = as_json(capsys, "simulate", compiled, "--sigma", str(point["at"]["sigma"]), *COMMON)
        for key in ("values", "ideal", "mean", "std", "min", "percentile"):
            assert point[key] == alone[key]
        assert result["description"] | point["description"] == alone["description"]
        assert point["percentile"]["is_worst"]


def test_files(run: Run) -> None:
    run(
        *("--sigma", "0.1,0.2", "--adc-bits", "6,none", *COMMON),
        *("--csv", "points.csv", "--chips-csv", "chips.csv", "--figure", "curves.png"),
    )
    with Path("points.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    with Path("chips.csv").open(newline="") as file:
        chips = list(csv.DictReader(file))
    assert [(p["sigma"], p["adc_bits"], p["fidelity"]) for p in points] == [
        ("0.1", "6", "circuit"),
        ("0.2", "6", "circuit"),
        ("0.1", "none", "cells"),
        ("0.2", "none", "cells"),
    ]
    assert len(chips) == 4 * 4
    for i, point in enumerate(points):
        own = [row for row in chips if all(row[k] == point[k] for k in ("sigma", "adc_bits"))]
        assert [row["chip"] for row in own] == ["0", "1", "2", "3"]
        values = [float(row["accuracy"]) for row in own]
        assert float(point["mean"]) == np.mean(values), i
        assert float(point["kpp"]) == min(values) and point["kpp_low"] == ""
    assert Path("curves.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(Path().iterdir())) == 3


def test_without_labels_it_says_so(run: Run) -> None:
    text = " ".join(run("--sigma", "0.1", "--runs", "2", "--limit", "5").split())
    assert "No labels" in text and "not accuracy" in text


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ([], "--sigma"),
        (["--sigma", "0:0.4"], "FIRST:LAST:STEP"),
        (["--sigma", "-0.1"], "-0.1"),
        (["--sigma", "0.1,nan"], "nan"),
        (["--sigma", "0:1:1e-9"], "step"),
        (["--time", "1h"], "depends on time"),
        (["--time", "yesterday"], "yesterday"),
        (["--adc-bits", "0"], "1 to 16"),
        (["--adc-bits", "17"], "17"),
        (["--dac-bits", "x"], "dac-bits"),
        (["--adc-bits", "4,8", "--fidelity", "cells"], "--adc-bits changes nothing"),
        (["--dac-bits", "none,8", "--fidelity", "cells"], "--dac-bits changes nothing"),
        (["--sigma", "0.1,0.2", "--adc-bits", "4,5", "--dac-bits", "4,5"], "at most two"),
        (["--sigma", "0.1", "--runs", "0"], "0"),
        (["--sigma", "0.1", "--percentile", "100"], "100"),
        (["--sigma", "0.1", "--csv", "absent/a.csv"], "absent"),
        (["--sigma", "0.1", "--chips-csv", "."], "folder"),
        (["--sigma", "0.1", "--figure", "absent/a.png"], "absent"),
        (["--sigma", "0.1", "--data", "absent.npz"], "absent.npz"),
        (["--sigma", "0.1", "--device", "nix"], "nix"),
        (["--sigma", "0.1", "--noise", "dust"], "dust"),
        (["--sigma", "0.1", "--output", "nix"], "nix"),
        (
            ["--sigma", "0.1", "--fidelity", "cells", "--noise", "read:basis=level,sigma=0.1"],
            "read",
        ),
    ],
)
def test_bad_input(run: Run, options: list[str], named: str) -> None:
    assert named in run(*options, code=1)


def test_picture_without_matplotlib(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "nvmc[report]" in run("--sigma", "0.1", "--figure", "a.png", code=1)


def test_the_range_is_that_of_points_with_an_adc(tmp_path: Path, capsys: Capture) -> None:
    words = ["zoo:mlp3-digits", "--device", "rram4", "--data", "digits", "--dac-bits", "8"]
    path = str(tmp_path / "c.nvmc")
    ranged = ["--adc-bits", "5", "--adc-range", "calibrated", "-o", path]
    assert main(["compile", *words, *ranged]) == 0
    capsys.readouterr()
    few = ["--data", "digits", "--limit", "4", "--runs", "2", "--no-store"]
    assert main(["sweep", path, *few, "--adc-bits", "5,none"]) == 0
    assert "ADC (range calibrated)" in " ".join(capsys.readouterr().out.split())
