"""What a user may have meant: the nearest command, subcommand or choice to a mistyped one.

click itself suggests options.
"""

from __future__ import annotations

import re

import click

from nvmc.errors import nearest

__all__ = ["Group", "usage_text"]

_CHOICE = re.compile(r"'(.*)' is not ")
"""How click begins to say that a word is none of an option's choices."""


class Group(click.Group):
    """A group of commands that names the nearest one where there is none of a name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word means.

        Raises:
            UsageError: There is none of that name.
        """
        word, known = args[0], self.list_commands(ctx)
        if word in known or word.startswith("-"):
            return super().resolve_command(ctx, args)
        guess = nearest(word, known)
        hint = f"expected one of {', '.join(known)}" if guess is None else _meant(guess)
        raise click.UsageError(f"No such command {word!r}; {hint}", ctx)


def usage_text(error: click.UsageError) -> str:
    """What was used wrongly, what may have been meant, and where help is; one line."""
    where = error.ctx.command_path if error.ctx else "nvmc"
    return f"{error.format_message()}{_choice_meant(error)} (see `{where} --help`)"


def _choice_meant(error: click.UsageError) -> str:
    kind = error.param.type if isinstance(error, click.BadParameter) and error.param else None
    given = _CHOICE.match(error.message)
    if given is None or not isinstance(kind, click.Choice):
        return ""
    guess = nearest(given[1], map(str, kind.choices))
    return "" if guess is None else f" {_meant(guess).capitalize()}"


def _meant(guess: str) -> str:
    return f"did you mean {guess!r}?"
