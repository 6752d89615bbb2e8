"""`nvmc results` as a user types it."""

from __future__ import annotations

import csv
import json
import math
import os
import pty
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest

from nvmc.cli import main
from nvmc.compiled.artifact import RESULTS_FILE
from nvmc.statistics import Images, percentile_performance, summarize
from nvmc.store import Store
from nvmc.store.export import COLUMNS

Run = Callable[..., str]

KEY: dict[str, Any] = {
    "network": "0fe7",
    "data": "7065",
    "seed": 2**80 + 1,
    "time_s": None,
    "fidelity": "cells",
    "metric": "accuracy",
    "images": 531,
    "mc_passes": None,
    "engine": "onnxruntime 1.31.1",
}
INFO = {
    "network": "lenet5.nvmc",
    "device": "fefet2",
    "sigma": 0.1,
    "data": "digits",
    "ideal": 0.998,
}
HITS = [float(round(531 * (0.9 + 0.05 * math.sin(chip)))) for chip in range(400)]
VALUES = [hits / 531 for hits in HITS]


def fill(path: Path, *numbers: int) -> list[str]:
    """Experiments that differ in the key's `number`: 400 complete chips each; their ids."""
    with Store.open(path) as store:
        ids: list[str] = []
        for number in numbers:
            experiment = store.experiment({**KEY, "number": number}, INFO)
            experiment.add_many((chip, 531, hits, hits / 531) for chip, hits in enumerate(HITS))
            ids.append(experiment.id)
        return ids


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `nvmc results`: what it prints, or its one line of error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def runner(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main(["results", *words]) == code
        captured = capsys.readouterr()
        if code == 0:
            assert captured.err == ""
            assert (
                all(len(line) <= 80 for line in captured.out.splitlines())
                or "Wrote" in captured.out
            )
            return captured.out
        (line,) = captured.err.splitlines()
        assert line.startswith("nvmc: error: ")
        return line

    return runner


@pytest.fixture
def folder(tmp_path: Path, run: Run) -> str:
    assert main(["compile", "zoo:mlp3-digits", "--device", "fefet2", "-o", "net.nvmc"]) == 0
    return "net.nvmc"


def test_list_finds_the_newest_network_here(run: Run, folder: str) -> None:
    assert "no results" in run("list", code=1)
    (first, second) = fill(Path(folder) / RESULTS_FILE, 1, 2)
    text = run("list")
    assert f"{folder}/{RESULTS_FILE}: 2 experiments, 800 chips" in text
    header, *rows = text.splitlines()[1:]
    assert header.split() == [
        *("id", "device", "sigma", "images", "also", "chips", "mean", "KPP", "written"),
    ]
    for row, identifier in zip(rows, (first, second), strict=True):
        assert row.split()[:-1] == [
            *(identifier[:8], "fefet2", "0.1", "531", "digits", "seed", "12089258…", "400"),
            *(f"{100 * np.mean(VALUES):.2f}", f"{100 * sorted(VALUES)[4]:.2f}"),
        ]
    assert run() == run("list", folder) == text
    assert run("list", f"{folder}/{RESULTS_FILE}") == text
    assert sorted(path.name for path in Path(folder).iterdir()) == [
        *("manifest.json", "model.onnx", RESULTS_FILE, "tiles.json"),
    ]


def test_a_crowded_list_fits_eighty_columns(run: Run) -> None:
    with Store.open("wide.sqlite") as store:
        info = {
            "network": "a-network-with-a-long-name-resnet18-cifar10.nvmc",
            "device": "sonos-agrawal2022",
            "sigma": 0.123456,
            "data": "a-long-name-of-a-data-set.npz",
        }
        key = {**KEY, "fidelity": "circuit", "time_s": 86400.0, "images": 50_000}
        experiment = store.experiment(key, info)
        experiment.add_many((chip, 50_000, 1.0, 1.0) for chip in range(12_345))
        experiment.add_many((chip + 20_000, 5, 1.0, None) for chip in range(1_234))
    text = " ".join(run("list", "wide.sqlite").split())
    for phrase in ("0.123456", "1 d", "circuit", "12,345", "1,234", "50,000"):
        assert phrase in text


def test_long_names_are_cut_in_the_middle(run: Run) -> None:
    """At 80 columns: a line an experiment, and the ends of the names, which tell them apart."""
    with Store.open("wide.sqlite") as store:
        for number in range(2):
            info = {**INFO, "network": f"a-network-with-a-long-name-resnet18-cifar10-{number}.nvmc"}
            info["data"] = "another-long-name-of-a-file-of-images-and-labels.npz"
            experiment = store.experiment({**KEY, "seed": 0, "network": str(number)}, info)
            experiment.add_many((chip, 531, 1.0, 1.0) for chip in range(400))
    lines = run("list", "wide.sqlite").rstrip().splitlines()
    assert len(lines) == 2 + 2 and max(map(len, lines)) <= 80
    for number, line in enumerate(lines[2:]):
        assert re.search(rf" a-net\S*…\S*-{number} ", line) and re.search(
            r"531 an\S*…\S*npz ", line
        )
    whole = run("show", lines[2].split()[0], "--store", "wide.sqlite")
    assert "a-network-with-a-long-name-resnet18-cifar10-0" in whole.replace("\n", "")


def test_list_of_a_compiled_folder_has_a_line_an_experiment(run: Run) -> None:
    """At 80 columns, with times, circuits and seeds; the network, that of all, is not repeated."""
    with Store.open(Path("r.sqlite")) as store:
        for seed, device in ((0, "rram4"), (3, "rram4"), (0, "pcm-joshi2020")):
            circuit = device != "rram4"
            key = {**KEY, "seed": seed, "time_s": 3600.0 if circuit else None}
            key["fidelity"] = "circuit" if circuit else "cells"
            info = {**INFO, "network": "lenet5-digits.nvmc", "device": device}
            experiment = store.experiment(key, info)
            experiment.add_many((chip, 531, 1.0, 1.0) for chip in range(1_000))
            experiment.add(1_000, 5, 1.0, None)
    lines = run("list", "r.sqlite").rstrip().splitlines()
    assert len(lines) == 2 + 3  # what it is, names of columns, experiments
    assert max(map(len, lines)) <= 80 and "lenet5" not in "".join(lines[1:])
    assert sum("seed 3" in line for line in lines) == 1
    assert sum("circuit" in line for line in lines) == 1


def test_merge_makes_no_file_that_looks_like_a_compiled_folder(run: Run) -> None:
    fill(Path("r.sqlite"), 1)
    assert "nvmc compile" in run("merge", "typo.nvmc", "r.sqlite", code=1)
    assert not Path("typo.nvmc").exists()


def test_list_as_json(run: Run) -> None:
    (identifier,) = fill(Path("r.sqlite"), 1)
    found = json.loads(run("list", "r.sqlite", "--json"))
    assert found["format"] == "nvmc.results/1" and found["store"] == "r.sqlite"
    (entry,) = found["experiments"]
    assert entry["id"] == identifier and entry["key"] == {**KEY, "number": 1}
    assert {name: entry["info"][name] for name in INFO} == INFO
    assert (entry["complete"], entry["begun"], entry["first"], entry["last"]) == (400, 0, 0, 399)
    assert entry["evaluations"] == 400 * 531


@pytest.mark.parametrize("k", [1.0, 2.5, 50.0])
def test_show_says_what_simulate_says(run: Run, k: float) -> None:
    (identifier,) = fill(Path("r.sqlite"), 1)
    words = ("show", identifier[:6], "--store", "r.sqlite", "--percentile", str(k))
    found = json.loads(run(*words, "--json"))
    kpp = percentile_performance(VALUES, k, images=Images(531))
    summary = summarize(VALUES)
    assert (found["mean"], found["std"], found["min"]) == (summary.mean, summary.std, summary.min)
    assert found["percentile"] == kpp.to_json()
    assert found["percentile"]["is_worst"] == (k < 0.25)
    text = run(*words)
    ends = (*kpp.interval.to_json().values(), *kpp.chips_alone.to_json().values())
    for value in (summary.mean, summary.min, kpp.value):
        assert f"{100 * value:.2f} %" in text
    for value in ends[:2] + ends[3:5]:
        assert value is not None and f"{100 * value:.2f}" in text
    assert "for all chips and images like these" in text and "on these 531 images" in text
    assert identifier in "".join(text.split()) and "400, of numbers 0 to 399" in text


@pytest.mark.parametrize(("decisions", "covers"), [(1, "chips and images"), (None, "chips")])
def test_a_store_says_what_its_values_are_shares_of(
    run: Run, decisions: int | None, covers: str
) -> None:
    with Store.open("r.sqlite") as store:
        info = {**INFO, "decisions": decisions}
        rows = ((chip, 531, hits, hits / 531) for chip, hits in enumerate(HITS))
        store.experiment(KEY, info).add_many(rows)
    (found,) = json.loads(run("list", "r.sqlite", "--json"))["experiments"]
    assert found["percentile"]["covers"] == covers


def test_show_states_nothing_of_a_population_that_was_run_in_part(run: Run) -> None:
    """Chips that were stopped early are the better ones: the others alone would look worse."""
    (identifier,) = fill(Path("r.sqlite"), 1)
    with Store.open("r.sqlite") as store:
        store.experiment({**KEY, "number": 1}, INFO).add(400, 60, 59.0)
    words = ("show", identifier, "--store", "r.sqlite")
    assert "1 other ran on some of the images only" in " ".join(run(*words).split())
    found = json.loads(run(*words, "--json"))
    assert found["mean"] is None and found["percentile"] is None
    assert (found["complete"], found["begun"]) == (400, 1)


def test_identifiers(run: Run) -> None:
    ids = fill(Path("r.sqlite"), *range(40))
    shared = next(i[:1] for i in ids if sum(other.startswith(i[:1]) for other in ids) > 1)
    ambiguous = run("show", shared, "--store", "r.sqlite", code=1)
    assert "give more of it" in ambiguous
    assert "nvmc results list" in run("show", "xyz", "--store", "r.sqlite", code=1)
    assert "nvmc results list" in run("show", "", "--store", "r.sqlite", code=1)


def read_csv(path: str) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_export_to_csv(run: Run) -> None:
    first, second = fill(Path("r.sqlite"), 1, 2)
    run("export", second, "--store", "r.sqlite", "-o", "one.csv")
    rows = read_csv("one.csv")
    assert list(rows[0]) == list(COLUMNS)
    assert {row["experiment"] for row in rows} == {second}
    assert [int(row["chip"]) for row in rows] == list(range(400))
    assert [float(row["value"]) for row in rows] == VALUES
    assert [float(row["total"]) for row in rows] == HITS
    assert rows[0]["seed"] == str(2**80 + 1) and rows[0]["time_s"] == ""
    text = run("export", "--all", "--store", "r.sqlite", "-o", "all.csv")
    assert "800 chips of 2 experiments" in text
    assert [row["experiment"] for row in read_csv("all.csv")] == [first] * 400 + [second] * 400


def test_export_to_parquet(run: Run) -> None:
    fill(Path("r.sqlite"), 1, 2)
    with Store.open("r.sqlite") as store:
        store.experiment({"number": 3}, {}).add(7, 60, math.nan)
    run("export", "--all", "--store", "r.sqlite", "-o", "all.parquet")
    table = parquet.read_table("all.parquet")
    assert table.column_names == list(COLUMNS)
    rows = table.to_pylist()
    assert [row["value"] for row in rows] == [*VALUES, *VALUES, None]
    assert rows[0]["seed"] == str(2**80 + 1) and rows[0]["sigma"] == 0.1
    assert math.isnan(rows[-1]["total"]) and rows[-1]["device"] is None
    run("export", "--all", "--store", "r.sqlite", "-o", "all.csv")
    for mine, other in zip(read_csv("all.csv"), rows, strict=True):
        assert {name: text for name, text in mine.items() if text != "nan"} == {
            name: "" if value is None else str(value)
            for name, value in other.items()
            if value is None or value == value
        }


def test_parquet_without_pyarrow(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(Path("r.sqlite"), 1)
    monkeypatch.setattr("nvmc.store.export.find_spec", lambda name: None)
    line = run("export", "--all", "--store", "r.sqlite", "-o", "all.parquet", code=1)
    assert "pip install pyarrow" in line
    run("export", "--all", "--store", "r.sqlite", "-o", "all.csv")


@pytest.mark.parametrize(
    ("words", "phrase"),
    [
        (["--all", "-o", "a.txt"], ".csv or .parquet"),
        (["-o", "a.csv"], "--all"),
        (["--all", "00", "-o", "a.csv"], "--all"),
        (["--all", "-o", "absent/a.csv"], "cannot write"),
        (["--all", "-o", "folder.csv"], "cannot write"),
    ],
)
def test_export_elsewhere(run: Run, words: list[str], phrase: str) -> None:
    fill(Path("r.sqlite"), 1)
    Path("folder.csv").mkdir()
    assert phrase in run("export", "--store", "r.sqlite", *words, code=1)
    assert sorted(path.name for path in Path().iterdir()) == ["folder.csv", "r.sqlite"]


def test_delete(run: Run) -> None:
    first, second, third = fill(Path("r.sqlite"), 1, 2, 3)
    line = run("delete", first, "--store", "r.sqlite", code=1)
    assert "--yes" in line and "1 experiment with 400 chips" in line
    assert "3 experiments" in run("list", "r.sqlite")
    run("delete", first, "xyz", "--yes", "--store", "r.sqlite", code=1)
    assert "3 experiments" in run("list", "r.sqlite")
    text = run("delete", first, third, first[:20], "--yes", "--store", "r.sqlite")
    assert text.strip() == "Deleted 2 experiments with 800 chips"
    left = run("list", "r.sqlite")
    assert "1 experiment, 400 chips" in left and second[:8] in left


@pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 1), ("", 1)])
def test_delete_asks_on_a_terminal(tmp_path: Path, answer: str, left: int) -> None:
    (identifier,) = fill(tmp_path / "r.sqlite", 1)
    words = ["delete", identifier, "--store", str(tmp_path / "r.sqlite")]
    python = "import sys; from nvmc.cli import main; sys.exit(main())"
    keyboard, terminal = pty.openpty()
    os.write(keyboard, f"{answer}\n".encode())
    done = subprocess.run(
        [sys.executable, "-c", python, "results", *words],
        stdin=terminal,
        capture_output=True,
        text=True,
    )
    os.close(keyboard)
    os.close(terminal)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Forget 1 experiment with 400 chips?" in done.stdout
    assert ("Nothing was deleted" in done.stdout) == (left == 1)
    with Store.open(tmp_path / "r.sqlite") as store:
        assert len(store.experiments()) == left


def stored(path: str) -> list[tuple[Any, ...]]:
    """The rows of all chips, as they are in the file."""
    with closing(sqlite3.connect(path)) as file:
        return file.execute("SELECT * FROM chip").fetchall()


def test_merge(run: Run, folder: str) -> None:
    """As array jobs do: stores of one population's parts, and one that knows more of a chip."""
    parts = [Path("a.sqlite"), Path("b.sqlite"), Path(folder) / RESULTS_FILE]
    spans: Sequence[range] = [range(0, 10), range(5, 20), range(20, 30)]
    for path, span in zip(parts, spans, strict=True):
        with Store.open(path) as store:
            experiment = store.experiment(KEY, INFO)
            experiment.add_many((chip, 531, float(chip), chip / 531) for chip in span)
    with Store.open(parts[0]) as store:
        store.experiment(KEY, INFO).add_many([(25, 60, 1.0, None), (40, 60, 2.0, None)])
        store.experiment({"another": 1}, INFO)
    for path in parts:  # long ago, as far as the file knows
        with closing(sqlite3.connect(path)) as file, file:
            file.execute("UPDATE chip SET written = 1600000000")
    before = [path.read_bytes() for path in parts]
    text = run("merge", "all.sqlite", "a.sqlite", "b.sqlite", folder)
    # 10, 25 and 40; then 10 more; then 10, of which 25 was known in part
    assert "Merged 3 stores into all.sqlite: 2 new experiments, 32 new chips" in text
    assert [path.read_bytes() for path in parts] == before
    assert [written for *_, written, _, _ in stored("all.sqlite")] == [1_600_000_000] * 31
    with Store.open("all.sqlite") as store:
        assert store.experiment(KEY, INFO).known() == {
            **{chip: (531, float(chip)) for chip in range(30)},
            40: (60, 2.0),
        }
        assert len(store.experiments()) == 2
    assert "0 new experiments, 0 new chips" in run("merge", "all.sqlite", "b.sqlite")


def test_merge_says_where_chips_of_another_compilation_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, network, said in (
        ("a", "0fe7", "lenet5.nvmc"),
        ("b", "51ab", "lenet5.nvmc"),
        ("c", "77cc", "mlp.nvmc"),
    ):
        with Store.open(f"{name}.sqlite") as store:
            experiment = store.experiment({**KEY, "network": network}, {**INFO, "network": said})
            experiment.add_many([(0, 531, 1.0, 1.0)])
    assert main(["results", "merge", "all.sqlite", "a.sqlite", "c.sqlite"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["results", "merge", "all.sqlite", "b.sqlite"]) == 0
    captured = capsys.readouterr()
    assert "1 new experiment, 1 new chip" in captured.out
    (line,) = captured.err.splitlines()
    assert line.startswith("nvmc: note: lenet5.nvmc is the name of 2 different networks")


def test_a_contradiction_is_not_merged(run: Run) -> None:
    for name, odd in (("a.sqlite", 5.0), ("b.sqlite", 2.0)):
        with Store.open(name) as store:
            rows = [(ord(name[0]), 531, 531.0, 1.0), (7, 531, odd, odd / 531)]
            store.experiment(KEY, INFO).add_many(rows)
    line = run("merge", "all.sqlite", "a.sqlite", "b.sqlite", code=1)
    for phrase in ("'b.sqlite' was not merged", "chip 7", "5.0", "2.0"):
        assert phrase in line
    with Store.open("all.sqlite") as store:
        assert store.experiment(KEY, INFO).known() == {97: (531, 531.0), 7: (531, 5.0)}


def test_merge_of_what_is_not_there(run: Run, folder: str) -> None:
    fill(Path("a.sqlite"), 1)
    assert "no results" in run("merge", "all.sqlite", "a.sqlite", "absent.sqlite", code=1)
    assert not Path("all.sqlite").exists()
    assert "no results" in run("merge", "a.sqlite", folder, code=1)
    assert "what is merged into" in run("merge", "a.sqlite", "./a.sqlite", code=1)
    Path("plain").mkdir()
    assert "not a compiled network" in run("merge", "a.sqlite", "plain", code=1)
    Path("text.sqlite").write_text("dear diary")
    assert "no store of results" in run("merge", "text.sqlite", "a.sqlite", code=1)
    assert "no store of results" in run("list", "text.sqlite", code=1)
    assert "--help" in run("merge", "a.sqlite", code=2)
