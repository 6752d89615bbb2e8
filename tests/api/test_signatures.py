"""What is stable: the public names and their arguments, as `signatures.txt` has them.

A change there is a change for users: say it in CHANGELOG.md, and write the file anew with
`python tests/api/test_signatures.py`.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import nvmc

pytestmark = pytest.mark.torch

FILE = Path(__file__).with_name("signatures.txt")


def line_of(name: str) -> str:
    """A name and its arguments, without defaults that are objects."""
    item: Any = getattr(nvmc, name)
    if isinstance(item, str):
        return f"{name}: str"
    if isinstance(item, type) and hasattr(item, "model_fields"):
        return f"{name}({', '.join(item.model_fields)})"
    if isinstance(item, type) and issubclass(item, Exception):
        return f"{name}(Exception)"
    parts: list[str] = []
    for parameter in inspect.signature(item).parameters.values():
        star = {parameter.KEYWORD_ONLY: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        parts.append(f"{star}{parameter.name}{'' if parameter.default is parameter.empty else '='}")
    return f"{name}({', '.join(parts)})"


def lines() -> list[str]:
    return [line_of(name) for name in sorted(nvmc.__all__) if name != "__version__"]


def test_public_names_and_arguments_are_those_that_were_promised() -> None:
    assert lines() == FILE.read_text().splitlines()


if __name__ == "__main__":
    FILE.write_text("\n".join(lines()) + "\n")
