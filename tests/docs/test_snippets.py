"""Every command and every snippet of the pages is run; what a page prints is compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from snippets.not_run import NOT_RUN, runs
from snippets.pages import KINDS, ROOT, Block, blocks, pages
from snippets.running import Failed, matches, run_blocks

ALL = {page: tuple(blocks(page)) for page in pages()}
RUN = ("python", "sh", "console")


def _run(page: str) -> list[Block]:
    return [block for block in ALL[page] if runs(block)]


def _quick(page: str) -> list[Block]:
    return [block for block in _run(page) if not block.slow]


def _with(kinds: tuple[str, ...], chosen: Callable[[str], list[Block]]) -> list[str]:
    return [page for page in ALL if any(block.kind in kinds for block in chosen(page))]


@pytest.mark.parametrize("page", _with(RUN, _quick))
def test_quick_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_blocks(_quick(page))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in ALL if _quick(page) != _run(page)])
def test_all_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_blocks(_run(page))


def test_every_block_says_what_it_is() -> None:
    wrong = [block.where for page in ALL for block in ALL[page] if block.kind not in KINDS]
    assert not wrong, f"a block's language is one of {', '.join(KINDS)}"


def test_no_command_hides_in_an_indented_block() -> None:
    wrong = []
    for page in ALL:
        fenced = {
            block.line + number
            for block in ALL[page]
            for number in range(block.text.count("\n") + 1)
        }
        for number, line in enumerate((ROOT / page).read_text().splitlines(), 1):
            if number not in fenced and line.startswith("    ") and line.strip()[:5] in _COMMANDS:
                wrong.append(f"{page}:{number}")
    assert not wrong, "commands stand in fenced blocks"


_COMMANDS = ("nvmc ", "make ", "$ nvm", "pip i", "pytho")


def test_what_is_not_run_is_there() -> None:
    blocks = [block for page in ALL for block in ALL[page]]
    stale = [
        (page, start)
        for page, start in NOT_RUN
        if not any(block.page == page and block.text.startswith(start) for block in blocks)
    ]
    assert not stale
    assert all(len(reason) > 10 for reason in NOT_RUN.values())


def test_toml_can_be_read() -> None:
    import tomllib

    for page in ALL:
        for block in ALL[page]:
            if block.kind == "toml":
                tomllib.loads(block.text)


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a 1\nb", "a 1\nb\n", True),
        ("a 1\nb", "a 2\nb\n", False),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("a\n...\nd", "a\nb\nc", False),
        ("a ... c", "a b c", True),
        ("a ... c", "a b d", False),
        ("time   1.7 s\nb 1", "time  12.33 s\nb 1", True),
        ("time   1.7 s\nb 1", "time  12.33 s\nb 2", False),
    ],
)
def test_comparison(expected: str, printed: str, same: bool) -> None:
    assert matches(expected, printed, ("time",)) == same


def test_a_failing_block_names_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Failed, match="page.md:7: nvmc no-such\nends with 2"):
        run_blocks([Block("page.md", 7, "sh", "nvmc no-such")])


def test_files_are_written_where_they_are_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_blocks(
        [
            Block("page.md", 1, "python", "cost = 3", title="judge.py"),
            Block("page.md", 5, "python", "import judge\nprint(judge.cost)"),
            Block("page.md", 9, "output", "3"),
            Block("page.md", 12, "console", "$ cat judge.py | tr c k\nkost = 3"),
        ]
    )
