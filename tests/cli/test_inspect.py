"""`nvmc inspect` as a user types it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from nvmc.cli import main

Capture = pytest.CaptureFixture[str]

COMMON = ["--data", "digits", "--limit", "20"]
ADC = ["--adc-bits", "5", "--dac-bits", "4"]


def made(folder: Path, *words: str) -> str:
    path = str(folder / "mlp3.nvmc")
    assert main(["compile", "zoo:mlp3-digits", "--device", "fefet2", "-o", path, *words]) == 0
    return path


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(tmp_path_factory.mktemp("adc"), *ADC)


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(tmp_path_factory.mktemp("exact"))


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def test_all_layers_in_tables_and_files(compiled: str, capsys: Capture) -> None:
    capsys.readouterr()
    words = ["inspect", compiled, *COMMON, "--chip", "3", "--sigma", "0.2"]
    assert main([*words, "--csv", "layers.csv", "--figure", "layers.png"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "1 chip from chip 3, seed 0, 20 images (digits, limit 20)" in " ".join(text.split())
    assert Path("layers.png").read_bytes().startswith(b"\x89PNG")
    assert main([*words, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    printed: dict[str, Any] = json.loads(captured.out)
    assert printed["format"] == "nvmc.evaluation.inspection/1" and printed["chip"] == 3
    with Path("layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    arrays = printed["arrays"]
    assert [row["array"] for row in rows] == [array["array"] for array in arrays]
    for row, array, layer in zip(rows, arrays, printed["layers"], strict=True):
        assert int(row["codes_used"]) == array["codes"]["used"]
        assert float(row["error ADC"]) == layer["errors"]["ADC"]
        assert float(row["remainder"]) == layer["remainder"]
        assert f"{array['codes']['used']} of 31" in text
        shown = [*layer["errors"].values(), layer["together"], layer["remainder"]]
        line = next(x for x in text.splitlines() if f"{100 * layer['together']:.2f}" in x)
        assert all(f"{100 * value:.2f}" in line for value in shown)
    for phrase in ("programming", "DAC", "ADC", "rest is together less the root"):
        assert phrase in " ".join(text.split())


def test_a_layer_closely(compiled: str, capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["inspect", compiled, *COMMON, "--layer", "fc2.weight"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "fc1.weight" not in text
    for what in ("inputs (", "currents in % of the ADC's range (", "codes "):
        assert f"fc2.weight: {what}" in text
    assert "of 31 codes not seen" in text and " ####" in text


def test_without_an_adc(exact: str, capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["inspect", exact, *COMMON, "--layer", "fc1.weight"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "There is no ADC, so there are no codes: currents are in % of the worst case" in text
    assert "fc1.weight: currents in % of a tile's worst case" in text
    assert "fc1.weight: codes" not in text


def test_many_sources_are_rows(compiled: str, capsys: Capture) -> None:
    capsys.readouterr()
    noise = ["--noise", "read:basis=level,sigma=0.1", "--noise", "stuck-at:p_low=0.01"]
    assert main(["inspect", compiled, *COMMON, *noise]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    found = [line.split() for line in lines if line.split()[:1] == ["stuck-at"]]
    assert len(found) == 3 and all(float(row[1]) > 0 for row in found)


def test_seeded_inputs_are_said_to_be_such(compiled: str, capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["inspect", compiled, "--limit", "5"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "note: seeded inputs are random numbers" in captured.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--layer", "fc2.wieght"], 1, "did you mean 'fc2.weight'?"),
        (["--chip", "-1"], 1, "chip is -1; expected a whole number of at least 0"),
        (["--limit", "0"], 1, "limit is 0"),
        (["--figure", "picture.xyz"], 1, "expected a name that ends in"),
        (["--csv", "no/such/folder.csv"], 1, "there is no folder"),
        (["--layers", "fc1.weight"], 2, "--layer"),
        (["--max-memory", "1K"], 1, "fewer with --layer"),
    ],
)
def test_bad_options_are_one_line(
    compiled: str, words: list[str], code: int, message: str, capsys: Capture
) -> None:
    capsys.readouterr()
    assert main(["inspect", compiled, *words]) == code
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
