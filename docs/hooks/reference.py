"""Makes the reference pages of commands and Python names, when the site is built."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File

import nvmc
from nvmc.cli import COMMANDS
from nvmc.cli.examples import EXAMPLES
from nvmc.cli.groups import grouped
from nvmc.cli.loudness import add_loudness

__all__ = ["command_page", "names_page", "on_config", "on_files"]

_FOLDER = "reference/commands"


def on_config(config: Any) -> Any:
    """Put a page for each command into the navigation, and those that it does not name."""
    sections = {name: items for section in config["nav"] for name, items in section.items()}
    for item in sections["Reference"]:
        if "Commands" in item:
            item["Commands"] = [{f"nvmc {name}": f"{_FOLDER}/{name}.md"} for name in COMMANDS]
    docs = Path(config["docs_dir"])
    there = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    if more := sorted(there - set(_named(config["nav"]))):
        sections["How-to"].append({"More": more})
    return config


def _named(items: Any) -> Iterator[str]:
    """The pages of a navigation."""
    if isinstance(items, str):
        yield items
    else:
        for item in items.values() if isinstance(items, dict) else items:
            yield from _named(item)


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages that are made."""
    made = {f"{_FOLDER}/{name}.md": command_page(name) for name in COMMANDS}
    for path, content in (made | {"reference/api.md": names_page()}).items():
        files.append(File.generated(config, path, content=content))
    return files


def names_page() -> str:
    """The Markdown page of `nvmc.__all__`; mkdocstrings fills it from docstrings."""
    parts = [
        "# Python names",
        "Everything in `nvmc.__all__`, from its docstrings. [Python](../python.md) is the way in.",
    ]
    for name in nvmc.__all__:
        if name in nvmc._HOMES:
            module, _, attribute = nvmc._HOMES[name].partition(":")
            parts.append(f"## nvmc.{name}\n\n::: {module}.{attribute or name}")
    return "\n\n".join(parts) + "\n"


def command_page(name: str) -> str:
    """The Markdown page of a command and its subcommands: usage, help, options, an example."""
    module, _, function = COMMANDS[name][0].partition(":")
    command = getattr(importlib.import_module(module), function)
    add_loudness(command)
    parts = [f"# nvmc {name}", *_described(name, command)]
    if isinstance(command, click.Group):
        for inner, each in command.commands.items():
            parts += [f"## nvmc {name} {inner}", *_described(f"{name} {inner}", each)]
    return "\n\n".join(parts) + "\n"


def _described(name: str, command: click.Command) -> list[str]:
    context = click.Context(command, info_name=f"nvmc {name}")
    usage = command.get_usage(context).removeprefix("Usage: ")
    parts = [f"```text\n{usage}\n```", cleandoc(command.help or "").replace("\b\n", "")]
    for title, options in grouped(name, command.get_params(context)).items():
        rows = [record for one in options if (record := one.get_help_record(context))]
        lines = [f"| {_code(left)} | {_text(right)} |" for left, right in rows]
        parts.append("\n".join([f"| {title} | meaning |", "| --- | --- |", *lines]))
    words, page = EXAMPLES[name]
    parts.append(f"Example: `{f'nvmc {name} {words}'.strip()}`")
    parts.append(f"Explained in [{page}](../../{page}.md).")
    return parts


def _code(text: str) -> str:
    return "<code>" + _text(text) + "</code>"


def _text(text: str) -> str:
    """Plain text within a cell of a table."""
    for mark, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;")):
        text = text.replace(mark, entity)
    for mark in "*_[]`":
        text = text.replace(mark, f"&#{ord(mark)};")
    return " ".join(text.split())
