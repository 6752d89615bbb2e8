"""Tables of figures on the pages of docs, written by the script that measures them.

A page has a table between two comments, which the site does not show:

    <!-- figures: bench_graph steps -->

    | batch | forward |
    | --- | --- |
    | 128 | 7.46 ms |

    2026-11-30, commit 941d7a9; Intel Xeon, 2 cores: `python tests/benchmarks/bench_graph.py`

    <!-- end figures -->

The script makes its parser by `parser(__doc__)`, which gives it the option `--docs`, and ends with
`figures(__file__, "steps", table(head, rows))`: that prints the table, and with `--docs` puts it on
the page. A new table needs the two comments and that call; tests/docs/test_figures.py knows both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

__all__ = [
    "BLOCK",
    "RECORDS",
    "UNKNOWN",
    "figures",
    "keep",
    "lacking",
    "parser",
    "record_file",
    "records",
    "source",
    "table",
]

ROOT = Path(__file__).resolve().parents[2]
RECORDS = Path(__file__).resolve().parent / "records"
"""What studies measured, a file of lines of JSON for each; committed with the pages."""
UNKNOWN = "not recorded"
BLOCK = re.compile(
    r"<!-- figures: (?P<script>\w+) (?P<key>[\w-]+) -->\n\n"
    r"(?P<table>.*?)\n\n(?P<source>[^\n]*: `(?P<command>[^\n]*)`)\n\n<!-- end figures -->",
    re.DOTALL,
)
"""A table on a page, its marks, and the line that says where its figures are from."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser of a script's own options, which knows `--docs` and `--table` already."""
    source()  # the commit that is measured is that of the beginning
    made = argparse.ArgumentParser(description=description, allow_abbrev=False)
    made.add_argument("--docs", action="store_true", help="write the tables on their pages, too")
    return made


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figures(
    script: str,
    key: str,
    shown: str,
    *,
    missing: str = "",
    made: Iterable[Mapping[str, Any]] | None = None,
    docs: Path = ROOT / "docs",
) -> None:
    """Print a table with its source; with `--docs`, put it on the page that has its marks.

    Args:
        script: `__file__` of the script.
        key: Which of its tables.
        shown: The table, in Markdown.
        missing: What was not measured; such a table is printed, but not put on a page.
        made: The records of which the table is, as `keep` wrote them, where a study goes on where
            it was: they may be of other days.
        docs: Where the pages are.

    Raises:
        SystemExit: With `--docs`, if something is missing, no page (or more than one) has the
            marks, or the page's figures are of another command. The page is left as it is.
    """
    name, typed = Path(script).stem, command(script)
    kept = [source()] if made is None else list(made)
    line = f"{origin(kept)}: `{typed}`"
    print(f"\n{shown}\n\n{line}", flush=True)
    if "--docs" not in sys.argv:
        return
    page, old = place(name, key, docs)
    undated = sum("date" not in record for record in kept)
    missing = missing or (f"{undated} of {len(kept)} records have no date" if undated else "")
    if missing:
        raise SystemExit(f"{page} was not changed: {missing}")
    if old["command"] != typed:
        raise SystemExit(
            f"{page} was not changed: its figures of {name} {key} are of `{old['command']}`, these "
            f"of `{typed}`; if they are to take their place, change the command on the page first"
        )
    block = f"<!-- figures: {name} {key} -->\n\n{shown}\n\n{line}\n\n<!-- end figures -->"
    text = page.read_text(encoding="utf-8")
    part = page.with_suffix(".part")
    part.write_text(text[: old.start()] + block + text[old.end() :], encoding="utf-8")
    part.replace(page)
    print(f"written to {page}", flush=True)


def lacking(wanted: int, found: int) -> str:
    """What to say of a study that was not run to its end; nothing if it was."""
    return f"{wanted - found} of {wanted} figures were not measured" if found < wanted else ""


def place(name: str, key: str, docs: Path) -> tuple[Path, re.Match[str]]:
    """The page that has the marks of this table, and what it holds."""
    found = [
        (page, block)
        for page in sorted(docs.rglob("*.md"))
        for block in BLOCK.finditer(page.read_text(encoding="utf-8"))
        if (block["script"], block["key"]) == (name, key)
    ]
    if len(found) != 1:
        raise SystemExit(f"{len(found)} pages have a place for the figures of {name} {key}, not 1")
    return found[0]


def command(script: str) -> str:
    """What was typed, without `--docs`, `--table` and folders of this machine."""
    given = [text for text in sys.argv[1:] if text not in ("--docs", "--table")]
    given = [re.sub(r"(^|(?<=[:=]))/\S+", _short, text) for text in given]
    before = ["python"]
    if any(Path(text).resolve() == ROOT / "tests" for text in _python_path()):
        before.insert(0, "PYTHONPATH=tests")
    if threads := os.environ.get("OMP_NUM_THREADS"):
        before.insert(0, f"OMP_NUM_THREADS={threads}")
    words = [f"tests/benchmarks/{Path(script).stem}.py", *map(shlex.quote, given)]
    return " ".join([*before, *words])


def _short(found: re.Match[str]) -> str:
    """DIR for a folder, its name for a file."""
    path = Path(found[0])
    return path.name if path.suffix else "DIR"


def _python_path() -> list[str]:
    return [text for text in os.environ.get("PYTHONPATH", "").split(os.pathsep) if text]


@cache
def source() -> dict[str, str]:
    """Date, commit and machine of this run."""
    return {"date": f"{date.today()}", "commit": _commit(), "machine": machine()}


def origin(made: Iterable[Mapping[str, Any]]) -> str:
    """Date, commits and machines of some records, on one line."""

    def of(name: str) -> list[str]:
        return sorted({record.get(name, UNKNOWN) for record in kept}) or [UNKNOWN]

    kept = list(made)
    dates, commits = of("date"), of("commit")
    days = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return f"{days}, commit {' and '.join(commits)}; {' and '.join(of('machine'))}"


def _commit() -> str:
    """The commit, with `+ changes` where a file beside the pages is not as in it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "--short", "HEAD")
        changed = git("status", "--porcelain", "--", ".", ":!docs", ":!*.md", ":!*.jsonl")
    except OSError:
        return UNKNOWN
    return f"{commit} + changes" if commit and changed else commit or UNKNOWN


def machine() -> str:
    """Processor, cores, instruction set and system, on one line."""
    model, flags = platform.processor() or platform.machine(), set[str]()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in reversed(lines):
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            model = value.strip()
        elif name.strip() in ("flags", "Features"):
            flags = set(value.split())
    sets = {"avx512_vnni": "AVX-512 with VNNI", "avx512f": "AVX-512", "avx2": "AVX2"}
    known = next((title for flag, title in sets.items() if flag in flags), platform.machine())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    version = platform.python_version()
    return f"{model}, {cores} cores, {known}, {platform.system()}, Python {version}"


def record_file(script: str) -> Path:
    """Where the records of a study are: of `__file__` of its script."""
    return RECORDS / f"{Path(script).stem}.jsonl"


def records(path: Path) -> list[dict[str, Any]]:
    """The lines of JSON that a study has written so far; one that was cut off does not count."""
    found: list[dict[str, Any]] = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def keep(path: Path, record: Mapping[str, Any]) -> None:
    """Add a record to the lines of a study, with date, commit and machine, and print it."""
    line = json.dumps({**record, **source()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(line + "\n")
    print(line, flush=True)
