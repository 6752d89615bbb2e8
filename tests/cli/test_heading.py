"""What a result is of: the same in its lines, JSON, CSV, store and figure."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import nvmc
from nvmc.cli import main
from nvmc.cli.heading import heading, noise_text, periphery_text
from nvmc.data import load_data
from nvmc.hardware.devices import parse_noise

Capture = pytest.CaptureFixture[str]

NOISE = ["--noise", "stuck-at:p_low=0.2", "--noise", "retention:nu_mean=0.05,t0_s=20"]
COMMON = [*NOISE, "--time", "1h", "--data", "digits", "--limit", "30", "--seed", "3"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heading") / "mlp3.nvmc"
    assert main(["compile", "zoo:mlp3-digits", "--device", "fefet2", "-o", str(folder)]) == 0
    return folder


def read(capsys: Capture, *words: Any) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_command_says_what_its_result_is_of(compiled: Path, capsys: Capture) -> None:
    found = read(capsys, "simulate", compiled, *COMMON, "--runs", 3, "--first", 5)["description"]
    model = hashlib.sha256(hashlib.sha256((compiled / "model.onnx").read_bytes()).digest())
    assert found["network"] == "mlp3.nvmc" and found["network_sha256"] == model.hexdigest()
    assert found["mapped_share"] == 1 and found["clip"] is None
    assert found["nvmc"] == nvmc.__version__ and found["device"] == "fefet2"
    assert [source["type"] for source in found["noise"]] == [
        *("programming", "stuck-at", "retention"),
    ]
    assert found["noise"][1]["p_low"] == 0.2 and found["sigma"] == 0.1
    assert (found["time_s"], found["seed"], found["first"], found["runs"]) == (3600, 3, 5, 3)
    assert (found["data"], found["limit"], found["images"]) == ("digits", 30, 30)
    assert found["periphery"]["adc_range"] == "full" and found["fidelity"] == "cells"
    assert found["data_sha256"] != load_data("digits").sha256
    swept = read(capsys, "sweep", compiled, *COMMON, "--sigma", "0.1,0.2", "--runs", 3)
    same = found | {"first": 0}
    for point, sigma in zip(swept["points"], (0.1, 0.2), strict=True):
        assert swept["description"] | point["description"] == same | {"sigma": sigma}
    for command in ("sensitivity", "uncertainty"):
        assert read(capsys, command, compiled, *COMMON, "--runs", 3)["description"] == same


def test_tables_and_the_store_say_the_same(compiled: Path, tmp_path: Path, capsys: Capture) -> None:
    files = ["--store", tmp_path / "r.sqlite", "--csv", tmp_path / "p.csv"]
    words = ["sweep", compiled, *COMMON, "--sigma", "0.1", "--runs", 3, *files]
    swept = read(capsys, *words)
    facts = swept["description"]
    with (tmp_path / "p.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert json.loads(row["noise"]) == facts["noise"] and row["limit"] == "30"
    assert json.loads(row["periphery"]) == facts["periphery"] and row["kpp_is_worst"] == "true"
    for name in ("nvmc", "network_sha256", "device", "data_sha256", "seed", "fidelity", "runs"):
        assert row[name] == str(facts[name])
    listed = read(capsys, "results", "list", tmp_path / "r.sqlite")["experiments"][0]
    assert listed["mean"] == swept["points"][0]["mean"] and listed["percentile"]["is_worst"]
    kept = {key: value for key, value in facts.items() if key not in ("first", "runs")}
    assert {key: listed["info"][key] for key in kept} == kept
    main(["results", "export", "--all", "--store", str(files[1]), "-o", str(tmp_path / "c.csv")])
    with (tmp_path / "c.csv").open(newline="") as file:
        chips = list(csv.DictReader(file))
    assert len(chips) == 3 and json.loads(chips[0]["noise"]) == facts["noise"]


def test_lines_hold_everything_and_fit_eighty_columns(compiled: Path, capsys: Capture) -> None:
    facts = read(capsys, "simulate", compiled, *COMMON, "--runs", 3)["description"]
    lines = heading(facts)
    assert max(map(len, lines)) <= 80
    text = " ".join(lines)
    for part in (
        "mlp3.nvmc",
        "100 % of the weights' multiply-adds on crossbars",
        facts["network_sha256"][:12],
        f"nvmc {nvmc.__version__}",
        "fefet2",
    ):
        assert part in text
    for part in ("stuck-at (p_low=0.2", "retention (nu_mean=0.05", "sigma 0.1", "1 h since"):
        assert part in text
    for part in (
        "ideal periphery",
        "fidelity cells",
        "3 chips, seed 3",
        "30 images (digits, limit",
    ):
        assert part in text
    capsys.readouterr()
    assert main(["simulate", str(compiled), *COMMON, "--runs", "3"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert all(line in printed for line in lines[-3:])


def test_a_long_part_is_folded() -> None:
    lines = heading({"network": "x" * 200, "device": "d"})
    assert "".join(lines[:3]) == "x" * 200 and max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    "text", ["stuck-at:p_low=0.2,p_high=0", "programming:profile=1;4;4;1,basis=level"]
)
def test_noise_is_written_as_it_is_typed(text: str) -> None:
    source = parse_noise(text)
    said = noise_text(source.model_dump(mode="json", exclude_none=True))
    assert said == text and parse_noise(said) == source


def test_laws_of_a_device_are_left_out_of_lines() -> None:
    assert noise_text({"type": "read", "law": {"a": 1}, "t": [{"b": 2}]}) == "read:law=…,t=…"


def test_what_points_of_a_sweep_differ_in_is_not_said() -> None:
    both = {"dac_mode": "multi-level", "dac_range": "dynamic", "adc_range": "full"}
    text = periphery_text({**both, "dac_bits": None, "subtract": "analog", "wire_ohm": None})
    assert text == "exact inputs; ADC (range full); polarities subtracted before the ADC"
    wires = {**both, "dac_bits": None, "adc_bits": None, "subtract": "analog"}
    assert periphery_text({**wires, "wire_ohm": None}) == "ideal periphery" != periphery_text(wires)


def test_without_data_every_value_is_named(compiled: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["simulate", str(compiled), "--runs", "3", "--no-store"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith(" ") and " % " in line]
    assert len(rows) == 6 and rows[0].endswith("the reference of all chips")
    assert all("agreement with the ideal chip" in row for row in rows[1:])


@pytest.mark.parametrize(("k", "runs", "worst"), [(1, 99, True), (1, 100, False), (99, 2, False)])
def test_worst_chips_and_best_tails_are_said(
    compiled: Path, capsys: Capture, k: int, runs: int, worst: bool
) -> None:
    capsys.readouterr()
    words = ["simulate", str(compiled), "--limit", "2", "--no-store", "--data", "digits"]
    assert main([*words, "--runs", str(runs), "--percentile", str(k)]) == 0
    captured = capsys.readouterr()
    said = " ".join(captured.out.split())
    assert ("the worst chip: fewer than 100 runs" in said) == worst
    assert ("describes the best chips" in captured.err) == (k > 50)
    assert (
        read(capsys, *words, "--runs", runs, "--percentile", k)["percentile"]["is_worst"] == worst
    )


@pytest.mark.parametrize("command", ["simulate", "sweep", "uncertainty"])
def test_other_formats_are_refused_before_any_work(
    compiled: Path, tmp_path: Path, capsys: Capture, command: str
) -> None:
    capsys.readouterr()
    data = str(tmp_path / "absent.npz")
    words = [command, str(compiled), "--data", data, "--figure", str(tmp_path / "f.jpg")]
    assert main(words + (["--sigma", "0.1"] if command == "sweep" else [])) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "f.jpg'; expected a name that ends in .png, .pdf, .svg" in line


def test_results_say_that_weights_were_clipped(tmp_path: Path, capsys: Capture) -> None:
    """Two compilations of one network differ by it; by id alone nobody could tell them apart."""
    folder, store = tmp_path / "mlp3.nvmc", tmp_path / "r.sqlite"
    for clip in ([], ["--clip", "2"]):
        assert main(["compile", "zoo:mlp3-digits", *clip, "-o", str(folder)]) == 0
        words = ["simulate", folder, *COMMON, "--runs", 3, "--store", store]
        found = read(capsys, *words)["description"]
        assert found["clip"] == (clip[1] if clip else None)
    listed = read(capsys, "results", "list", store)["experiments"]
    assert {one["info"]["clip"] for one in listed} == {None, "2"}
    assert "weights clipped (2)" in "\n".join(heading(found))


def test_what_could_age_and_does_not_is_said() -> None:
    facts = {"device": "rram4", "noise": [{"type": "retention", "nu_mean": 0.05}]}
    said = "nothing ages (no --time)"
    assert said in " ".join(heading(facts | {"time_s": None}))
    assert said not in " ".join(heading(facts | {"time_s": 60.0}))
    assert said not in " ".join(heading(facts))  # several times stand in the table
    assert said not in " ".join(heading({"noise": [{"type": "additive"}], "time_s": None}))
