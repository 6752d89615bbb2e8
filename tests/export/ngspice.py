"""ngspice in batch mode, and what it writes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

__all__ = ["needs_ngspice", "operating_point"]

needs_ngspice = pytest.mark.skipif(
    shutil.which("ngspice") is None, reason="ngspice is not installed (Debian's package `ngspice`)"
)


def operating_point(netlist: Path) -> dict[str, float]:
    """What a netlist saves, in V and A, to the last bit: ngspice prints six digits only."""
    raw = netlist.with_suffix(".raw")
    done = subprocess.run(
        ["ngspice", "-b", "-r", str(raw), str(netlist)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    head, _, numbers = raw.read_bytes().partition(b"Binary:\n")
    lines = head.decode().splitlines()
    first = lines.index("Variables:") + 1
    names = [line.split()[1] for line in lines[first:]]
    return dict(zip(names, np.frombuffer(numbers, "<f8").tolist(), strict=True))
