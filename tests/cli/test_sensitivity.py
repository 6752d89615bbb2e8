"""`nvmc sensitivity` as a user types it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import nvmc
from nvmc.cli import main

Capture = pytest.CaptureFixture[str]

COMMON = ["--data", "digits", "--limit", "60", "--runs", "10", "--percentile", "20"]
STUCK = ["--noise", "stuck-at:p_low=0.01"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("sensitivity") / "mlp3.nvmc")
    assert main(["compile", "zoo:mlp3-digits", "--device", "fefet2", "-o", folder]) == 0
    return folder


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def test_tables_and_files(compiled: str, capsys: Capture) -> None:
    capsys.readouterr()
    words = ["sensitivity", compiled, "--sigma", "0.3", *STUCK, *COMMON]
    assert main([*words, "--csv", "parts.csv"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "10 chips, seed 0, 60 images (digits, limit 60)" in " ".join(text.split())
    for phrase in ("layer (array)", "slice (0: least", "noise source", "stuck-at", "programming"):
        assert phrase in text
    compared = nvmc.sensitivity(
        nvmc.open_compiled(compiled), sigma=0.3, noise=[STUCK[1]], data="digits", limit=60, runs=10,
        percentile=20,
    )  # fmt: skip
    table = compared.shown()
    heads = [line.split("  ") for line in text.splitlines() if "gain if perfect" in line]
    assert len(heads) == 3
    for _, *told in heads:
        assert [word.strip() for word in told if word.strip()] == list(table.columns[1:])
    for _, *cells in table.rows:
        assert "".join(cells).replace(" ", "") in text.replace(" ", "")
    assert all(note in " ".join(text.split()) for note in table.notes)
    for phrase in ("4-bit weights, sigma 0.3, noise ", "10 chips, 60 images", "KPP (k = 20)"):
        assert phrase in table.caption
    assert main([*words, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    printed: dict[str, Any] = json.loads(captured.out)
    with Path("parts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["kind"], row["name"]) for row in rows] == [
        (part["kind"], part["name"]) for part in printed["parts"]
    ]
    for row, part in zip(rows, printed["parts"], strict=True):
        assert float(row["cost"]) == part["cost"]
        assert part["cost"] == pytest.approx(
            part["kpp_without"] - printed["percentile"]["value"], abs=1e-15
        )
        assert part["cost_alone"] == pytest.approx(printed["ideal"] - part["kpp_alone"], abs=1e-15)
        assert f"{100 * part['kpp_without']:.2f}" in text
    assert printed["description"]["runs"] == 10 and printed["resamples"] == 1000


def test_few_chips_are_noted(compiled: str, capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["sensitivity", compiled, "--runs", "3", "--limit", "10"]) == 0
    told = capsys.readouterr()
    assert "worst" in told.err and "k is 5 here, where nvmc simulate has 1" in told.out
    common = ["--limit", "10", "--runs", "10", "--sigma", "0.3"]
    assert main(["sensitivity", compiled, *common, "--percentile", "20"]) == 0
    assert "is that of the 3rd lowest chip, so ± may be far too small" in capsys.readouterr().err
    assert main(["sensitivity", compiled, *common, "--percentile", "50"]) == 0
    output = capsys.readouterr()
    assert (
        "too small" not in output.err
        and "k is 5" not in output.out
        and "of chips alone" in " ".join(output.out.split())
    )


def test_circuits_with_read_noise(compiled: str, capsys: Capture) -> None:
    """Read noise is a source as any other, and its cost is found in the circuit."""
    capsys.readouterr()
    words = ["--noise", "read:basis=level,sigma=0.5", "--runs", "3", "--sigma", "0.05"]
    common = ["--data", "digits", "--limit", "30", "--percentile", "20", "--json"]
    assert main(["sensitivity", compiled, *words, *common]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["description"]["fidelity"] == "circuit"
    parts = {part["name"]: part for part in result["parts"] if part["kind"] == "source"}
    assert parts.keys() == {"programming", "read"}
    assert parts["read"]["mean_cost"] > parts["programming"]["mean_cost"]
    assert parts["read"]["kpp_without"] == parts["programming"]["kpp_alone"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--sigma", "0"], "no noise"),
        (["--sigma", "-1"], "-1"),
        (["--sigma", "nan"], "nan"),
        (["--runs", "0"], "0"),
        (["--jobs", "0"], "0"),
        (["--percentile", "0"], "0"),
        (["--time", "1h"], "depends on time"),
        (["--time", "soon"], "soon"),
        (["--device", "nix"], "nix"),
        (["--noise", "dust"], "dust"),
        (["--data", "absent.npz"], "absent.npz"),
        (["--output", "nix"], "nix"),
        (["--csv", "absent/a.csv"], "absent"),
    ],
)
def test_bad_input(
    compiled: str, capsys: Capture, tmp_path: Path, options: list[str], named: str
) -> None:
    capsys.readouterr()
    assert main(["sensitivity", compiled, *options]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nvmc: error: ") and named in line
    assert list(tmp_path.iterdir()) == []
