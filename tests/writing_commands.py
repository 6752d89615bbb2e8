"""Every command that writes, as forks of one process, and what is in a folder behind it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvmc.errors import StoreError
from nvmc.store import Entry, Store
from source_tree import ROOT

__all__ = ["CASES", "Case", "Forks", "begin", "contents", "prepare"]

# What the commands load late is loaded once here, and each command is a fork of this process.
LOADED = """
import json, os, resource, sys, traceback
import matplotlib.pyplot, onnxruntime, torch
import nvmc.cli, nvmc.training.train, nvmc.report.figure, nvmc.hardware.fit, nvmc.store.export
from nvmc import interruption

def run(folder, words, most, said):
    os.setsid()  # its workers die with it
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))
    if most is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    code = nvmc.cli.main(words)
    sys.stdout.flush()
    os._exit(code)

for line in sys.stdin:
    folder, words, most = json.loads(line)
    os.chdir(folder)
    said = os.open("said", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    read, write = (None, said) if most is None else os.pipe()  # a limit is one of `said` as well
    pid = os.fork()
    if pid == 0:
        try:
            run(folder, words, most, write)
        finally:
            traceback.print_exc()
            os._exit(70)
    os.close(write)
    print(pid, flush=True)
    if read is not None:
        with open(read, "rb") as pipe:
            os.write(said, pipe.read())
        os.close(said)
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

    def start(self, folder: Path, words: list[str], most: int | None = None) -> int:
        """The process id of a command in `folder`, whose files may have `most` bytes."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([str(folder), words, most]) + "\n")
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
        """End the process."""
        self._process.communicate()

    def _said(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


def prepare(folder: Path, forks: Forks) -> None:
    """Put what commands read into a folder."""
    shutil.copy(ROOT / "tests/files/four-levels.csv", folder / "measured.csv")
    forks.run(folder, COMPILE)
    for name, runs in (("half", "20"), ("full", "60")):
        words = ["simulate", "net.nvmc", *FEW, "--runs", runs, "--store", f"{name}.sqlite"]
        forks.run(folder, words)


def begin(case: Case, template: Path, folder: Path, forks: Forks) -> list[str]:
    """Copy a prepared folder to where a case begins; the words of its command."""
    shutil.copytree(template, folder)
    if case.before:
        forks.run(folder, case.before)
    (entry,) = entries(template / "full.sqlite")
    return [word.replace("ID", entry.id[:12]) for word in case.words]


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
