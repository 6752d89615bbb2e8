"""Many calls and sessions in threads, and the process holds what it held."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "provider_soak.py"
GROWTH_MB = 4
"""Allowed behind the first half. One input kept of each of 100,000 calls would be 100 MB."""


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_calls_and_sessions_leave_nothing_behind(pytestconfig: pytest.Config) -> None:
    """`pytest -m slow --soak 100000 tests/runtime/provider/test_soak.py` is the full one."""
    calls = pytestconfig.getoption("soak")
    root = SCRIPT.parents[1]
    process = subprocess.run(
        [sys.executable, str(SCRIPT), str(calls)],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env={**os.environ, "MALLOC_ARENA_MAX": "2"},  # or the heaps of threads spread for a while
    )
    rows = [json.loads(line) for line in process.stdout.splitlines()]
    half, end = rows[len(rows) // 2 - 1], rows[-1]
    assert end["calls"] >= 0.99 * calls and end["sessions"] == calls // 100
    assert (end["threads"], end["files"]) == (half["threads"], half["files"]), rows
    assert end["rss_mb"] - half["rss_mb"] <= GROWTH_MB, rows
    # One object kept of each session's calls would be a tenth of them.
    assert end["blocks"] - half["blocks"] <= max(2000, calls // 100), rows
