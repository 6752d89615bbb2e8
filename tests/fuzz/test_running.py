"""What the runner takes for a fault."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from source_tree import ROOT

FAULTY = """
import os, signal, sys, time
from pathlib import Path
from fuzz import running
from fuzz.case import Kind
from fuzz.running import outcomes

def command(words):
    what = words[0]
    if what == "crash": os.kill(os.getpid(), signal.SIGSEGV)
    if what == "loop":
        while True: pass
    if what == "raise": raise KeyError("spanner")
    if what == "memory": bytearray(2 * running.MEMORY)
    if what == "left": Path(".out.hidden").touch()
    if what == "change": Path("input").write_text("other")
    if what == "half": Path("out").touch()
    if what == "native": os.write(2, b"warning\\n")
    if what == "escape": print("\\x1b[31m")
    if what == "two": print("nvmc: error: a\\nnvmc: error: b", file=sys.stderr); return 1
    if what == "own": print("nvmc: error: a fault of nvmc itself (x)", file=sys.stderr); return 1
    if what == "quiet": return 1
    if what in ("refused", "half"): print("nvmc: error: no", file=sys.stderr); return 1
    if what == "memory-said": print("nvmc: error: out of memory", file=sys.stderr); return 1
    if what == "good": print("nvmc: note: so", file=sys.stderr); Path("out").touch()
    return 0

running.main, running.SECONDS, running.MEMORY = command, 1, 1 << 28

def make(draw, valid, here):
    (here / "input").write_text("input")
    return [[sys.argv[1]]]

for _, found in outcomes(Kind(lambda _: None, make), "k", [0], 0, Path("v"), Path.cwd()):
    print(found.verdict, found.detail)
"""

CASES = {
    "good": "accepted",
    "refused": "refused 0 of 1: no",
    "crash": "fault killed by SIGSEGV",
    "loop": "fault takes more than 1 s of processor time",
    "raise": "KeyError: 'spanner'",
    "memory": "MemoryError",
    "memory-said": "fault memory",
    "left": "'.out.hidden' is left behind",
    "change": "'input' is changed",
    "half": "refused, but 'out' is left behind",
    "native": "says besides: warning",
    "escape": "control character",
    "two": "2 lines of error",
    "own": "a fault of nvmc itself",
    "quiet": "0 lines of error and exit code 1",
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_a_fault(case: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAULTY, case],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}", "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert CASES[case] in done.stdout, done.stderr
    assert done.stdout.startswith("fault") == (case not in ("good", "refused"))
    assert list(tmp_path.iterdir()) == []
