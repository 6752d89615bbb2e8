"""`kill -9` at random moments: what was there stays whole, and the same command ends with its bits.

`pytest -m slow --kills 60 tests/cli/test_killed.py` kills every command that writes 60 times.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nvmc import open_compiled
from nvmc.errors import StoreError
from nvmc.store import Entry, Store
from source_tree import ROOT

# What the commands load late is loaded once here, and each command is a fork of this process.
LOADED = """
import json, os, sys
import matplotlib.pyplot, onnxruntime, torch
import nvmc.cli, nvmc.training.train, nvmc.report.figure, nvmc.hardware.fit, nvmc.store.export
from nvmc import interruption
for line in sys.stdin:
    folder, words = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.setsid()  # its workers die with it
        os.chdir(folder)
        said = os.open("said", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        code = nvmc.cli.main(words)
        sys.stdout.flush()
        os._exit(code)
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""
FEW = ["--data", "digits", "--limit", "60"]
COMPILE = ["compile", "zoo:mlp3-digits", "-o", "net.nvmc"]


@dataclass(frozen=True)
class Case:
    """A command that writes.

    Attributes:
        words: The command; ID stands for the experiment that is in a store.
        before: Another one, which leaves files of the same names.
        resumed: Whether --resume goes on where a checkpoint is left.
    """

    words: list[str]
    before: list[str] | None = None
    resumed: bool = False


CASES = {
    "compile": Case([*COMPILE, "--weight-bits", "3"], COMPILE),
    "compile anew": Case(["compile", "zoo:lenet5-digits", "-o", "lenet.nvmc"]),
    "simulate": Case(["simulate", "net.nvmc", *FEW, "--runs", "40", "--figure", "f.svg"]),
    "simulate in circuits": Case(
        ["simulate", "net.nvmc", *FEW, "--runs", "10", "--fidelity", "circuit"]
    ),
    "simulate in processes": Case(
        ["simulate", "net.nvmc", *FEW, "--runs", "40", "--workers", "processes:2"]
    ),
    "sweep": Case(
        [
            *("sweep", "net.nvmc", *FEW, "--sigma", "0:0.4:0.2", "--runs", "20", "--csv", "a.csv"),
            *("--chips-csv", "b.csv", "--figure", "c.png"),
        ],
        [
            *("sweep", "net.nvmc", *FEW, "--sigma", "0.1", "--runs", "10", "--csv", "a.csv"),
            *("--chips-csv", "b.csv", "--figure", "c.png", "--no-store"),
        ],
    ),
    "sensitivity": Case(
        ["sensitivity", "net.nvmc", *FEW, "--runs", "10", "--csv", "a.csv"],
        ["sensitivity", "net.nvmc", *FEW, "--runs", "8", "--csv", "a.csv"],
    ),
    "uncertainty": Case(
        ["uncertainty", "net.nvmc", *FEW, "--runs", "4", "--figure", "f.pdf"],
        ["uncertainty", "net.nvmc", *FEW, "--runs", "3", "--figure", "f.pdf"],
    ),
    "train": Case(
        [
            *(
                "train",
                "zoo:mlp3-digits",
                "--data",
                "digits",
                "--epochs",
                "4",
                "--chips",
                "10",
                "--method",
                "gaussian",
            ),
            *("--every", "1", "-o", "better.onnx"),
        ],
        ["transform", "zoo:mlp3-digits", "--pass", "canonicalize", "-o", "better.onnx"],
        resumed=True,
    ),
    "program": Case(
        ["program", "net.nvmc", "--chip", "1", "-o", "chip.onnx", "--cells", "cells.npz"],
        ["program", "net.nvmc", "--chip", "2", "-o", "chip.onnx", "--cells", "cells.npz"],
    ),
    "transform": Case(
        ["transform", "zoo:lenet5-digits", "--pass", "insert-dropout", "-o", "net.onnx"],
        ["transform", "zoo:lenet5-digits", "--pass", "canonicalize", "-o", "net.onnx"],
    ),
    "fit": Case(
        ["devices", "fit", "measured.csv", "-o", "cell.toml", "--figure", "cell.png"],
        [
            "devices",
            "fit",
            "measured.csv",
            "-o",
            "cell.toml",
            "--figure",
            "cell.png",
            "--name",
            "x",
        ],
    ),
    "export": Case(
        ["results", "export", "--all", "-o", "chips.csv", "--store", "full.sqlite"],
        ["results", "export", "--all", "-o", "chips.csv", "--store", "half.sqlite"],
    ),
    "merge": Case(["results", "merge", "half.sqlite", "full.sqlite"]),
    "delete": Case(["results", "delete", "ID", "--yes", "--store", "full.sqlite"]),
}


class Forks:
    """Commands as forks of a process that has loaded everything."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", LOADED]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env=environment
        )

    def start(self, folder: Path, words: list[str]) -> int:
        """The process id of a command in `folder`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([str(folder), words]) + "\n")
        self._process.stdin.flush()
        return self._said()

    def end(self) -> int:
        """The wait status of the command, when it has ended."""
        return self._said()

    def run(self, folder: Path, words: list[str]) -> float:
        """Seconds of a command that must end well."""
        started = time.monotonic()
        self.start(folder, words)
        assert self.end() == 0, (folder / "said").read_text()
        return time.monotonic() - started

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _said(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@pytest.fixture(scope="module")
def forks() -> Generator[Forks]:
    found = Forks()
    yield found
    found.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> Path:
    """A folder with what commands read."""
    folder = tmp_path_factory.mktemp("template")
    shutil.copy(ROOT / "tests/files/four-levels.csv", folder / "measured.csv")
    forks.run(folder, COMPILE)
    for name, runs in (("half", "20"), ("full", "60")):
        words = ["simulate", "net.nvmc", *FEW, "--runs", runs, "--store", f"{name}.sqlite"]
        forks.run(folder, words)
    return folder


def contents(folder: Path) -> dict[str, Any]:
    """What each file in a folder holds; of stores, their chips."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "said" and not path.name.endswith(("-wal", "-shm")):
            name = str(path.relative_to(folder))
            found[name] = chips(path) if path.suffix == ".sqlite" else path.read_bytes()
    return found


def chips(path: Path) -> dict[tuple[str, int], tuple[Any, ...]]:
    """(experiment, chip) -> what it has come to."""
    try:
        with Store.open(path, readonly=True) as store:
            return {(e.id, row[0]): row for e in store.experiments() for row in store.rows(e.id)}
    except StoreError:  # it has no tables yet
        return {}


def entries(path: Path) -> list[Entry]:
    """The experiments in a store."""
    with Store.open(path, readonly=True) as store:
        return store.experiments()


def whole(found: Any, before: Any, after: Any) -> bool:
    """Whether a file is as it was or as it is to be; a store may be on its way."""
    if isinstance(found, dict):
        return found == before or found.items() <= {**(before or {}), **after}.items()
    return found == before or found == after


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", CASES)
def test_killed_at_any_moment(
    name: str, tmp_path: Path, template: Path, forks: Forks, pytestconfig: pytest.Config
) -> None:
    case, kills = CASES[name], pytestconfig.getoption("kills")
    start, expected = tmp_path / "start", tmp_path / "expected"
    shutil.copytree(template, start)
    if case.before:
        forks.run(start, case.before)
    shutil.copytree(start, expected)
    (entry,) = entries(template / "full.sqlite")
    words = [word.replace("ID", entry.id[:12]) for word in case.words]
    span = forks.run(expected, words)
    before, after = contents(start), contents(expected)
    in_time = 0
    for moment in np.random.default_rng(0).random(kills) * 1.05 * span:
        folder = tmp_path / "killed"
        shutil.copytree(start, folder)
        process = forks.start(folder, words)
        time.sleep(moment)
        for kill in (os.killpg, os.kill):  # a command that has just begun is no group yet
            with suppress(ProcessLookupError):
                kill(process, signal.SIGKILL)
        in_time += os.WIFSIGNALED(forks.end())
        open_compiled(folder / "net.nvmc")  # one network, which it puts in place where need be
        for file, found in contents(folder).items():
            if file in after:
                assert whole(found, before.get(file), after[file]), f"{file} is neither"
        left = [path.name for path in folder.iterdir() if path.name.endswith(".checkpoint")]
        if contents(folder) != after:
            forks.run(folder, [*words, *(["--resume"] if case.resumed and left else [])])
        found = contents(folder)
        assert found.keys() == after.keys()
        assert [file for file in after if found[file] != after[file]] == []
        shutil.rmtree(folder)
    print(f"{name}: {in_time} of {kills} kills came in time")
    assert in_time
