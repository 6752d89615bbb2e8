"""Tables of figures on pages: each has a script that writes it, a date, a commit and a command."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.figures import (
    BLOCK,
    RECORDS,
    UNKNOWN,
    figures,
    keep,
    origin,
    records,
    source,
    table,
)
from snippets.pages import ROOT

FOLDER = ROOT / "tests" / "benchmarks"
SCRIPTS = {path.stem: path for kind in ("bench", "study") for path in FOLDER.glob(f"{kind}_*.py")}
_TEXT = "one or a few figures, in the text of the page"
_HAND = "the table of the page is still arranged by hand"
WITHOUT_TABLE = {
    "bench_accelerator": "has not run on an accelerator",
    "bench_cost": _TEXT,
    "bench_kernels": _TEXT,
    "bench_place": _TEXT,
    "bench_store": _TEXT,
}
"""Scripts that write no table on a page, and why."""
BEFORE_RECORDS = {("study_mnist", key) for key in ("lenet5", "perceptron", "fefet", "pcm", "parts")}
"""Tables of studies with records that were measured before records were kept with the pages."""
SOURCE = re.compile(
    r"\d{4}-\d\d-\d\d( to \d{4}-\d\d-\d\d)?, "
    rf"commit ({UNKNOWN}|[0-9a-f]{{7,12}}( \+ changes)?)( and \S.*)?; \S.*: `.*`"
)


def _blocks() -> list[tuple[str, re.Match[str]]]:
    return [
        (page.relative_to(ROOT).as_posix(), block)
        for page in sorted((ROOT / "docs").rglob("*.md"))
        for block in BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def _strings(script: str) -> set[str]:
    """The literal texts of a script: the keys of its tables are among them."""
    tree = ast.parse(SCRIPTS[script].read_text(encoding="utf-8"))
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _calls_figures(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(isinstance(called, ast.Name) and called.id == "figures" for called in calls)


def test_each_table_is_of_a_script_that_can_write_it_and_says_where_its_figures_are_from() -> None:
    seen, wrong = set[tuple[str, str]](), list[str]()
    for page, block in _blocks():
        script, key = block["script"], block["key"]
        what = f"{page}: {script} {key}"
        if script not in SCRIPTS:
            wrong.append(f"{what}: there is no such script")
        elif key not in _strings(script):
            wrong.append(f"{what}: the script has no such key")
        if (script, key) in seen:
            wrong.append(f"{what}: twice")
        seen.add((script, key))
        if not SOURCE.fullmatch(block["source"]):
            wrong.append(f"{what}: no date, commit and command in {block['source']!r}")
        if f"tests/benchmarks/{script}.py" not in block["command"]:
            wrong.append(f"{what}: not its command: {block['command']}")
    assert not wrong


def test_no_mark_is_broken() -> None:
    marks = {"begin": 0, "end": 0}
    for page in (ROOT / "docs").rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        marks["begin"] += text.count("<!-- figures:")
        marks["end"] += text.count("<!-- end figures -->")
    assert marks == dict.fromkeys(marks, len(_blocks()))


def test_each_script_has_a_table_or_a_reason_to_have_none() -> None:
    with_table = {block["script"] for _, block in _blocks()}
    assert with_table | WITHOUT_TABLE.keys() == SCRIPTS.keys()
    assert not with_table & WITHOUT_TABLE.keys()
    assert {name for name, path in SCRIPTS.items() if _calls_figures(path)} == with_table


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(path.stem for path in RECORDS.glob("*.jsonl")))
def test_tables_are_those_of_the_records_that_are_kept(script: str) -> None:
    wrong: list[str] = []
    for page, block in _blocks():
        if block["script"] != script or (script, block["key"]) in BEFORE_RECORDS:
            continue
        words = shlex.split(block["command"])
        done = subprocess.run(
            [sys.executable, *words[words.index("python") + 1 :], "--table"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        if block["table"] not in done.stdout:
            wrong.append(f"{page}: {script} {block['key']}: its records give another table")
    assert not wrong


PAGE = """Before.

<!-- figures: bench_made speed -->

| | old |
| --- | --- |
| a | 1 |

2026-01-01, commit not recorded; a machine: `python tests/benchmarks/bench_made.py --some 3`

<!-- end figures -->

Behind.
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", ["bench_made.py", "--some", "3", "--docs"])
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


NEW = table(["", "new"], [["a", "2"]])


def test_a_table_takes_the_place_of_the_old_one(page: Path) -> None:
    figures("x/bench_made.py", "speed", NEW, docs=page.parent)
    text = page.read_text()
    block = BLOCK.search(text)
    assert block and block["table"] == NEW and block["command"].endswith("bench_made.py --some 3")
    assert SOURCE.fullmatch(block["source"])
    assert text.startswith("Before.\n\n<!--") and text.endswith("-->\n\nBehind.\n")
    assert list(page.parent.iterdir()) == [page]


def test_without_docs_a_table_is_only_printed(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_made.py", "--some", "3"])
    figures("bench_made.py", "speed", NEW, missing="much", docs=page.parent)
    assert page.read_text() == PAGE and NEW in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "missing", "argv", "told"),
    [
        ("speed", "2 of 3 rows", ["--some", "3"], "page.md was not changed: 2 of 3 rows"),
        ("speed", "", ["--quick"], "change the command on the page first"),
        ("size", "", ["--some", "3"], "0 pages have a place"),
    ],
)
def test_what_does_not_belong_on_the_page_is_refused(
    page: Path, monkeypatch: pytest.MonkeyPatch, key: str, missing: str, argv: list[str], told: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_made.py", *argv, "--docs"])
    with pytest.raises(SystemExit, match=told):
        figures("bench_made.py", key, NEW, missing=missing, docs=page.parent)
    assert page.read_text() == PAGE


def test_folders_of_this_machine_stay_off_the_page(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["x", "mnist:/my/data", "/my/cache", "/my/net.onnx", "--rows", "a;b"]
    )
    figures("bench_made.py", "speed", NEW, docs=page.parent)
    assert "bench_made.py mnist:DIR DIR net.onnx --rows 'a;b'`" in capsys.readouterr().out


def test_records_keep_the_commit_they_were_measured_at(tmp_path: Path) -> None:
    path = tmp_path / "study.jsonl"
    keep(path, {"value": 1})
    assert records(path) == [{"value": 1, **source()}]
    of = {"date": "2026-11-30", "commit": "1234567", "machine": "m"}
    assert origin([of, of]) == "2026-11-30, commit 1234567; m"
    assert origin([of, {**of, "date": "2026-11-28", "commit": "abcdef0 + changes"}]) == (
        "2026-11-28 to 2026-11-30, commit 1234567 and abcdef0 + changes; m"
    )
    assert SOURCE.fullmatch(origin([of, {}]) + ": `x`") is None  # no date: not for a page
    assert origin([]) == f"{UNKNOWN}, commit {UNKNOWN}; {UNKNOWN}"
