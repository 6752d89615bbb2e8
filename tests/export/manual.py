"""The examples of docs/export.md, to be run."""

from __future__ import annotations

import re

from source_tree import ROOT


def examples(kind: str) -> list[str]:
    """The Python of a kind's section."""
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (own,) = [part for part in section if part.startswith(f"{kind}\n")]
    return re.findall(r"```python\n(.*?)```", own, flags=re.DOTALL)
