"""`--quiet` and `--verbose` of every command: how much is said beside its results."""

from __future__ import annotations

import logging
import platform
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from nvmc import __version__
from nvmc.cli.plain import one_line

__all__ = ["add_loudness", "is_quiet"]

_QUIET = "nvmc.quiet"
"""Where the context keeps whether only results and errors are wanted."""

SHOWN = ("numpy", "onnx", "onnxruntime", "torch")
"""Packages whose versions `--verbose` states, where they are installed."""


def is_quiet() -> bool:
    """Whether the command that runs was given `--quiet`."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_QUIET))


def _silence(context: click.Context, option: click.Parameter, given: bool) -> None:
    if given:
        context.meta[_QUIET] = True


def _tell(context: click.Context, option: click.Parameter, given: bool) -> None:
    if not given:
        return
    if context.meta.get(_QUIET):
        raise click.UsageError("--quiet and --verbose contradict each other; give one")
    context.with_resource(_told())


class _Lines(logging.Handler):
    """Messages of nvmc as lines on standard error, with the seconds since the command began."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._begun = time.monotonic()

    def say(self, text: str) -> None:
        """One line."""
        if sys.stderr:  # None where the caller closed it
            seconds = time.monotonic() - self._begun
            print(f"nvmc: {seconds:6.2f} s: {one_line(text)}", file=sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        """One line for a message."""
        self.say(record.getMessage())


@contextmanager
def _told() -> Generator[None]:
    """Everything that nvmc logs is on standard error, while a command runs."""
    logger, lines = logging.getLogger("nvmc"), _Lines()
    level = logger.level
    logger.addHandler(lines)
    logger.setLevel(logging.DEBUG)
    lines.say(f"nvmc {__version__}, Python {platform.python_version()}, {_versions()}")
    try:
        yield
        lines.say("done")
    finally:
        logger.removeHandler(lines)
        logger.setLevel(level)


def _versions() -> str:
    found: list[str] = []
    for name in SHOWN:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def add_loudness(command: click.Command) -> None:
    """Add the two options to a command and to its subcommands, once."""
    if not any(option.name == "quiet" for option in command.params):
        own: Any = {"is_flag": True, "expose_value": False}
        command.params += [
            click.Option(
                ["--quiet", "-q"],
                **own,
                is_eager=True,
                callback=_silence,
                help="Print only results, written files and errors: no notes, no progress.",
            ),
            click.Option(
                ["--verbose", "-v"],
                **own,
                callback=_tell,
                help="Print what is read and written, and each step with its time.",
            ),
        ]
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            add_loudness(inner)
