"""Small changes of bytes, numbers, texts and trees of values.

Gentle ones: most of an input stays as it was, so that it gets past the first check.
"""

from __future__ import annotations

import copy
from random import Random
from typing import Any

__all__ = [
    "FLOATS",
    "INTEGERS",
    "TEXTS",
    "changed_bytes",
    "changed_number",
    "changed_text",
    "changed_tree",
    "how_often",
]

INTEGERS = (0, 1, -1, 2, 3, 7, 127, 255, 256, 65535, 2**31 - 1, 2**31, 2**32, 2**63 - 1, -(2**63))
FLOATS = (
    0.0, -0.0, 1.0, -1.0, 0.5, 1e-300, 5e-324, 1e-45, 1e30, 3.5e38, 1e308, -1e308,
    float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
TEXTS = (
    "", " ", "x", "none", "nan", "0", "-1", "1e999", "a" * 300, "é☃", "\x1b[31m", "a\nb", "\x00",
    "../x", "/", "%s{0}", "'\"", "\udcff", "*", "[", "conv", "x" * 70_000,
)  # fmt: skip


def how_often(draw: Random, most: int) -> int:
    """How many changes an input gets, 1 to `most`: mostly one, so that many inputs are accepted."""
    return 1 if draw.random() < 0.75 else draw.randint(1, most)


def changed_number(draw: Random, value: int | float) -> int | float:
    """Another number: mostly one nearby, at times one that is special."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        if draw.random() < 0.7:
            return value + draw.choice((-2, -1, 1, 2))
        return draw.choice(INTEGERS)
    if draw.random() < 0.75:
        return value * draw.choice((0.5, 0.9, 0.99, 1.01, 1.1, 2.0, draw.choice((0.0, -1.0, 10.0))))
    return draw.choice(FLOATS)


def changed_text(draw: Random, value: str) -> str:
    """Another text: a special one, or this one with a character more, less or different."""
    if draw.random() < 0.3 or not value:
        return draw.choice(TEXTS)
    at = draw.randrange(len(value))
    letter = draw.choice("aZ09_-.:/ \n\t'\"\\{}[]é\x1b\x7f")
    return value[:at] + draw.choice((letter, letter + value[at], "")) + value[at + 1 :]


def changed_bytes(draw: Random, content: bytes, most: int = 3, kept: bool = False) -> bytes:
    """One to `most` small changes: bits, bytes, numbers, cuts, copies; `kept` keeps the length."""
    found = bytearray(content)
    for _ in range(how_often(draw, most)):
        at = draw.randrange(len(found) + 1)
        length = min(draw.choice((1, 1, 2, 4, 8, 64)), len(found) - at)
        match draw.randrange(5 if kept else 8):
            case 0 | 1 if length:
                found[at] ^= 1 << draw.randrange(8)
            case 2 | 3 if length:
                found[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
            case 4:
                found[at : at + length] = draw.randbytes(length)
            case 5:
                del found[at : at + length]
            case 6:
                found[at:at] = found[at : at + length] or b"\0"
            case _:
                if draw.random() < 0.3:
                    del found[at:]
                else:
                    found[at : at + 8] = draw.choice(INTEGERS).to_bytes(8, "little", signed=True)
    return bytes(found)


def changed_tree(draw: Random, tree: Any, most: int = 2) -> Any:
    """A copy of nested dictionaries, lists, numbers and texts with one to `most` changes."""
    found = copy.deepcopy(tree)
    for _ in range(how_often(draw, most)):
        places = _places(found) if isinstance(found, dict | list) else []
        if not places:
            return _other(draw, found, found)
        numbers = [place for place in places if _is_number(place)]
        holder, key = draw.choice(numbers if numbers and draw.random() < 0.5 else places)
        _change(draw, holder, key, found)
    return found


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (dictionary or list, key) in a tree."""
    found: list[tuple[Any, Any]] = []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        found.append((tree, key))
        if isinstance(value, dict | list):
            found += _places(value)
    return found


def _is_number(place: tuple[Any, Any]) -> bool:
    holder, key = place
    return isinstance(holder[key], int | float) and not isinstance(holder[key], bool)


def _change(draw: Random, holder: Any, key: Any, tree: Any) -> None:
    chance = draw.random()
    if chance < 0.8:
        holder[key] = _other(draw, holder[key], tree)
    elif chance < 0.87:
        del holder[key]
    elif isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[draw.randrange(len(holder))]))
    elif chance < 0.93:
        holder[changed_text(draw, key)] = copy.deepcopy(holder[key])
    else:
        there, other = draw.choice(_places(tree))
        holder[key] = copy.deepcopy(there[other])


def _other(draw: Random, value: Any, tree: Any) -> Any:
    """Another value, of the same type where possible."""
    if draw.random() < 0.06:
        wrong = (None, True, [], {}, "x", 0, -1.5, [[]], {"a": 1}, [value], {"type": value})
        return copy.deepcopy(draw.choice(wrong))
    if isinstance(value, int | float):
        return changed_number(draw, value)
    if isinstance(value, str):
        return changed_text(draw, value)
    if isinstance(value, dict | list) and value:
        holder, key = draw.choice(_places(value))
        _change(draw, holder, key, value)
        return value
    return draw.choice((0, 1, "x", [1], {"a": 1}, None))
