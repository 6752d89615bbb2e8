"""`nvmc place`, as typed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from nvmc.cli import main


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("place") / "net.nvmc")
    converters = ["--dac-bits", "8", "--dac-mode", "bit-serial", "--adc-bits", "8"]
    words = ["compile", "zoo:lenet5-digits", "--device", "rram4", *converters, "-o", folder]
    assert main(words) == 0
    return folder


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_a_schedule_is_written_and_counted_with(
    network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, table, figure = (str(tmp_path / name) for name in ("s.json", "s.csv", "s.svg"))
    words = ["place", network, "--hardware", "isaac-32nm", "--tiles", "100", "--pipeline"]
    assert main([*words, "-o", file, "--csv", table, "--figure", figure]) == 0
    said = capsys.readouterr().out
    assert "of 100 allowed (36 hold one copy of every layer)" in said
    assert all(
        len(line) <= 80 for line in said.splitlines() if file not in line and network not in line
    )
    assert "conv1.weight " in said and "> conv2.weight >" in " ".join(said.split())
    assert "image" not in said and "inferences/s" in said and " µs " in said
    for word in ("latency, rows pipelined", "hops x bytes", "Critical path:", "tiles at work"):
        assert word in said
    content = json.loads(Path(file).read_text())
    assert content["format"] == "nvmc.schedule/1"
    with open(table, newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["node"] for row in rows] == [node["name"] for node in content["nodes"]]
    first = Path(figure).read_bytes()
    assert main([*words, "--json", "--figure", figure]) == 0
    assert json.loads(capsys.readouterr().out) == content
    assert Path(figure).read_bytes() == first
    cost = ["cost", network, "--hardware", "isaac-32nm", "--schedule", file]
    assert main([*cost, "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert counted["workload"]["latency_s"]["value"] == content["latency_s"]
    assert counted["scheduled"] == "pipeline"
    assert main(cost) == 0
    assert "latency, as scheduled" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--hardware", "generic"], "has no section [mesh]"),
        (["--hardware", "isaac-32nm", "--tiles", "35"], "one copy of every layer takes 36"),
        (["--hardware", "isaac-32nm", "--tiles", "99999"], "14 x 12 cores of 96 tiles hold 16,128"),
        (["--hardware", "isaac-32nm", "--chiplets", "2"], "expected COLUMNSxROWS"),
        (["--hardware", "isaac-32nm", "--chiplets", "0x4"], "chiplets are 0x4"),
        (["--hardware", "isaac-32nm", "--chiplets", "999x999"], "cores; expected at most 65536"),
    ],
)
def test_what_is_wrong_is_one_line(
    network: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["place", network, *words]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_schedule_that_is_none_is_refused(
    network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "s.json"
    for content, said in (("{}", "has format None"), ("[", "is damaged")):
        file.write_text(content)
        words = ["cost", network, "--hardware", "isaac-32nm", "--schedule", str(file)]
        assert main(words) == 1
        assert said in capsys.readouterr().err
