"""`nvmc explore`, as typed: the front in words, JSON and CSV, and `nvmc compile --from`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from nvmc import open_compiled
from nvmc.cli import main

MLP = "zoo:mlp3-digits"
FEW = ["--data", "digits", "--limit", "60", "--runs", "40", "--percentile", "10"]
SPACE = """
title = "a small one"
[choices]
device = "rram4"
weight_bits = 4
cell_bits = [1, 2, 3]
tile = "128x128"
dac_bits = 4
adc_bits = [3, 5]
adc_range = "calibrated"
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explore")
    (folder / "space.toml").write_text(SPACE)
    return folder


def words(here: Path, goal: str, *more: str) -> list[str]:
    space, folder = str(here / "space.toml"), str(here / "mlp.explore")
    return ["explore", MLP, "--space", space, "--goal", goal, "-o", folder, *FEW, *more]


def test_the_front_in_words_json_and_csv(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    picture = here / "front.svg"
    assert main(words(here, "kpp>=70%", "--json", "--figure", str(picture))) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["combinations"] == 6 and len(found["refused"]) == 2 and found["met"]
    assert "expected 1 to 2" in found["refused"][0]["why"]
    assert "goal 70 %" in picture.read_text() or picture.stat().st_size > 1000
    first = found["front"][0]
    assert first["low"] >= 0.7 and first["costs"]["generic"]["energy_j"]["low"] > 0
    with (here / "mlp.explore" / "front.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found["front"])
    assert float(rows[0]["low"]) == first["low"]
    assert float(rows[0]["isaac-32nm_energy_j_high"]) > float(rows[0]["isaac-32nm_energy_j"])
    assert main(words(here, "70%")) == 0  # every chip comes from the store
    said = capsys.readouterr()
    printed = " ".join(said.out.split())
    assert f"{len(found['front'])} are on the front" in printed
    assert "2 combinations cannot be" in said.err
    for line in said.out.splitlines():  # no figure of energy without its band
        assert " nJ" not in line or "(" in line
    for name in found["hardware"]:
        assert name in printed
    built = str(here / "built.nvmc")
    table = str(here / "mlp.explore" / "front.csv")
    assert main(["compile", MLP, "--from", f"{table}#1", "--data", "digits", "-o", built]) == 0
    same, other = open_compiled(built), open_compiled(first["folder"])
    assert same.network_sha256 == other.network_sha256
    assert same.manifest.target == other.manifest.target
    capsys.readouterr()
    for text, what in (
        (f"{table}#9", "has no place 9"),
        (table, "expected FILE#N"),
        (f"{here / 'space.toml'}#1", "is no table of nvmc explore"),
        (f"{here / 'none.csv'}#1", "cannot read"),
    ):
        assert main(["compile", MLP, "--from", text]) == 1
        error = capsys.readouterr().err
        assert what in error and error.count("\n") == 1
    assert main(["compile", MLP, "--from", f"{table}#1", "--tile", "64x64"]) == 1
    assert "--tile is given beside --from" in capsys.readouterr().err


def test_a_goal_that_no_design_meets_gets_a_line(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(here, "99%")) == 3
    printed = " ".join(capsys.readouterr().out.split())
    assert "No design reaches kpp>=99%; the nearest ones:" in printed and "at most" in printed


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--minimise", "power"], "--minimise: quantity 'power' is unknown"),
        (["--metric", "rmse"], "shares of which more is better, but the metric is RMSE"),
        (["--minimise", "energy,energy"], "minimise is"),
        (["--hardware", "none"], "hardware"),
        (["--goal", "200%"], "expected a share"),
        (["--require", "yield>=99%"], "give at least --runs 368"),
        (["--space", "none.toml"], "cannot read 'none.toml'"),
    ],
)
def test_wrong_options_are_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    assert main(words(here, "90%", *more)) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
