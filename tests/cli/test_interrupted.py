"""Full disks and interruptions: what was there stays, nothing half-written is left."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nvmc import open_compiled, simulate
from nvmc.cli import main
from nvmc.cli.stored import StoreToBe
from nvmc.compiled.artifact import RESULTS_FILE
from nvmc.errors import StoreError
from nvmc.evaluation.description import Fidelity
from nvmc.store import Store
from source_tree import ROOT

NVMC = [sys.executable, "-m", "nvmc"]
TELLS = """
import os, sys
from nvmc import interruption
interruption.install()
os.write(1, b"!")
{changed}
from nvmc.__main__ import main
sys.exit(main())
"""
# So `nvmc compile` never ends by itself: it waits where a half of its files is written.
WAITS = """
import threading
import nvmc.compiler
nvmc.compiler.tile_graph_json = lambda tiles: threading.Event().wait()
"""


def small_files() -> None:
    """No file of this process may grow beyond 8 KiB: writing more fails as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


def test_full_disk_while_compiling(tmp_path: Path) -> None:
    command = [*NVMC, "compile", "zoo:lenet5-digits", "-o", str(tmp_path / "out.nvmc")]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and "cannot write" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_full_disk_keeps_the_old_network(tmp_path: Path) -> None:
    folder = tmp_path / "out.nvmc"
    assert main(["compile", "zoo:lenet5-digits", "-o", str(folder)]) == 0
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    command = [*NVMC, "compile", "zoo:lenet5-digits", "--weight-bits", "3", "-o", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files)
    assert done.returncode == 1
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["out.nvmc"]


def test_full_disk_while_programming(tmp_path: Path) -> None:
    folder = tmp_path / "out.nvmc"
    assert main(["compile", "zoo:lenet5-digits", "-o", str(folder)]) == 0
    (tmp_path / "chip.onnx").write_text("precious")
    command = [*NVMC, "program", str(folder), "--chip", "0", "-o", str(tmp_path / "chip.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files)
    assert done.returncode == 1
    assert (tmp_path / "chip.onnx").read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chip.onnx", "out.nvmc"]


def start(folder: Path, *words: str, changed: str = "") -> subprocess.Popen[str]:
    """The command, when it has just taken Ctrl-C over: before that it is the interpreter's."""
    process = subprocess.Popen(
        [sys.executable, "-c", TELLS.format(changed=changed), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None and process.stdout.read(1) == "!"
    return process


def interrupted_when(process: subprocess.Popen[str], ready: Callable[[], object]) -> str:
    """Send Ctrl-C once something is the case; the line that the command then ends with."""
    while process.poll() is None and not ready():
        time.sleep(0.02)  # looking takes time of its own, which the command would lack
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, ""), err
    assert err.startswith("nvmc: error: interrupted") and err.count("\n") == 1, err
    return err.strip()


COMMANDS = {
    "compile": ["zoo:lenet5-digits"],
    "sensitivity": [],
    "simulate": [],
    "sweep": ["--sigma", "0:1:0.5"],
    "train": ["zoo:lenet5-digits", "--data", "digits"],
    "uncertainty": ["--data", "digits"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_interrupted_while_modules_load(tmp_path: Path, command: str) -> None:
    said = interrupted_when(start(tmp_path, command, *COMMANDS[command]), lambda: True)
    assert said == "nvmc: error: interrupted while it was starting; nothing was done"
    assert list(tmp_path.iterdir()) == []


def test_interrupted_compile_leaves_nothing(tmp_path: Path) -> None:
    process = start(tmp_path, "compile", "zoo:lenet5-digits", "-o", "out.nvmc", changed=WAITS)
    said = interrupted_when(process, lambda: list(tmp_path.glob(".out.nvmc.*")))
    assert said.endswith("interrupted; nothing was left half-written; the same command starts anew")
    assert list(tmp_path.iterdir()) == []


KEPT = (
    "nvmc: error: interrupted; the chips that ended are kept in 'out.nvmc/results.sqlite'; the "
    "same command goes on from there"
)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_interrupted_simulation_says_what_is_kept(tmp_path: Path, jobs: str) -> None:
    assert main(["compile", "zoo:lenet5-digits", "-o", str(tmp_path / "out.nvmc")]) == 0
    options = ["--data", "digits", "--runs", "100000", "--jobs", jobs]
    process = start(tmp_path, "simulate", "out.nvmc", *options)
    kept = tmp_path / "out.nvmc" / RESULTS_FILE
    assert interrupted_when(process, lambda: complete(kept)) == KEPT
    assert complete(kept) > 0


def complete(path: Path) -> int:
    """Chips in a store that were run on all images."""
    try:
        with Store.open(path, readonly=True) as store:
            return sum(entry.complete for entry in store.experiments())
    except StoreError:
        return 0


HAMMERED = ["--data", "digits", "--limit", "100", "--runs", "24"]


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("fidelity", ["cells", "circuit"])
def test_interrupted_at_any_moment_often(
    tmp_path: Path, fidelity: Fidelity, jobs: str, pytestconfig: pytest.Config
) -> None:
    """At random moments, from the first to some time behind the last.

    `pytest -m slow --interrupts 75 tests/cli/test_interrupted.py` makes it 300 in its four cases.
    """
    interrupts = pytestconfig.getoption("interrupts")
    network = tmp_path / "out.nvmc"
    assert main(["compile", "zoo:lenet5-digits", "-o", str(network)]) == 0
    words = ["simulate", "out.nvmc", *HAMMERED, "--fidelity", fidelity, "--jobs", jobs]
    whole = start(tmp_path, *words)
    started = time.monotonic()
    _, err = whole.communicate()
    assert (whole.returncode, err) == (0, "")
    span = time.monotonic() - started
    expected = values(network / RESULTS_FILE)
    assert len(expected) == 24
    moments = np.random.default_rng(int(jobs)).random(interrupts) * 1.1 * span
    ended = {"in time": 0, "kept something": 0, "was done": 0}
    for moment in moments:
        for file in network.glob(f"{RESULTS_FILE}*"):
            file.unlink()
        process = start(tmp_path, *words)
        time.sleep(moment)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        found = values(network / RESULTS_FILE)
        if process.returncode == 0:
            assert err == "" and len(found) == 24
        else:
            assert process.returncode == 130, (process.returncode, err)
            assert err.startswith("nvmc: error: interrupted") and err.count("\n") == 1, err
        assert found.items() <= expected.items()
        ended["was done" if process.returncode == 0 else "in time"] += 1
        ended["kept something"] += 0 < len(found) < 24
        again = simulate(
            open_compiled(network),
            runs=24,
            data="digits",
            limit=100,
            fidelity=fidelity,
            store=StoreToBe(network / RESULTS_FILE),
        )
        assert again.values.tolist() == [expected[chip] for chip in range(24)]
    print(ended)
    assert ended["in time"]


def values(path: Path) -> dict[int, float]:
    """Chip -> its value, of the chips in a store that were run on all images."""
    try:
        with Store.open(path, readonly=True) as store:
            rows = [row for entry in store.experiments() for row in store.rows(entry.id)]
    except StoreError:
        return {}
    return {chip: value for chip, _, _, value in rows if value is not None}
