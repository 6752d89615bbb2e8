"""`nvmc simulate` killed, repeated, extended, crowded, out of disk: the answer stays the same."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nvmc.cli import main
from nvmc.compiled.artifact import RESULTS_FILE
from nvmc.store import Store

NVMC = [sys.executable, "-c", "import sys; from nvmc.cli import main; sys.exit(main())"]
# As `nvmc`, but once it has stored so many sums it stores no more: whoever means to kill it on the
# way is never too late.
STOPPING = [
    sys.executable,
    "-c",
    """
import sys, threading
from nvmc.cli import main
from nvmc.store import Experiment

left, add_many = int(sys.argv.pop(1)), Experiment.add_many

def stopping(self, rows):
    global left
    rows = list(rows)
    add_many(self, rows)
    left -= len(rows)
    if left <= 0:
        threading.Event().wait()

Experiment.add_many = stopping
sys.exit(main())
""",
]
COMMON = ["simulate", "net.nvmc", "--data", "digits", "--sigma", "0.3", "--json"]

Simulate = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled network, to be copied."""
    folder = tmp_path_factory.mktemp("compiled")
    with contextlib.chdir(folder):
        compile_network()
    return folder / "net.nvmc"


@pytest.fixture(autouse=True)
def folder(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a compiled network, nothing stored yet."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(network, tmp_path / "net.nvmc")


@pytest.fixture
def simulate(capsys: pytest.CaptureFixture[str]) -> Simulate:
    """What `nvmc simulate --json` prints."""

    def run(*words: str) -> dict[str, Any]:
        capsys.readouterr()
        assert main([*COMMON, *words]) == 0
        captured = capsys.readouterr()
        rounds = "--precision" in words  # they end before the interval is as narrow as that
        assert ("give more --max-runs" in captured.err) if rounds else (captured.err == "")
        return json.loads(captured.out)

    return run


def compile_network(*words: str) -> None:
    network = ["zoo:lenet5-digits", "--device", "fefet2", "-o", "net.nvmc"]
    assert main(["compile", *network, *words]) == 0


def answer(result: dict[str, Any]) -> dict[str, Any]:
    """A result without what may differ from run to run; numbers as they are printed, to the bit."""
    return {k: v for k, v in result.items() if k not in ("seconds", "recorded")}


def started(*words: str, stop: int | None = None, **options: Any) -> subprocess.Popen[str]:
    """A process that runs `nvmc simulate`; at `stop` sums in the store it goes no further."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    nvmc = NVMC if stop is None else [*STOPPING, str(stop)]
    return subprocess.Popen([*nvmc, *COMMON, *words], **pipes, **options)


def stored(path: Path, query: str = "SELECT count(value) FROM chip") -> int:
    """How many chips are complete in the store of a run; 0 where there is none yet."""
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    except sqlite3.OperationalError:
        return 0
    with closing(connection):
        try:
            (count,) = connection.execute(query).fetchone()
        except sqlite3.OperationalError:  # it is being made
            return 0
        return count


def seen(path: Path) -> int:
    """How many sums are in the store of a run, those on the way among them."""
    return stored(path, "SELECT (SELECT count(value) FROM chip) + (SELECT count(*) FROM part)")


def killed(path: Path, more: int, *words: str, count: Callable[[Path], int] = stored) -> None:
    """Run and `kill -9` once `more` chips more are stored, somewhere in the next ones."""
    before = count(path)
    process = started(*words, stop=more + 10)
    while count(path) < before + more:
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--limit", "200"], marks=pytest.mark.slow),
        ["--limit", "5", "--fidelity", "circuit"],
    ],
)
def test_killed_and_started_again(folder: Path, simulate: Simulate, words: list[str]) -> None:
    """At the first of 60 chips, and later."""
    words = [*words, "--runs", "60"]
    for more in (1, 20):
        killed(folder / RESULTS_FILE, more, *words)
    kept = stored(folder / RESULTS_FILE)
    found = simulate(*words)
    assert found["recorded"] == kept >= 21
    assert answer(found) == answer(simulate(*words, "--no-store"))
    assert simulate(*words)["recorded"] == 60


ADAPTIVE = ["--adaptive", "--runs", "150", "--percentile", "5", "--limit", "300"]
ROUNDS = [*ADAPTIVE[3:], "--precision", "0.1pp", "--runs", "80", "--max-runs", "150"]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(ADAPTIVE, marks=pytest.mark.slow),
        pytest.param(ROUNDS, marks=pytest.mark.slow),
        pytest.param([*ROUNDS, "--adaptive"], marks=pytest.mark.slow),
    ],
)
def test_adaptive_runs_and_rounds_killed(
    folder: Path, simulate: Simulate, words: list[str]
) -> None:
    """What was dropped, or asked for, at each look is so again: the same chips, not just a KPP."""
    path = folder / RESULTS_FILE
    for parts in (20, 100):
        killed(path, parts, *words, count=seen)
    assert seen(path) >= 120
    assert answer(simulate(*words)) == answer(simulate(*words, "--no-store"))


def test_adaptive_and_plain_runs_share_their_chips(folder: Path, simulate: Simulate) -> None:
    plain = ["--runs", "40", "--percentile", "10"]
    adaptive = ["--adaptive", *plain]
    first = simulate(*adaptive)
    assert first["share"] < 0.9
    kept = sum(value is not None for value in first["values"])
    whole = simulate(*plain)
    assert whole["recorded"] == kept and whole["percentile"] == first["percentile"]
    assert answer(whole) == answer(simulate(*plain, "--no-store"))
    again = simulate(*adaptive)
    assert again["percentile"] == first["percentile"]
    with Store.open(folder / RESULTS_FILE, readonly=True) as store:
        (entry,) = store.experiments()
    assert (entry.complete, entry.begun) == (40, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_two_at_once_killed_often(folder: Path, simulate: Simulate, seed: int) -> None:
    draw = random.Random(seed)
    words = ["--runs", "2000", "--limit", "100", "--seed", str(seed)]
    for _ in range(8):
        processes = [started(*words) for _ in range(2)]
        for process in processes:
            time.sleep(draw.uniform(0.5, 2.5))
            process.kill()
        for process in processes:
            process.communicate()
    assert answer(simulate(*words)) == answer(simulate(*words, "--no-store"))


def test_more_runs_extend(simulate: Simulate) -> None:
    short = ["--runs", "20", "--limit", "100"]
    long = ["--runs", "60", "--limit", "100", "--percentile", "5"]
    few = simulate(*short)
    more = simulate(*long, "--jobs", "1")
    assert (few["recorded"], more["recorded"]) == (0, 20)
    assert more["values"][:20] == few["values"]
    alone = simulate(*long, "--no-store")
    assert alone["recorded"] == 0 and answer(more) == answer(alone)
    again = simulate(*short)
    assert again["recorded"] == 20 and answer(again) == answer(few)


def test_parts_of_a_population_are_merged(folder: Path, simulate: Simulate) -> None:
    """As array jobs do, each into a store of its own."""
    few = ["--limit", "100"]
    for task in range(3):
        part = ["--first", str(20 * task), "--runs", "20", "--store", f"part-{task}.sqlite"]
        simulate(*few, *part)
    assert not (folder / RESULTS_FILE).exists()
    assert (
        main(["results", "merge", "net.nvmc", *(f"part-{task}.sqlite" for task in range(3))]) == 0
    )
    whole = simulate(*few, "--runs", "60")
    assert whole["recorded"] == 60
    assert answer(whole) == answer(simulate(*few, "--runs", "60", "--no-store"))


@pytest.mark.parametrize(
    "words",
    [
        ["--sigma", "0.2"],
        ["--seed", "1"],
        ["--limit", "300"],
        ["--fidelity", "circuit"],
        ["--noise", "stuck-at:p_low=0.01"],
        ["--device", "rram4"],
        ["--time", "1d", "--noise", "retention:nu_mean=0.05,nu_std=0.02,t0_s=20"],
    ],
)
def test_another_question_begins_anew(folder: Path, simulate: Simulate, words: list[str]) -> None:
    first = simulate("--runs", "4", *["--limit", "100"])
    other = simulate("--runs", "4", *["--limit", "100"], *words)
    assert other["recorded"] == 0
    assert answer(other) == answer(simulate("--runs", "4", "--limit", "100", *words, "--no-store"))
    assert answer(simulate("--runs", "4", "--limit", "100")) == answer(first)
    with Store.open(folder / RESULTS_FILE, readonly=True) as store:
        assert len(store.experiments()) == 2


def test_times_are_questions_of_their_own(simulate: Simulate) -> None:
    words = ["--noise", "retention:nu_mean=0.05,nu_std=0.02,t0_s=20", "--limit", "100"]
    day = simulate("--runs", "4", "--time", "1d", *words)
    both = simulate("--runs", "4", "--time", "1h,1d", *words)
    assert both["recorded"] == 4
    assert both["times"][1]["values"] == day["values"]


def test_two_at_once(folder: Path, simulate: Simulate) -> None:
    words = ["--runs", "60", "--limit", "100"]
    runs = [started(*words) for _ in range(2)]
    results: list[dict[str, Any]] = []
    for process in runs:
        out, err = process.communicate()
        assert (process.returncode, err) == (0, "")
        results.append(answer(json.loads(out)))
    assert results[0] == results[1] == answer(simulate(*words, "--no-store"))
    with Store.open(folder / RESULTS_FILE, readonly=True) as store:
        (entry,) = store.experiments()
    assert (entry.complete, entry.begun, entry.evaluations) == (60, 0, 60 * 100)


def test_compiling_again_keeps_what_was_found(simulate: Simulate) -> None:
    few = ["--limit", "100"]
    simulate(*few, "--runs", "10")
    compile_network()
    assert simulate(*few, "--runs", "12")["recorded"] == 10
    compile_network("--weight-bits", "3")
    assert simulate(*few, "--runs", "12")["recorded"] == 0
    compile_network()
    assert simulate(*few, "--runs", "12")["recorded"] == 12


def test_compiling_again_under_a_run(folder: Path, simulate: Simulate) -> None:
    words = ["--runs", "300", "--limit", "200"]
    process = started(*words)
    while stored(folder / RESULTS_FILE) < 5:
        assert process.poll() is None or stored(folder / RESULTS_FILE) >= 5
        time.sleep(0.01)
    compile_network()
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    again = simulate(*words)
    assert again["recorded"] == 300 and answer(again) == answer(json.loads(out))


def small_files() -> None:
    """Room for the store, its table of locks (32 KiB) and a few chips."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))


def test_full_disk(folder: Path, simulate: Simulate) -> None:
    words = ["--runs", "100", "--limit", "50"]
    process = started(*words, preexec_fn=small_files)
    out, err = process.communicate()
    assert process.returncode == 1
    noted, failed = err.splitlines()
    assert noted.startswith("nvmc: note: ") and "full" in noted
    assert failed.startswith("nvmc: error: ") and "give the same command again" in failed
    kept = stored(folder / RESULTS_FILE)
    assert 0 < kept < 100 and f"{100 - kept} chips could not be" in failed
    assert answer(json.loads(out)) == answer(simulate(*words, "--no-store"))
    assert simulate(*words)["recorded"] == kept


@pytest.mark.parametrize(
    ("place", "phrase"),
    [
        ("absent/results.sqlite", "cannot write"),
        ("text.sqlite", "no store of results"),
        ("folder", "cannot"),
    ],
)
def test_a_place_that_cannot_be_used(
    capsys: pytest.CaptureFixture[str], place: str, phrase: str
) -> None:
    Path("text.sqlite").write_text("dear diary")
    Path("folder").mkdir()
    capsys.readouterr()
    assert main([*COMMON, "--runs", "2", "--store", place]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nvmc: error: ") and place in line and phrase in line
    assert Path("text.sqlite").read_text() == "dear diary"


def test_without_a_store_nothing_is_written(folder: Path, simulate: Simulate) -> None:
    before = sorted(os.listdir(folder))
    simulate("--runs", "3", "--no-store")
    assert sorted(os.listdir(folder)) == before


def test_results_show_says_what_simulate_said(
    simulate: Simulate, capsys: pytest.CaptureFixture[str]
) -> None:
    found = simulate("--runs", "30", "--percentile", "5")
    assert main(["results", "list", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["experiments"]
    assert main(["results", "show", entry["id"][:8], "--percentile", "5", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    for name in ("mean", "std", "min", "percentile"):
        assert shown[name] == found[name]
    assert main(["results", "show", entry["id"][:8]]) == 0
    text = capsys.readouterr().out
    for phrase in ("net.nvmc", "fefet2", "0.3", "digits, 531 images", "cells", "accuracy"):
        assert phrase in text


def test_chips_beyond_what_the_store_can_number(capsys: pytest.CaptureFixture[str]) -> None:
    """Refused before anything is run, in one line that says how far numbers go."""
    assert main([*COMMON, "--runs", "2", "--first", str(2**63 - 1)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"nvmc: error: first is {2**63 - 1}; expected at most {2**63 - 2}"
    assert not (Path("net.nvmc") / RESULTS_FILE).exists()
    assert main([*COMMON, "--runs", "2", "--limit", "20", "--first", str(2**63 - 2)]) == 0
