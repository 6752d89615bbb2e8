"""`--adaptive`, `--precision` and parts of a population, as typed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from nvmc import Target, compile_model, load_device
from nvmc.cli import main
from nvmc.errors import StoreError
from nvmc.models import resolve_model

DATA = ["--data", "digits", "--limit", "200", "--sigma", "0.3", "--no-store"]


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("net") / "lenet.nvmc"
    target = Target.of(load_device("fefet2"))
    return compile_model(resolve_model("zoo:lenet5-digits"), target, output=folder).folder


def found(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["simulate", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_adaptive_finds_the_same_kpp(lenet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = found(capsys, str(lenet), *DATA, "--runs", "60")
    part = found(capsys, str(lenet), *DATA, "--runs", "60", "--adaptive", "--delta", "0.2")
    assert part["percentile"] == full["percentile"] and part["min"] == full["min"]
    assert part["share"] < 1 == full["share"] and part["delta"] == 0.2 > full["delta"] == 0
    assert part["std"] is None and part["mean_bound"] > 0 == full["mean_bound"]
    known = [(a, b) for a, b in zip(part["values"], full["values"], strict=True) if a is not None]
    assert known and all(a == b for a, b in known) and None in part["values"]


def test_rounds_end_when_the_interval_is_narrow(
    lenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [str(lenet), *DATA, "--percentile", "50", "--runs", "10", "--max-runs", "60"]
    wide = found(capsys, *common, "--precision", "90pp")
    narrow = found(capsys, *common, "--precision", "3pp")
    assert wide["description"]["runs"] == 10 < narrow["description"]["runs"] <= 60
    percentile = narrow["percentile"]
    if narrow["description"]["runs"] < 60:
        assert percentile["high"] - percentile["low"] <= 0.03 + 1e-9
    assert wide["values"] == narrow["values"][:10]


def test_a_precision_that_is_not_reached_is_said(
    lenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(lenet), *DATA, "--runs", "4", "--max-runs", "6", "--precision", "0.1pp"]
    assert main(["simulate", *words]) == 0
    assert "open after 6 chips, not 0.1pp; give more --max-runs" in capsys.readouterr().err


def test_parts_of_a_population(lenet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = found(capsys, str(lenet), *DATA, "--runs", "6")
    part = found(capsys, str(lenet), *DATA, "--runs", "2", "--first", "3")
    assert part["values"] == whole["values"][3:5]


@pytest.mark.parametrize(
    ("words", "phrase"),
    [
        (["--delta", "0.1"], "without --adaptive"),
        (["--adaptive", "--delta", "1"], "delta is 1; expected between 0 and 1"),
        (["--precision", "0.5"], "expected percentage points, such as 0.5pp"),
        (["--precision", "x.pp"], "expected percentage points, such as 0.5pp"),
        (["--precision", "0pp"], "expected between 0pp and 100pp"),
        (["--max-runs", "400"], "without a precision"),
        (["--precision", "1pp", "--max-runs", "10"], "max-runs is 10; expected 300"),
        (["--first", "-1"], "chip is -1"),
        (["--adaptive", "--figure", "x.png"], "leave one of the two out"),
        (["--workers", "ants:3"], "expected one of threads"),
        (["--workers", "threads:2", "--jobs", "2"], "jobs is 2 and workers"),
        (["--workers", "threads:2", "--accelerator", "cuda"], "expected one of the two"),
    ],
)
def test_wrong_options(
    lenet: Path, capsys: pytest.CaptureFixture[str], words: list[str], phrase: str
) -> None:
    before = sorted(lenet.iterdir())
    assert main(["simulate", str(lenet), *DATA[:4], *words]) == 1
    output = capsys.readouterr()
    assert phrase in output.err and output.err.count("\n") == 1 and not output.out
    assert sorted(lenet.iterdir()) == before


def test_json_says_whether_the_precision_was_met(
    lenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [str(lenet), *DATA, "--percentile", "50", "--runs", "10", "--max-runs", "12"]
    assert found(capsys, *common, "--precision", "90pp")["met"] is True
    narrow = found(capsys, *common, "--precision", "0.01pp")
    assert narrow["met"] is False and narrow["precision"] == 0.0001


def test_where_results_are_kept(
    lenet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In another network's folder, too; not where it is said not to."""
    other = tmp_path / "other.nvmc"
    shutil.copytree(lenet, other)
    words = ["simulate", str(lenet), *DATA[:-1], "--runs", "2", "--store", str(other)]
    assert main(words) == 0 and (other / "results.sqlite").is_file()
    capsys.readouterr()
    assert main([*words, "--no-store"]) == 1
    assert "beside --no-store" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(
    lenet: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def closed(*_: object, **__: object) -> None:
        raise StoreError("cannot write 'x': it is read-only to you")

    monkeypatch.setattr("nvmc.store.Store.open", closed)
    access = os.access
    monkeypatch.setattr("os.access", lambda place, how: how != os.W_OK and access(place, how))
    assert main(["simulate", str(lenet), *DATA[:-1], "--runs", "2"]) == 0
    output = capsys.readouterr()
    assert "results are not kept: cannot write" in output.err and "KPP" in output.out
    words = ["simulate", str(lenet), *DATA[:-1], "--runs", "2", "--store", "x.sqlite"]
    assert main(words) == 1
