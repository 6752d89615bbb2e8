"""Options as people write them, KEY=VALUE, and the one line that says what is wrong with one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from nvmc.arguments import from_python
from nvmc.errors import OptionError, unknown

__all__ = ["CheckedModel", "OneLine", "pairs", "problem", "value_of"]


def pairs(
    where: str,
    texts: Iterable[str],
    example: str,
    *,
    form: str = "KEY=VALUE",
    names: bool = False,
) -> dict[str, str]:
    """KEY=VALUE texts by key, in the order given; dashes of keys are read as underscores.

    Args:
        where: Whose texts they are, such as `--augment`; errors begin with it.
        texts: The texts; empty ones are skipped.
        example: One that is right.
        form: What the texts look like.
        names: Keys are names of things in the network: they stay as they are, and may hold `=`.

    Raises:
        OptionError: A text is not of that form, or a key is given twice.
    """
    found: dict[str, str] = {}
    for text in filter(None, texts):
        key, equals, value = text.rpartition("=") if names else text.partition("=")
        key = key.strip() if names else key.strip().replace("-", "_")
        if not equals or not key:
            raise OptionError(f"{where}: {text!r} is not {form}; write it so, as {example}")
        if key in found:
            raise OptionError(f"{where}: {key!r} is given twice; give it once")
        found[key] = value.strip()
    return found


def value_of(text: str) -> Any:
    """A number, or several values of `a,b` or `a;b`; else the text itself."""
    if "," in text or ";" in text:
        return tuple(value_of(part.strip()) for part in text.replace(";", ",").split(","))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def problem(error: ValidationError, model: Any = None, *, option: bool = False) -> str:
    """The first problem that pydantic found, on one line: the key, what is wrong, what was given.

    Args:
        error: From validating `model`.
        model: A model, or the type of several; names the known keys and the nearest of them.
        option: Whether keys are options of the command line, `--weight-bits`.
    """
    first: Any = min(error.errors(), key=lambda one: one["type"] == "missing")
    keys, here = _place(first, model)
    strange = keys.pop() if first["type"] == "extra_forbidden" else ""
    where = ".".join(keys)
    if option and keys:
        where = "--" + " ".join(keys).replace("_", "-")
    tags = [tag for kind in here if (tag := _tag(kind)) is not None]
    match first["type"]:
        case "extra_forbidden":
            known = list(dict.fromkeys(name for kind in here for name in _fields(kind)))
            told = unknown("key", strange, known)
        case "missing":
            told = "is missing"
        case "union_tag_not_found":
            told = f"has no type; expected one of {', '.join(tags)}"
        case "union_tag_invalid":
            told = unknown("type", first["ctx"]["tag"], tags)
        case _:
            told = str(first["msg"]).removeprefix("Value error, ")
            if told[1:2].islower():
                told = told[:1].lower() + told[1:]
            if isinstance(first["input"], str | int | float):
                told += f" (got {first['input']!r})"
    return " ".join((f"{where}: {told}" if where else told).split())


def _place(first: Any, model: Any) -> tuple[list[str], list[type]]:
    """The keys that lead to a problem, and the models and dataclasses that have their fields there.

    What else stands in pydantic's location is its names of the members of unions.
    """
    keys: list[str] = []
    here = _models(model)
    for number, part in enumerate(first["loc"], start=1):
        fields = {name: kind for one in here for name, kind in _fields(one).items()}
        if first["type"] == "extra_forbidden" and number == len(first["loc"]):
            keys.append(str(part))
        elif part in fields:
            keys.append(part)
            here = _models(fields[part])
        elif isinstance(part, int):
            keys.append(str(part))
        elif tagged := [kind for kind in here if _tag(kind) == part]:
            here = tagged
    return keys, here


def _models(annotation: Any) -> list[type]:
    """Every model or dataclass that a type may be, in its order."""
    if isinstance(annotation, type) and _fields(annotation):
        return [annotation]
    return [kind for part in get_args(annotation) for kind in _models(part)]


def _fields(kind: Any) -> dict[str, Any]:
    """The fields of a model or a dataclass, with their types; of others none."""
    if issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if dataclasses.is_dataclass(kind):
        return {field.name: field.type for field in dataclasses.fields(kind)}
    return {}


def _tag(kind: type) -> str | None:
    """What tells a model of a union from the others."""
    field = kind.model_fields.get("type") if issubclass(kind, BaseModel) else None
    return None if field is None else field.default


class _Checked(type(BaseModel)):
    """Constructors of pydantic models raise OptionError, in one line.

    `model_validate` still raises pydantic's error, whose parts readers of files need.
    """

    def __call__(cls, *positional: Any, **keywords: Any) -> Any:
        model: Any = cls
        return from_python(model.model_fields, partial(cls._checked, *positional, **keywords))

    def _checked(cls, *positional: Any, **keywords: Any) -> Any:
        try:
            return super().__call__(*positional, **keywords)
        except ValidationError as error:
            raise OptionError(f"{cls.__name__}: {problem(error, cls)}") from error
        except TypeError as error:
            raise OptionError(f"{cls.__name__}: {error}") from error


class OneLine:
    """The part of a model that shows it in one line, in place of all of its fields."""

    def headline(self) -> str:
        """What of it matters most."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.headline()}>"

    def __str__(self) -> str:
        return repr(self)


if TYPE_CHECKING:  # of the models' own constructors and fields, type checkers should see all
    CheckedModel = BaseModel
else:

    class CheckedModel(BaseModel, metaclass=_Checked):
        """A model whose constructor raises OptionError for what does not fit."""
