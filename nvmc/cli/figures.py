"""`--figure` and `--style`: a picture beside a result, for a screen, a paper or a slide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from nvmc.report.figure import STYLES, Sheet, as_sheet, check_figure

__all__ = ["figure_options", "figures"]

F = TypeVar("F", bound=Callable[..., Any])

_STYLE = "nvmc.style"
"""Where the context keeps the style until the figure's file is read."""


def _noted(context: click.Context, option: click.Parameter, name: str | None) -> None:
    context.meta[_STYLE] = name


def _sheet(context: click.Context, option: click.Parameter, path: Path | None) -> Sheet | None:
    """A figure that cannot be written is refused before any work is done."""
    name = context.meta.get(_STYLE)
    if path is None:
        if name is not None:
            raise click.UsageError("--style says how --figure is drawn; give both, or neither")
        return None
    check_figure(path)
    return as_sheet(path, name or "screen")


def figures(about: str) -> Callable[[F], F]:
    """The two options; the command gets a `Sheet` as `figure`, or None.

    Args:
        about: What `--figure` does.
    """
    figure = click.option(
        "--figure",
        type=click.Path(path_type=Path),
        metavar="FILE.{png,pdf,svg}",
        callback=_sheet,
        help=about,
    )
    style = click.option(
        "--style",
        type=click.Choice(list(STYLES)),
        expose_value=False,
        is_eager=True,
        callback=_noted,
        help="With --figure: for a screen, one column of a two-column paper (3.5 in wide, 8 pt), "
        "or a slide (16:9).  [default: screen]",
    )
    return lambda command: figure(style(command))


def figure_options(command: F) -> F:
    """The two options, of a result."""
    return figures("Draw the result; the suffix says the format.")(command)
