"""`kill -9` at random moments: what was there stays whole, and the same command ends with its bits.

`pytest -m slow --kills 60 tests/cli/test_killed.py` kills every command that writes 60 times.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nvmc import open_compiled
from writing_commands import CASES, Forks, begin, contents


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
    words = begin(case, template, start, forks)
    shutil.copytree(start, expected)
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
