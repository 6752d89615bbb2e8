"""`nvmc simulate --figure`: a picture of the chips beside the results."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from nvmc.cli import main

Capture = pytest.CaptureFixture[str]

COMMON = ["--data", "digits", "--limit", "30", "--runs", "3"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("pictures") / "mlp3.nvmc")
    assert main(["compile", "zoo:mlp3-digits", "--device", "fefet2", "-o", folder]) == 0
    return folder


@pytest.mark.parametrize(
    "more", [[], ["--noise", "retention:nu_mean=0.05,t0_s=20", "--time", "1h,1y"]]
)
def test_histogram(compiled: str, capsys: Capture, tmp_path: Path, more: list[str]) -> None:
    capsys.readouterr()
    path = tmp_path / "chips.png"
    assert main(["simulate", compiled, *COMMON, *more, "--figure", str(path), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["values"]) == 3
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_values_without_a_grain(compiled: str, tmp_path: Path) -> None:
    """Agreement on seeded inputs, and chips that are all alike."""
    for sigma in ("0", "0.3"):
        path = tmp_path / f"{sigma}.png"
        words = ["simulate", compiled, "--runs", "2", "--limit", "3", "--sigma", sigma]
        assert main([*words, "--figure", str(path)]) == 0
        assert path.is_file()


@pytest.mark.parametrize("place", ["absent/chips.png", "absent/chips.svg"])
def test_nowhere_to_write(compiled: str, capsys: Capture, tmp_path: Path, place: str) -> None:
    capsys.readouterr()
    assert main(["simulate", compiled, *COMMON, "--figure", str(tmp_path / place)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nvmc: error: cannot write")
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib(
    compiled: str, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    capsys.readouterr()
    assert main(["simulate", compiled, *COMMON, "--figure", str(tmp_path / "a.png")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "nvmc[report]" in line
    assert list(tmp_path.iterdir()) == []
