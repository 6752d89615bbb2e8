"""`nvmc cost` and `nvmc hardware` as a user types them."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from nvmc.cli import main
from nvmc.cost.hardware import hardware_names

Capture = pytest.CaptureFixture[str]

CONVERTERS = ["--dac-bits", "8", "--adc-bits", "8"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("cost") / "mlp3.nvmc")
    words = ["zoo:mlp3-digits", "--device", "fefet2", "--dac-mode", "bit-serial", *CONVERTERS]
    assert main(["compile", *words, "-o", folder]) == 0
    return folder


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def figures(content: Any) -> list[dict[str, float]]:
    """Everything in a result that is a figure."""
    if isinstance(content, dict):
        if content.keys() >= {"value", "low", "high"}:
            return [content]
        return [found for part in content.values() for found in figures(part)]
    return [f for part in content for f in figures(part)] if isinstance(content, list) else []


@pytest.mark.parametrize("name", hardware_names())
def test_every_hardware_prints_80_columns(compiled: str, capsys: Capture, name: str) -> None:
    capsys.readouterr()
    assert main(["cost", compiled, "--hardware", name]) == 0
    captured = capsys.readouterr()
    assert max(map(len, captured.out.splitlines())) <= 80
    assert "…" not in captured.out  # no figure is cut
    text = " ".join(captured.out.split())
    assert "image" not in text and "m2" not in text and not re.search(r"[\d.]e[-+]?\d", text)
    for phrase in (
        "energy per inference",
        "latency, layer after layer",
        "throughput, layers as a pipeline",
        "workload",
        "peak per watt, cells and converters",
        "peak per area, cells and converters",
        "component",
        "digital nodes",
        "rows driven by codes uniform",
        "Each band holds for all published chips",
        "Waiting tiles are off",
    ):
        assert phrase in text, phrase


def test_no_figure_without_its_band(compiled: str, capsys: Capture) -> None:
    """Every number with a unit is followed by a band, but for the factors themselves."""
    capsys.readouterr()
    assert main(["cost", compiled, "--hardware", "generic"]) == 0
    text = capsys.readouterr().out
    rows = [
        line
        for line in text.splitlines()
        if re.search(r"\d (?:[mµnpk]?[Js]|[mµ]m²|TOPS)(?!\w)", line)
    ]
    assert len(rows) > 15
    for row in rows:
        values = len(
            re.findall(r"[\d.,e+-]+[kMG]? (?:[mµnpk]?[Js]|[mµ]m²|TOPS(?:/W|/mm²)?)(?= |$)", row)
        )
        assert len(re.findall(r"[\d.,e+-]+[kMG]? to [\d.,e+-]+[kMG]?", row)) == values, row


def test_files_agree_with_each_other(compiled: str, capsys: Capture) -> None:
    capsys.readouterr()
    words = ["cost", compiled, "--hardware", "isaac-32nm", "--data", "digits", "--limit", "4"]
    assert main([*words, "--csv", "rows.csv", "--figure", "cost.png", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    printed: dict[str, Any] = json.loads(captured.out)
    with Path("rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["layer"] for row in rows] == [layer["name"] for layer in printed["layers"]]
    assert [row["arrays"] for row in rows] == [
        ", ".join(one["arrays"]) for one in printed["layers"]
    ]
    energy = printed["workload"]["energy_j"]["value"]
    assert sum(float(row["energy_j"]) for row in rows) == pytest.approx(energy)
    parts = sum(part["energy_j"]["value"] for part in printed["components"])
    assert parts == pytest.approx(energy)
    areas = sum(part["area_mm2"]["value"] for part in printed["components"])
    assert areas == pytest.approx(printed["workload"]["area_mm2"]["value"])
    operations = 2 * printed["multiply_adds"]["on_crossbars"]
    efficiency = printed["workload"]["tops_per_w"]["value"]
    assert efficiency == pytest.approx(operations / energy / 1e12)
    assert printed["drives"] == "rows driven by 4 images of digits"
    assert len(figures(printed)) > 30
    assert all(one["low"] <= one["high"] for one in figures(printed))
    assert Path("cost.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_command_gives_the_same_bytes(compiled: str, capsys: Capture) -> None:
    words = ["cost", compiled, "--hardware", "generic", "--data", "digits", "--limit", "3"]
    texts = []
    for name in ("a.svg", "b.svg"):
        capsys.readouterr()
        assert main([*words, "--json", "--figure", name]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert Path("a.svg").read_bytes() == Path("b.svg").read_bytes()


def test_waiting_tiles_count_where_they_are_not_off(compiled: str, capsys: Capture) -> None:
    def energy(*words: str) -> dict[str, Any]:
        capsys.readouterr()
        assert main(["cost", compiled, "--hardware", "isaac-32nm", "--json", *words]) == 0
        return json.loads(capsys.readouterr().out)["workload"]

    off, on = energy(), energy("--idle", "on")
    added = on["energy_j"]["value"] - off["energy_j"]["value"]
    assert added == pytest.approx(off["idle_j"]["value"])
    assert on["latency_s"] == off["latency_s"]


def test_cells_of_a_chip(compiled: str, capsys: Capture) -> None:
    def array(*words: str) -> float:
        capsys.readouterr()
        assert main(["cost", compiled, "--hardware", "isaac-32nm", "--json", *words]) == 0
        parts = json.loads(capsys.readouterr().out)["components"]
        return next(p["energy_j"]["value"] for p in parts if p["name"] == "array")

    ideal, chip, other = array(), array("--chip", "3"), array("--chip", "4")
    assert len({ideal, chip, other}) == 3
    assert chip == pytest.approx(ideal, rel=0.2)
    assert array("--chip", "3") == chip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--hardware", "isac"], "hardware 'isac' is unknown; expected one of aimc-28nm"),
        (["--hardware", "none.toml"], "cannot read hardware file 'none.toml'"),
        (["--hardware", "generic", "--limit", "3"], "--limit is given without --data"),
        (["--hardware", "generic", "--figure", "x.gif"], "expected a name that ends in .png"),
        (["--hardware", "generic", "--csv", "none/x.csv"], "there is no folder 'none'"),
        (["--hardware", "generic", "--data", "mnist"], "no folder ''"),
        (["--hardware", "generic", "--chip", "-1"], "chip is -1"),
    ],
)
def test_bad_input_is_one_line(compiled: str, capsys: Capture, words: list[str], said: str) -> None:
    capsys.readouterr()
    assert main(["cost", compiled, *words]) == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def test_a_network_without_converters_says_what_to_give(tmp_path: Path, capsys: Capture) -> None:
    folder = str(tmp_path / "plain.nvmc")
    assert main(["compile", "zoo:mlp3-digits", "--device", "fefet2", "-o", folder]) == 0
    capsys.readouterr()
    assert main(["cost", folder, "--hardware", "generic"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no DAC and no ADC" in line
    assert "--dac-bits (1 to 16) and --adc-bits (1 to 16)" in line


def test_hardware_without_a_name_is_a_usage_error(compiled: str, capsys: Capture) -> None:
    assert main(["cost", compiled]) == 2
    assert "--hardware" in capsys.readouterr().err


def test_hardware_is_listed_and_shown(capsys: Capture) -> None:
    for words in (["hardware"], ["hardware", "list"]):
        assert main(words) == 0
        text = capsys.readouterr().out
        assert all(name in text for name in hardware_names())
        assert max(map(len, text.splitlines())) <= 80
    assert main(["hardware", "show", "isaac-32nm"]) == 0
    text = capsys.readouterr().out
    for phrase in ("band of energy: x", "[adc]", "energy_bit = 0.18269 pJ: ISAAC", "neurram-4b-6b"):
        assert phrase in text
    assert main(["hardware", "show", "generic", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["bands"]["energy"]["chips"] == 8
    assert shown["components"]["adc"]["rate"]["source"]


MACRO = """
[[macro]]
name = "mine"
chip = "mine"
title = "My macro"
source = "my notebook"
cell = "RRAM"
low_us = 2.0
high_us = 50.0
node_nm = 40.0
rows = 256
cols = 64
inputs = 256
outputs = 64
conversions = 64
dac_bits = 1
adc_bits = 5
adcs = 16
tops_per_w = 60.0
time_ns = 20.0
"""


def test_a_fitted_file_is_hardware(compiled: str, capsys: Capture) -> None:
    Path("macro.toml").write_text(MACRO, encoding="utf-8")
    assert main(["hardware", "fit", "macro.toml", "-o", "mine.toml", "--base", "isaac-32nm"]) == 0
    assert "energy: factor" in capsys.readouterr().out
    assert main(["cost", compiled, "--hardware", "mine.toml"]) == 0
    assert "calibrated on mine" in capsys.readouterr().out
    assert main(["hardware", "fit", "macro.toml", "-o", "mine.txt"]) == 1
    assert "expected the name of a .toml file" in capsys.readouterr().err
    assert main(["hardware", "fit", "none.toml", "-o", "mine.toml"]) == 1
    assert "cannot read macro file 'none.toml'" in capsys.readouterr().err
