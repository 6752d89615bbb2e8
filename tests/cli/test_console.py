"""What is said beside the results."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

import numpy as np
import pytest
from rich.table import Table

from nvmc.cli import console
from nvmc.cli.console import interval_rows, limits_text, out
from nvmc.statistics import Ends, Images, percentile_performance

SAY = """
from nvmc.cli.console import note, progress
with progress("chips", 2) as step:
    step()
    note("a disk is full")
"""


def test_a_note_takes_the_place_of_the_progress_bar() -> None:
    keyboard, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    subprocess.run([sys.executable, "-c", SAY], stderr=terminal, env=environment, check=True)
    os.close(terminal)
    shown = os.read(keyboard, 1 << 16).decode()
    os.close(keyboard)
    before, note, after = shown.partition("nvmc: note: a disk is full")
    assert note and "chips" in after
    assert before.endswith("\x1b[2K")  # the bar's line is cleared, and drawn anew below
    assert after.startswith("\r\n")


def test_a_notebooks_terminal_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := io.StringIO())
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    assert console.err().is_terminal
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    assert not console.err().is_terminal


def test_logs_get_a_line_of_progress_every_30_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.watching("chips") as watch, console.progress("images", 4000) as advance:
        for seconds, done in ((129, 10), (131, 11), (160, 12), (161, 1300)):
            now[0] = seconds
            watch(done, 2000)
            advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "nvmc: chips: 11 of 2,000 after 31 s",
        "nvmc: images: 2 of 4,000 after 31 s",
        "nvmc: chips: 1,300 of 2,000 after 61 s",
        "nvmc: images: 4 of 4,000 after 61 s",
    ]
    with console.watching("chips", shown=False) as watch:
        now[0] = 999.0
        watch(1, 2)
    assert capsys.readouterr().err == ""


def test_a_note_is_not_a_result() -> None:
    """Also where standard error is closed."""
    say = "from nvmc.cli.console import note; note('a disk is full')"
    command = [sys.executable, "-c", say]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "nvmc: note: a disk is full\n")
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *command],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout == ""


def test_tables_in_files_have_no_trailing_blanks() -> None:
    file = io.StringIO()
    console = out()
    console.file = file
    table = Table(box=None, show_header=False)
    table.add_row("one  two", "x " * 5)
    table.add_row("  a", "")
    console.print(table)
    console.print("kept   apart   ")
    assert file.getvalue() == " one  two  x x x x x\n   a\nkept   apart\n"


def test_each_interval_says_what_it_covers() -> None:
    values = np.linspace(0.9, 0.99, 100)
    found = percentile_performance(values, 50, images=Images(100))
    both = interval_rows(found, 100, "accuracy", "co2,window=12")
    assert [(name, of) for name, _, of in both] == [
        ("its 95% interval", "for all chips and weeks like these"),
        ("on these 100 weeks", "for all chips, these weeks"),
    ]
    alone, lacks = interval_rows(percentile_performance(values[:10], 1), 100, "r2", "co2")
    name, ends, of = alone
    assert name == "its 95% interval" and ends.startswith("at most ")
    assert of == "for all chips, on these 100 weeks: for R² it covers no others"
    assert lacks == ("", "no lower limit yet", "368 chips give one: --runs 368")


@pytest.mark.parametrize(("k", "words", "side"), [(1, "at most", "lower"), (99, "at least", "up")])
def test_a_limit_that_is_missing_is_explained_once(k: int, words: str, side: str) -> None:
    values = np.linspace(0.9, 0.99, 100)
    found = percentile_performance(values, k, images=Images(9))
    *both, (name, lacks, remedy) = interval_rows(found, 9, "accuracy", "digits")
    assert all(shown.startswith(words) and shown.endswith(" %") for _, shown, _ in both)
    assert [name for name, _, _ in both] == ["its 95% interval", "on these 9 images"]
    assert name == "" and lacks.startswith(f"no {side}")
    needed = found.interval.runs_needed
    assert remedy == f"{needed} chips give one: --runs {needed}"
    many = np.linspace(0.9, 0.99, needed)
    assert percentile_performance(many, k, images=Images(9)).interval.closed
    assert not percentile_performance(many[1:], k, images=Images(9)).interval.closed


def test_limits_in_words() -> None:
    assert limits_text(Ends(None, None, 1473)) == (
        "no limits yet, 1,473 chips give both: --runs 1473"
    )
    assert limits_text(Ends(0.1, 0.2, 10)) == ""
