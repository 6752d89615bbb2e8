"""Options that pages and messages name are there; each command's page names all of its options."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator

import click

from nvmc.cli.examples import EXAMPLES
from snippets.listing import commands, relisted
from snippets.not_run import runs
from snippets.pages import ROOT, blocks, pages

_EVERY = {"--quiet", "--verbose"}
_OTHERS = {"--debug", "--help", *_EVERY, "--lifetime", "--memory-limit", "--scheduler-file"}
_OTHERS |= {"--docs", "--nthreads", "--nworkers", "--only", "--small", "--splits"}
"""What every command has, and options that pages name of dask and of the studies' scripts."""
_PIPS = {"--force-reinstall", "--no-cache-dir", "--no-deps", "--upgrade"}

_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`")


def _options(command: click.Command) -> dict[str, str]:
    """Long name -> what a page names it by: its short name where it has one."""
    return {
        name: next((short for short in one.opts if short[1] != "-"), name)
        for one in command.params
        if isinstance(one, click.Option) and not one.hidden
        for name in (*one.opts, *one.secondary_opts)
        if name.startswith("--") and name not in _EVERY
    }


ALL = {name: _options(command) for name, command in commands().items()}
KNOWN = set[str]().union(*ALL.values())


def _lines(page: str) -> list[tuple[str, str]]:
    """Commands in the page's synopses and in blocks that no test runs, and where they stand."""
    found = []
    for block in blocks(page):
        if block.kind == "usage" or not runs(block):
            text = block.text.replace("\\\n", " ")
            found += [(block.where, line.strip().removeprefix("$ ")) for line in text.splitlines()]
    return [(where, line) for where, line in found if line.startswith("nvmc ")]


def test_commands_that_are_not_run_have_their_options() -> None:
    wrong = []
    for page in pages():
        for where, line in _lines(page):
            words = shlex.split(re.sub(r"[\[\]|]", " ", line), comments=True)[1:]
            name = " ".join(words[:2]) if " ".join(words[:2]) in ALL else words[0]
            unknown = [
                word
                for word in words
                if word.startswith("--") and word not in {*ALL[name], *_EVERY}
            ]
            wrong += [f"{where}: nvmc {name} has no {word}" for word in unknown]
    assert not wrong


def test_options_that_pages_name_exist() -> None:
    wrong = []
    for page in pages():
        for number, line in enumerate((ROOT / page).read_text().splitlines(), 1):
            for code in _INLINE.findall(line):
                if code.startswith(("--", "nvmc ")):
                    unknown = set(_OPTION.findall(code)) - KNOWN - _OTHERS
                    wrong += [f"{page}:{number}: {option}" for option in unknown]
    assert not wrong


def _strings() -> Iterator[tuple[str, str]]:
    """Every string of the source, docstrings and parts of f-strings too, and where it stands."""
    folders = ("nvmc", "passes", "runtime", "models")  # the last three are symlinks in the first
    for path in sorted(path for name in folders for path in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


def test_options_that_messages_help_and_docstrings_name_exist() -> None:
    """Some command has each; a command that is written with it, between backticks, has it."""
    wrong, named = [], set[str]()
    for where, text in _strings():
        found = set(_OPTION.findall(text))
        named |= found
        wrong += [f"{where}: {option}" for option in found - KNOWN - _OTHERS - _PIPS]
        for code in _INLINE.findall(text):
            words = code.split()
            if words[0] == "nvmc" and len(words) > 1:
                name = next((n for n in (" ".join(words[1:3]), words[1]) if n in ALL), "")
                own = {*ALL.get(name, ()), *_OTHERS}
                unknown = set(_OPTION.findall(code)) - own
                wrong += [f"{where}: nvmc {name} has no {option}" for option in unknown]
    assert not wrong
    assert len(named & KNOWN) > 60  # the search sees messages


def test_each_page_names_all_options_of_its_command() -> None:
    wrong = []
    for name, options in ALL.items():
        page = f"docs/{EXAMPLES[name][1]}.md"
        named = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", (ROOT / page).read_text()))
        missing = [one for one, short in options.items() if not {one, short} & named]
        wrong += [f"{page} says nothing of {one} of nvmc {name}" for one in missing]
    assert not wrong


def test_lists_of_options_are_up_to_date() -> None:
    stale = [page for page in pages() if relisted(text := (ROOT / page).read_text()) != text]
    assert not stale, "run PYTHONPATH=tests:. python -m snippets.listing"
