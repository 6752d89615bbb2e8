"""Every key that `--json` prints is named on the command's page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nvmc.cli import main
from snippets.pages import ROOT

SMALL = ["--data", "digits", "--limit", "6", "--runs", "2"]
COMMANDS = {
    "simulate": SMALL,
    "sweep": [*SMALL, "--sigma", "0.1,0.2"],
    "sensitivity": SMALL,
    "uncertainty": [*SMALL, "--shift", "noise"],
    "inspect": SMALL[:4],
    "compare": [*SMALL, "--device", "rram4", "--device", "fefet2"],
}
OF_DESCRIPTION = "results"
"""The page that has the keys of `description`."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("keys") / "mlp3.nvmc")
    assert main(["compile", "zoo:mlp3-digits", "--device", "rram4", "-o", folder]) == 0
    return folder


def _keys(value: Any, skipped: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in skipped:
                yield key
                yield from _keys(inner, skipped)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner, skipped)


def _named(page: str) -> set[str]:
    """Words between backticks."""
    codes = re.findall(r"`([^`\n]+)`", (ROOT / f"docs/{page}.md").read_text())
    return {word for code in codes for word in re.findall(r"[\w-]+", code)}


@pytest.mark.parametrize("command", COMMANDS)
def test_keys_are_on_the_page(
    command: str, compiled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main([command, compiled, *COMMANDS[command], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    described = set(found.get("description", {})) | {"description", "noise", "periphery"}
    own = _named(command) | _named("simulate")  # whose `percentile` other pages point at
    unknown = {*_keys(found, tuple(described))} - own
    unknown |= described - _named(OF_DESCRIPTION) - own
    assert not {key for key in unknown if not _is_name(key)}


def _is_name(key: str) -> bool:
    """Whether a key is the name of an array, a device or a source, and not of a field."""
    return "." in key or "#" in key or "-" in key
