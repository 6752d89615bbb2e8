"""The code blocks of a documentation page, and what the page says of each.

A block's language says what is done with it:

| language | what is done |
| --- | --- |
| `python` | run, in one namespace for the page |
| `sh` | every command is run and must succeed |
| `console` | lines after `$ ` are run; the lines below are what they print |
| `output` | what the block before prints |
| `usage` | a synopsis: the command and its options must exist |
| `toml`, `csv`, `json`, `sql` | written to the file of `title="NAME"`, where there is one |
| `text` | nothing |

A file may be of any language: `python title="judge.py"` is written, not run. Before a block a
comment may say `<!-- slow -->` (it runs with the slow tests only) or `<!-- differs: WORDS -->`
(numbers are not compared in printed lines that hold one of the words, given with commas). A line
`...` of an output stands for any number of lines, `...` within a line for any text. What readers
need not see is a comment: `<!-- setup: sh`, the commands, `-->`; `python`, `slow` and a title work
there too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["KINDS", "ROOT", "Block", "blocks", "pages"]

ROOT = Path(__file__).parents[2]
FILES = ("toml", "csv", "json", "sql")
KINDS = ("python", "sh", "console", "output", "usage", "text", *FILES)

_FENCE = re.compile(r"^ *```(.*)$")
_SETUP = re.compile(r"^<!-- setup: (.*)$")
_SLOW = re.compile(r"^<!-- slow -->$")
_DIFFERS = re.compile(r"^<!-- differs: (.*) -->$")
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """One block: where its first line of code stands, and what is to be done with it."""

    page: str
    line: int
    kind: str
    text: str
    title: str = ""
    slow: bool = False
    differs: tuple[str, ...] = ()
    hidden: bool = False

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Paths of all pages, from the root of the repository."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path.relative_to(ROOT).as_posix() for path in found]


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page, hidden ones too, in their order."""
    lines = (ROOT / page).read_text().splitlines()
    slow, differs, at = False, (), 0
    while at < len(lines):
        line = lines[at]
        fence, setup = _FENCE.match(line), _SETUP.match(line)
        if _SLOW.match(line):
            slow = True
        elif said := _DIFFERS.match(line):
            differs = tuple(word.strip() for word in said[1].split(","))
        elif fence or setup:
            words = (fence or setup)[1].strip()
            end = at + 1
            while not (lines[end].strip() == "```" if fence else lines[end] == "-->"):
                end += 1
            title = _TITLE.search(words)
            yield Block(
                page=page,
                line=at + 2,
                kind=words.split()[0] if words else "",
                text="\n".join(lines[at + 1 : end]),
                title=title[1] if title else "",
                slow=slow or "slow" in words.split(),
                differs=differs,
                hidden=not fence,
            )
            slow, differs, at = False, (), end
        at += 1
