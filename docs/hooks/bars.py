"""Shows a bar in code of a table without its backslash, as GitHub does, on the site."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["on_page_content"]

_CELL = re.compile(r"<td.*?</td>", re.DOTALL)
_CODE = re.compile(r"<code>.*?</code>", re.DOTALL)


def on_page_content(html: str, *, page: Any, config: Any, files: Any) -> str:
    """Take the backslash away, which only keeps a bar from ending the cell."""
    return _CELL.sub(lambda cell: _CODE.sub(_bare, cell[0]), html)


def _bare(code: re.Match[str]) -> str:
    return code[0].replace("\\|", "|")
