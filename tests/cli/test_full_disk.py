"""Files that may not grow, as on a full disk: every command that writes leaves what was there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from writing_commands import CASES, Case, Forks, begin, contents

SIZES = (1_000, 40_000, 1 << 26)
"""Bytes that a file may have, from too few for anything to enough for all."""
BEFORE_THE_STORE = {"f.svg"}
"""What is written, and whole, where only the store could not be: it is looked at last."""
MERGE = Case(["results", "merge", "new.sqlite", "full.sqlite"])


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("name", [*CASES, "merge anew"])
def test_a_full_disk(name: str, tmp_path: Path, template: Path, forks: Forks) -> None:
    """One line, and no file that was not there but a store with the chips that were done."""
    start, folder = tmp_path / "start", tmp_path / "folder"
    words = begin(CASES.get(name, MERGE), template, start, forks)
    before, codes = contents(start), []
    for most in SIZES:
        shutil.copytree(start, folder)
        forks.start(folder, words, most)
        code = forks.end() >> 8
        said = (folder / "said").read_text()
        codes.append(code)
        if code:
            lines = [line for line in said.splitlines() if line.startswith("nvmc: error: ")]
            assert (code, len(lines)) == (1, 1), f"{most}: {said}"
            assert "a fault of nvmc itself" not in said and "Traceback" not in said
            after = contents(folder)
            kept = {
                file for file, content in after.items() if isinstance(content, dict) and content
            }
            new = left(folder) - kept - left(start)
            if new and "chips could not be written" in said:
                assert new <= BEFORE_THE_STORE
                assert all((folder / name).read_text().endswith("</svg>\n") for name in new)
                new = set()
            assert not new and left(start) - kept <= left(folder), f"{most}: {said}"
            for file, content in before.items():
                whole = content.items() <= after[file].items() if file in kept else None
                assert after[file] == content or whole, f"{most}: {file}: {said}"
        shutil.rmtree(folder)
    assert codes[0] == 1 and codes[-1] == 0


def left(folder: Path) -> set[str]:
    """The files and folders in a folder; those beside an open store come and go."""
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return {name for name in names if not name.endswith(("said", "-wal", "-shm"))}
