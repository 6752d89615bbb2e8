"""Running a page's blocks in the working directory, and comparing what they print."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nvmc.cli import main
from snippets.pages import ROOT, Block

__all__ = ["Failed", "matches", "run_blocks", "session", "tools"]

_SHELL = set("|&;<>$*`?(){}~")
_QUOTED = re.compile("'[^']*'")
_NUMBER = re.compile(r"[0-9][0-9.,]*")


class Failed(AssertionError):
    """A block that fails, or prints something else than its page says."""


def run_blocks(blocks: Iterable[Block]) -> None:
    """Run blocks in turn, in the working directory.

    Raises:
        Failed: At the first that fails or prints something else.
    """
    names: dict[str, Any] = {"__name__": "page"}
    printed = ""
    with tools():
        for block in blocks:
            if block.title:
                Path(block.title).parent.mkdir(parents=True, exist_ok=True)
                Path(block.title).write_text(block.text + "\n")
            elif block.kind == "python":
                printed = _python(block, names)
            elif block.kind == "sh":
                printed = "".join(_command(block, line, "")[0] for line in _commands(block.text))
            elif block.kind == "console":
                for command, expected in session(block.text):
                    _compare(block, command, expected, _command(block, command, expected)[0])
            elif block.kind == "output":
                _compare(block, "the block before", block.text, printed)


@contextlib.contextmanager
def tools() -> Any:
    """`nvmc` and `python` of this run first on the path of the shell."""
    here = Path(".tools").absolute()
    here.mkdir()
    for name, words in (("nvmc", " -m nvmc"), ("python", "")):
        (here / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{words} "$@"\n')
        (here / name).chmod(0o755)
    before = dict(os.environ)
    os.environ |= {
        "PATH": f"{here}{os.pathsep}{before['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), str(ROOT), str(ROOT / "tests")]),
        "COLUMNS": "80",
    }
    path = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        sys.path[:] = path
        for name, module in list(sys.modules.items()):  # what the page wrote and imported
            if str(getattr(module, "__file__", None)).startswith(str(here.parent)):
                del sys.modules[name]


def _python(block: Block, names: dict[str, Any]) -> str:
    code = compile("\n" * (block.line - 1) + block.text, str(ROOT / block.page), "exec")
    out = io.StringIO()
    with contextlib.redirect_stdout(out), warnings.catch_warnings():
        warnings.simplefilter("default")
        try:
            exec(code, names)
        except Exception as error:
            raise Failed(f"{block.where}: {traceback.format_exc(limit=-2)}") from error
    return out.getvalue()


def _commands(text: str) -> list[str]:
    joined = text.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and line.strip()[0] != "#"]


def session(text: str) -> list[tuple[str, str]]:
    """Commands of a console block, each with what stands below it."""
    parts = re.split(r"^\$ ", text.replace("\\\n", " "), flags=re.MULTILINE)
    assert not parts[0].strip(), f"a console block begins with '$ ', not with {parts[0]!r}"
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts[1:]]


def _command(block: Block, line: str, expected: str) -> tuple[str, str]:
    """What a command prints; on standard error, where the page shows that it fails."""
    fails = expected.startswith(("nvmc: error:", "Usage:"))
    words = shlex.split(line, comments=True)
    out, problems = io.StringIO(), io.StringIO()
    if words[0] == "nvmc" and not _SHELL & set(_QUOTED.sub("", line.partition(" #")[0])):
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(problems):
            with warnings.catch_warnings():
                warnings.simplefilter("default")
                code = main(words[1:])
        printed, said = out.getvalue(), problems.getvalue()
    else:
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
        code, printed, said = done.returncode, done.stdout, done.stderr
    if (code != 0) != fails:
        raise Failed(f"{block.where}: {line}\nends with {code}\n{printed}{said}")
    return (said if fails else printed), said


def _compare(block: Block, command: str, expected: str, printed: str) -> None:
    if expected.strip() and not matches(expected, printed, block.differs):
        raise Failed(f"{block.where}: {command} prints\n{printed}\nand the page says\n{expected}")


def matches(expected: str, printed: str, differs: tuple[str, ...] = ()) -> bool:
    """Whether a page's output is what was printed, but for what the page says may differ."""
    pattern = []
    for line in _lines(expected, differs):
        if line.strip() == "...":
            pattern.append(r"(?:.*\n)*?")
        else:
            pattern.append(".*?".join(re.escape(part) for part in line.split("...")) + r"\n")
    text = "".join(f"{line}\n" for line in _lines(printed, differs))
    return re.fullmatch("".join(pattern), text) is not None


def _lines(text: str, differs: tuple[str, ...]) -> list[str]:
    """Lines without their ends; where numbers may differ, those and the gaps do not count."""
    found = [line.rstrip() for line in text.strip("\n").splitlines()]
    return [
        re.sub(r" +", " ", _NUMBER.sub("#", line))
        if any(word in line for word in differs)
        else line
        for line in found
    ]
