"""Small files that ask for much get one line, before what they ask for is built.

Each runs in a process of its own that may take 2 GiB more than it has behind its imports.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import sys
from pathlib import Path

import pytest

from bombs import BOMBS

ROOM = 1 << 31
"""Bytes that a command may take."""
SECONDS = 60
"""Of the processor, for what never ends."""


def taken() -> int:
    """Bytes of addresses that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def run_in(folder: str, words: list[str]) -> None:
    """Run a command in a folder under the limits, its errors into a file there; leave its code."""
    from nvmc.cli import main

    os.chdir(folder)
    for limit, most in ((resource.RLIMIT_AS, taken() + ROOM), (resource.RLIMIT_CPU, SECONDS)):
        resource.setrlimit(limit, (most, most))
    with open("said.txt", "w", buffering=1) as said:
        sys.stdout = sys.stderr = said
        code = main(words)
    os._exit(code)


@pytest.fixture(scope="module")
def context() -> multiprocessing.context.ForkServerContext:
    """Where processes come from that have loaded nvmc, but nothing of this one."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["nvmc.compiler", "nvmc.cli.compile"])
    return made


@pytest.mark.parametrize("name", BOMBS)
def test_what_asks_for_much_is_refused(
    name: str, tmp_path: Path, context: multiprocessing.context.ForkServerContext
) -> None:
    bomb = BOMBS[name]
    bomb.write(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    child = context.Process(target=run_in, args=(str(tmp_path), bomb.command.split()))
    child.start()
    child.join()
    said = (tmp_path / "said.txt").read_text()
    assert child.exitcode == 1, said
    lines = [line for line in said.splitlines() if "note:" not in line]
    assert len(lines) == 1, said
    assert re.search(bomb.says, lines[0]), said
    assert "fault of nvmc" not in said
    assert {path.name for path in tmp_path.iterdir()} == before | {"said.txt"}
