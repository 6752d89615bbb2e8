"""HTML as values: every text is escaped, so that a name from a stranger stays a name."""

from __future__ import annotations

import html
import json
import re
from typing import Any

__all__ = ["Markup", "embedded_json", "markup", "tag", "visible"]

_VOID = frozenset(["meta", "input", "br"])


class Markup(str):
    """HTML that is put on the page as it is. Any other text is escaped."""

    __slots__ = ()


def tag(name: str, /, *children: Markup | str, **attributes: str | bool | None) -> Markup:
    """An element.

    Args:
        name: Of the element, which is written in code only.
        *children: What is inside; a `str` that is no `Markup` is escaped.
        **attributes: Values are escaped; True for an attribute without a value, None or False for
            none. `class_` is `class`, and `_` within a name is `-`.
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        word = key.rstrip("_").replace("_", "-")
        parts.append(f" {word}" if value is True else f' {word}="{_escaped(str(value))}"')
    inside = "" if name in _VOID else f"{markup(*children)}</{name}>"
    return Markup(f"{''.join(parts)}>{inside}")


def markup(*children: Markup | str) -> Markup:
    """Children one after the other, texts escaped."""
    return Markup("".join(c if isinstance(c, Markup) else _escaped(c) for c in children))


def visible(text: str) -> str:
    """The text with characters shown that no HTML may hold, or that steer the direction of text.

    U+202A to U+202E and U+2066 to U+2069 turn the text behind them around, so that a name could
    pretend to be another.
    """
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escaped(text: str) -> str:
    return html.escape(visible(text))


_HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def embedded_json(value: Any) -> Markup:
    """A value as JSON within a script element, which nothing in it can end.

    `<`, `>` and `&` only stand in texts of JSON, where their escapes mean the same; so do the two
    line separators that older browsers take for the end of a line of JavaScript.

    Raises:
        ValueError: A number is not finite.
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII: U+2028 is escaped
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)
