"""Options behind a metric's name, as in `accuracy:k=5`."""

from __future__ import annotations

from collections.abc import Mapping

from nvmc.errors import OptionError, unknown

__all__ = ["whole_option"]


def whole_option(metric: str, options: Mapping[str, str], name: str, least: int) -> int:
    """The only option of a metric, a whole number.

    Args:
        metric: Its name.
        options: What was given.
        name: Of the option.
        least: What it must be at least.

    Raises:
        OptionError: There is another option, or it is no such number.
    """
    for other in options.keys() - {name}:
        raise OptionError(unknown(f"option of metric {metric!r}", other, [name]))
    text = options[name]
    if not text.isdecimal() or int(text) < least:
        raise OptionError(
            f"metric {metric!r} has {name}={text}; expected a whole number from {least}"
        )
    return int(text)
