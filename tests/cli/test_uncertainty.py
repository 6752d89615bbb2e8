"""`nvmc uncertainty` and `nvmc simulate --mc-passes` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nvmc.cli import main

Capture = pytest.CaptureFixture[str]

COMMON = ["--data", "digits", "--limit", "30", "--runs", "3"]
DROPOUT = ["--pass", "insert-dropout:rate=0.3,active=true"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uncertainty")


@pytest.fixture(scope="module")
def compiled(folder: Path) -> str:
    name = str(folder / "drop.nvmc")
    assert main(["compile", "zoo:mlp3-digits", "--device", "fefet2", *DROPOUT, "-o", name]) == 0
    return name


@pytest.fixture(scope="module")
def plain(folder: Path) -> str:
    name = str(folder / "plain.nvmc")
    assert main(["compile", "zoo:mlp3-digits", "--device", "fefet2", "-o", name]) == 0
    return name


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def read(capsys: Capture, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_table_json_and_picture(compiled: str, capsys: Capture) -> None:
    words = ["uncertainty", compiled, *COMMON, "--mc-passes", "3"]
    capsys.readouterr()
    assert main(words) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    assert "mean of 3 stochastic passes" in " ".join(text.split())
    found = read(capsys, *words, "--figure", "doubts.png")
    assert Path("doubts.png").read_bytes().startswith(b"\x89PNG")
    assert (
        found["format"] == "nvmc.evaluation.uncertainty/1"
        and found["description"]["mc_passes"] == 3
    )
    assert [row["kind"] for row in found["rows"]] == ["none"] + ["rotation"] * 12 + ["noise"] * 10
    first = found["rows"][0]
    assert f"{100 * first['accuracy']['mean']:.1f} ±" in text
    assert len(first["nll"]["values"]) == 3
    assert first["nll"]["mean"] == pytest.approx(np.mean(first["nll"]["values"]))


def test_one_shift(compiled: str, capsys: Capture) -> None:
    words = ["uncertainty", compiled, *COMMON, "--mc-passes", "2", "--shift", "noise"]
    found = read(capsys, *words, "--figure", "noise.png")
    assert {row["kind"] for row in found["rows"]} == {"none", "noise"}
    assert Path("noise.png").is_file()


def test_a_network_that_draws_nothing_is_noted(plain: str, capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["uncertainty", plain, *COMMON, "--shift", "noise"]) == 0
    assert "no random layers" in capsys.readouterr().err


def test_simulate_with_passes(compiled: str, capsys: Capture) -> None:
    words = ["simulate", compiled, *COMMON]
    one, same = read(capsys, *words), read(capsys, *words, "--mc-passes", "1", "--jobs", "1")
    assert one["description"]["mc_passes"] == 1 and one["values"] == same["values"]
    many = read(capsys, *words, "--mc-passes", "8", "--batch", "7")
    again = read(capsys, *words, "--mc-passes", "8", "--jobs", "1")
    assert many["values"] == again["values"] != one["values"]
    capsys.readouterr()
    assert main([*words, "--mc-passes", "8"]) == 0
    assert "mean of 8 stochastic passes" in " ".join(capsys.readouterr().out.split())


def test_every_point_of_a_sweep_is_what_simulate_gives(compiled: str, capsys: Capture) -> None:
    """The same chips with the same masks at every sigma."""
    words = [compiled, *COMMON, "--mc-passes", "3"]
    found = read(capsys, "sweep", *words, "--sigma", "0,0.2")
    assert found["description"]["mc_passes"] == 3
    for sigma, point in zip(("0", "0.2"), found["points"], strict=True):
        alone = read(capsys, "simulate", *words, "--sigma", sigma, "--jobs", "1")
        assert point["values"] == alone["values"] and point["ideal"] == alone["ideal"]


def test_sensitivity_runs_one_pass(compiled: str, capsys: Capture) -> None:
    words = ["sensitivity", compiled, *COMMON, "--sigma", "0.2", "--percentile", "20"]
    first, second = read(capsys, *words), read(capsys, *words, "--jobs", "1")
    assert first["parts"] == second["parts"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--mc-passes", "0"], "mc-passes is 0"),
        (["--mc-passes", "-3"], "mc-passes is -3"),
        (["--runs", "0"], "runs"),
        (["--limit", "0"], "limit"),
        (["--data", "absent.npz"], "absent.npz"),
        (["--data", "flat.npz", "--shift", "rotation"], "cannot be turned"),
        (["--data", "bare.npz"], "no labels"),
        (["--figure", "absent/a.png"], "absent"),
        (["--time", "soon"], "soon"),
        (["--noise", "dust"], "dust"),
        (["--output", "nix"], "nix"),
        (["--jobs", "0"], "jobs"),
    ],
)
def test_bad_input(compiled: str, capsys: Capture, words: list[str], named: str) -> None:
    np.savez("flat.npz", x=np.zeros((3, 784), np.float32), y=np.zeros(3, np.int64))
    np.savez("bare.npz", x=np.zeros((3, 1, 28, 28), np.float32))
    capsys.readouterr()
    assert main(["uncertainty", compiled, *COMMON, *words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nvmc: error: ") and named in line


@pytest.mark.parametrize("command", ["simulate", "uncertainty"])
def test_passes_of_nothing(plain: str, capsys: Capture, command: str) -> None:
    capsys.readouterr()
    assert main([command, plain, *COMMON, "--mc-passes", "4"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no random layers" in line


def test_data_must_be_named(compiled: str, capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["uncertainty", compiled]) == 2
    assert "--data" in capsys.readouterr().err
