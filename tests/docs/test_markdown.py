"""Markdown that GitHub and the site read alike: the site needs an empty line before lists."""

from __future__ import annotations

import re
import runpy

from snippets.pages import ROOT, blocks, pages

_BEGINS = re.compile(r"- |\d+\. |\| ")
_BEFORE = re.compile(r"- |\d+\. |\||#|<!--|  |$")
"""Lines that a list or table may stand below: its own, a heading, a comment, none."""


def _text(page: str) -> dict[int, str]:
    """The lines of a page by their numbers from 1; of a block with its fences, only the last."""
    inside = {
        number
        for block in blocks(page)
        for number in range(block.line - 1, block.line + block.text.count("\n") + 1)
    }
    lines = enumerate((ROOT / page).read_text().splitlines(), 1)
    return {number: line for number, line in lines if number not in inside}


def test_lists_and_tables_stand_below_an_empty_line() -> None:
    wrong = []
    for page in pages():
        text = _text(page)
        for number, line in text.items():
            if _BEGINS.match(line) and not _BEFORE.match(text.get(number - 1, "")):
                wrong.append(f"{page}:{number}")
    assert not wrong


def test_a_page_has_one_title() -> None:
    titles = {page: sum(line[:2] == "# " for line in _text(page).values()) for page in pages()}
    assert {page for page, count in titles.items() if count != 1} == set()


def test_the_site_shows_every_page_once() -> None:
    """A page that no menu names is built too, and nobody finds it."""
    shown = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    docs = [page.removeprefix("docs/") for page in pages() if page.startswith("docs/")]
    made = {"reference/api.md"}  # by docs/hooks
    assert sorted(set(shown) - made) == sorted(docs) and len(set(shown)) == len(shown)


def test_bars_in_tables_are_shown_without_their_backslash() -> None:
    hook = runpy.run_path(str(ROOT / "docs" / "hooks" / "bars.py"))["on_page_content"]
    cell = r"<td><code>A\|B</code></td> <td>C\|D</td>"
    block = r"<pre><code>grep 'a\|b'</code></pre>"
    shown = hook(cell + block, page=None, config=None, files=None)
    assert shown == r"<td><code>A|B</code></td> <td>C\|D</td>" + block
