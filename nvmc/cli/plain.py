"""Text of files and names as a terminal may get it: printable, and no longer than people read."""

from __future__ import annotations

import unicodedata

__all__ = ["one_line", "printable"]

LONGEST = 2000
"""Characters of a line; of a longer one the middle is left out."""

_HIDDEN = {"Cc", "Cf", "Cs"}
"""Unicode's categories of what is not seen: controls, formats such as right-to-left, surrogates."""


def printable(text: str) -> str:
    """The text with U+FFFD for everything that could steer a terminal.

    Names in a network, device or store may hold escape sequences. Line breaks stay.
    """
    if text.isprintable():
        return text
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if c != "\n" and unicodedata.category(c) in _HIDDEN else c
        for c in text
    )


def one_line(message: str) -> str:
    """A message as one printable line; the beginning and the end of one that is very long."""
    line = printable(" ".join(message.split()))
    if len(line) <= LONGEST:
        return line
    return f"{line[: LONGEST // 2]} [...] {line[-LONGEST // 2 + 10 :]}"
