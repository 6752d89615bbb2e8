"""`--noise MODULE:NAME` and `--device MODULE:NAME`: laws of one's own from the command line."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from nvmc.cli import main

Capture = pytest.CaptureFixture[str]

LAW = """
import numpy as np


def sagging(levels, cells, draws, *, by=0.1, spread=0.02):
    kept = np.float32(1 - by) + np.float32(spread) * draws.normal(levels.shape)
    return levels * kept


def wrong(levels, cells, draws):
    return levels[0]
"""
COMMON = ["--data", "digits", "--limit", "30", "--runs", "3"]
_NUMBERS = itertools.count()


@pytest.fixture
def law(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    name = f"typed_laws_{next(_NUMBERS)}"
    (tmp_path / f"{name}.py").write_text(LAW)
    return name


def run(capsys: Capture, *words: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(words) == code
    captured = capsys.readouterr()
    if code:
        (line,) = captured.err.splitlines()
        assert line.startswith("nvmc: error: ")
        return line
    return captured.out


def values(capsys: Capture, *words: str) -> dict[str, Any]:
    return json.loads(run(capsys, "simulate", "net.nvmc", *COMMON, *words, "--json"))


def test_a_noise_of_one_s_own(law: str, capsys: Capture) -> None:
    run(capsys, "compile", "zoo:mlp3-digits", "--device", "fefet2", "-o", "net.nvmc")
    typed = ["--noise", f"{law}:sagging,by=0.5"]
    found = values(capsys, *typed)
    own = found["description"]["noise"][-1]
    assert (own["law"], own["keys"]) == (f"{law}:sagging", {"by": 0.5, "spread": 0.02})
    assert len(own["sha256"]) == 64
    again = values(capsys, *typed)
    assert again["recorded"] == 3 and again["values"] == found["values"]
    assert values(capsys, *typed, "--no-store")["values"] == found["values"]
    assert values(capsys, "--noise", f"{law}:sagging,by=0.25")["recorded"] == 0
    text = run(capsys, "simulate", "net.nvmc", *COMMON, *typed)
    assert f"noise {law}:sagging,by=0.5,spread=0.02" in " ".join(text.split())
    listed = run(capsys, "results", "list", "net.nvmc")
    assert "3" in listed
    error = run(capsys, "simulate", "net.nvmc", *COMMON, "--noise", f"{law}:wrong", code=1)
    assert "gives the shape" in error


def test_a_device_of_one_s_own(law: str, capsys: Capture) -> None:
    device = ["--device", f"{law}:sagging"]
    assert law in run(capsys, "devices", "show", f"{law}:sagging")
    run(capsys, "compile", "zoo:mlp3-digits", *device, "-o", "net.nvmc")
    error = run(capsys, "simulate", "net.nvmc", *COMMON, code=1)
    assert f"'{law}:sagging' is a law of your own that a file names, and files run no code" in error
    found = values(capsys, *device)
    assert found["description"]["device"] == "sagging"
    files = ["-o", "chip.onnx", "--cells", "chip.npz"]
    run(capsys, "program", "net.nvmc", "--chip", "0", *device, *files)


@pytest.mark.slow
def test_worker_processes_find_it(law: str, capsys: Capture) -> None:
    pytest.importorskip("distributed")
    run(capsys, "compile", "zoo:mlp3-digits", "--device", "fefet2", "-o", "net.nvmc")
    typed = ["--noise", f"{law}:sagging", "--no-store"]
    there = values(capsys, *typed, "--workers", "processes:2")
    assert there["values"] == values(capsys, *typed)["values"]
