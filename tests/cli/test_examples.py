"""Every `--help` ends with an example that can be typed and the page that explains it."""

from __future__ import annotations

import importlib
import shlex
from pathlib import Path

import click
import pytest

from nvmc.cli import COMMANDS, main
from nvmc.cli.examples import EXAMPLES

DOCS = Path(__file__).parents[2] / "docs"


def _commands() -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, (where, _) in COMMANDS.items():
        module, _, function = where.partition(":")
        command = getattr(importlib.import_module(module), function)
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {inner}": each for inner, each in command.commands.items()}
    return found


def test_there_is_one_for_every_command() -> None:
    assert EXAMPLES.keys() == _commands().keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_help_ends_with_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, page = EXAMPLES[name]
    assert (DOCS / f"{page}.md").is_file()
    assert main([*name.split(), "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines[-2:]] == [
        f"Example: nvmc {name} {words}".rstrip(),
        f"More: docs/{page}.md",
    ]
    assert len(lines[-2]) <= 80


@pytest.mark.parametrize("name", EXAMPLES)
def test_its_options_exist(name: str) -> None:
    """click takes the words as they are, and asks for no more."""
    command = _commands()[name]
    command.make_context(name, shlex.split(EXAMPLES[name][0]))
