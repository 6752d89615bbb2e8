"""The list of all options of a command on its page, made from the command itself.

`PYTHONPATH=tests:. python -m snippets.listing` writes the lists anew. On a page one stands between
`<!-- options: COMMAND -->` and `<!-- end -->`.
"""

from __future__ import annotations

import importlib
import re

import click

from nvmc.cli import COMMANDS
from nvmc.cli.groups import grouped
from snippets.pages import ROOT, pages

__all__ = ["EVERY", "commands", "option_list", "relisted", "write_lists"]

EVERY = ("quiet", "verbose")
"""Options that every command is given as it is called; docs/shell.md has them."""

_LIST = re.compile(r"(<!-- options: ([a-z ]+) -->\n).*?(\n<!-- end -->)", re.DOTALL)


def commands() -> dict[str, click.Command]:
    """Every command, with its subcommands, by its name."""
    found: dict[str, click.Command] = {}
    for name, (where, _) in COMMANDS.items():
        module, _, function = where.partition(":")
        command = getattr(importlib.import_module(module), function)
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {inner}": each for inner, each in command.commands.items()}
    return found


def option_list(name: str, command: click.Command) -> str:
    """A list in Markdown, a line per group: each option and what it takes."""
    lines = []
    for title, options in grouped(name, command.params).items():
        named = []
        for one in options:
            if not one.hidden and one.name not in EVERY:
                takes = "" if one.is_flag else f" {one.make_metavar(click.Context(command))}"
                named += [f"`{each}{takes}`" for each in (one.opts[-1], *one.secondary_opts)]
        if named:
            lines.append(f"- {title}: {', '.join(named)}")
    return "\n".join(lines)


def relisted(text: str) -> str:
    """A page with the lists as they should be."""
    known = commands()
    return _LIST.sub(lambda m: f"{m[1]}\n{option_list(m[2], known[m[2]])}\n{m[3]}", text)


def write_lists() -> None:
    """Bring the lists of all pages up to date."""
    for page in pages():
        text = (ROOT / page).read_text()
        if relisted(text) != text:
            (ROOT / page).write_text(relisted(text))


if __name__ == "__main__":
    write_lists()
