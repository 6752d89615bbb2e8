"""`nvmc compare` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nvmc.cli import main

FEW = ["--data", "digits", "--limit", "60", "--runs", "5", "--sigma", "0.4"]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("compare")
    for name in ("mlp3", "lenet5"):
        words = ["compile", f"zoo:{name}-digits", "--device", "fefet2"]
        assert main([*words, "-o", str(found / f"{name}.nvmc")]) == 0
    return found


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    capsys.readouterr()


def test_table_figure_and_stores(capsys: Capture, folder: Path) -> None:
    words = ["compare", "mlp3.nvmc", "lenet5.nvmc", *FEW]
    assert main([*words, "--figure", "both.png"]) == 0
    found = capsys.readouterr()
    lines = found.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "5 chips, seed 0, 60 images (digits, limit 60)" in found.out
    assert "needs 477 chips: --runs 477" in found.out
    assert "no array of the name and shape" in found.err
    assert Path("both.png").read_bytes().startswith(b"\x89PNG")
    for name in ("mlp3", "lenet5"):  # each keeps its chips, which `simulate` then has
        assert main(["simulate", f"{name}.nvmc", *FEW]) == 0
        assert "from the store" in capsys.readouterr().out


def test_other_forms_are_the_table_alone(capsys: Capture) -> None:
    words = ["compare", "mlp3.nvmc", "--device", "fefet2", "--device", "fefet1", *FEW]
    starts = {"markdown": "mlp3 on fefet2", "latex": "% needs", "csv": "label,", "html": "<table"}
    for kind, start in starts.items():
        assert main([*words, "--format", kind]) == 0
        assert capsys.readouterr().out.startswith(start)
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["label"] for one in told["networks"]] == ["fefet2", "fefet1"]
    assert told["networks"][1]["against_first"]["arrays_in_common"] == 3


def test_one_network_alone_is_refused(capsys: Capture) -> None:
    assert main(["compare", "mlp3.nvmc", *FEW]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nvmc: error: there is nothing to compare; give two or more networks")
