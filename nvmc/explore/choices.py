"""One value of a choice: how it is written in a space's file and in a table, and what it may be."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, cast

from pydantic import ValidationError

from nvmc.errors import OptionError
from nvmc.hardware.devices import Settings
from nvmc.hardware.options import problem

__all__ = ["Choice", "choice_of_text", "parse_choice", "text_of"]

Choice: TypeAlias = str | int | float | bool | tuple[str, ...]


def parse_choice(name: str, value: Any, folder: Path) -> Choice:
    """A value as a space's file states it.

    Args:
        name: Of the choice.
        value: From TOML.
        folder: Where files that it names lie.

    Raises:
        OptionError: It is none of the choice's.
    """
    if name in _CHECKS:
        return _CHECKS[name](name, value, folder)
    try:
        stated = Settings.model_validate({name: value})
    except ValidationError as error:
        raise OptionError(problem(error, Settings)) from error
    if getattr(stated, name) is None or not isinstance(value, str | int | float):
        raise OptionError(f"{name} is {value!r}; expected a number, a word, true or false")
    return value


def text_of(value: Choice) -> str:
    """A value in a table; `choice_of_text` reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ";".join(value) if isinstance(value, tuple) else str(value)


def choice_of_text(name: str, text: str) -> Choice:
    """The value that a table has.

    Raises:
        OptionError: It is none of the choice's.
    """
    value: Any = text
    if name == "digital":
        value = text if text == "none" else text.split(";")
    elif name not in ("device", "tile", "trained", "clip"):
        value = _plain(text)
    return parse_choice(name, value, Path())


def _plain(text: str) -> str | int | float | bool:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _text(name: str, value: Any, folder: Path) -> str:
    if not isinstance(value, str) or not value:
        raise OptionError(f"{name} is {value!r}; expected a text")
    return value


def _file_or_name(name: str, value: Any, folder: Path) -> str:
    text = _text(name, value, folder)
    is_file = text.endswith((".toml", ".onnx")) and not Path(text).is_absolute()
    return str((folder / text).resolve()) if is_file else text


def _device(name: str, value: Any, folder: Path) -> str:
    text = _file_or_name(name, value, folder)
    if ":" in text and not text.endswith(".toml"):  # a file runs no Python of anyone's
        raise OptionError(f"device is {value!r}; expected a name of `nvmc devices`, or a TOML file")
    return text


def _trained(name: str, value: Any, folder: Path) -> str:
    text = _file_or_name(name, value, folder)
    if text != "none" and not text.endswith(".onnx"):
        raise OptionError(f"trained is {value!r}; expected an ONNX file, or none")
    return text


def _tile(name: str, value: Any, folder: Path) -> str:
    text = _text(name, value, folder)
    if re.fullmatch(r"[1-9]\d{0,6}x[1-9]\d{0,6}", text) is None:
        raise OptionError(f"tile is {value!r}; expected ROWSxCOLS, such as 128x128")
    return text


def _tolerance(name: str, value: Any, folder: Path) -> Choice:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value != "none" and not (number and value > 0):
        raise OptionError(f"tolerance is {value!r}; expected a number above 0, or none")
    return value


def _count(name: str, value: Any, folder: Path) -> Choice:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if not whole and (name == "max_pulses" or value != "none"):
        raise OptionError(f"{name} is {value!r}; expected a whole number of at least 1")
    return value


def _clip(name: str, value: Any, folder: Path) -> Choice:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    text = _text(name, value, folder)
    if text.startswith("kpp"):
        raise OptionError("clip is 'kpp', which judges chips of its own; give widths: auto, 2.5")
    return text


def _digital(name: str, value: Any, folder: Path) -> Choice:
    if value == "none":
        return "none"
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, list) and texts:
        globs = cast(list[Any], texts)
        if all(isinstance(glob, str) and glob and ";" not in glob for glob in globs):
            return tuple(globs)
    raise OptionError(f"digital is {value!r}; expected none, a glob of layers, or a list of globs")


_CHECKS: dict[str, Callable[[str, Any, Path], Choice]] = {
    "device": _device,
    "tile": _tile,
    "tolerance": _tolerance,
    "max_pulses": _count,
    "digital": _digital,
    "clip": _clip,
    "activation_bits": _count,
    "trained": _trained,
}
