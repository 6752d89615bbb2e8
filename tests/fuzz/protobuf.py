"""Small changes of a protobuf message, whatever its type: fields, elements, whole parts."""

from __future__ import annotations

from random import Random
from typing import Any

from fuzz.mutations import changed_bytes, changed_number, changed_text, how_often

__all__ = ["changed_message"]


def changed_message(draw: Random, message: Any, most: int = 2) -> None:
    """Change a message in place, in one to `most` fields somewhere in it."""
    for _ in range(how_often(draw, most)):
        part = _part(draw, message)
        fields = [field for field, _ in part.ListFields()]
        if draw.random() < 0.15 or not fields:
            fields = list(part.DESCRIPTOR.fields)
        if fields:
            _change(draw, part, draw.choice(fields), message)


def _part(draw: Random, message: Any) -> Any:
    """A message in it, small and large parts alike."""
    part = message
    while True:
        inner = [
            value
            for field, held in part.ListFields()
            if field.message_type is not None
            for value in (held if field.is_repeated else [held])
        ]
        if not inner or draw.random() < 0.2:
            return part
        part = draw.choice(inner)


def _change(draw: Random, part: Any, field: Any, whole: Any) -> None:
    if field.is_repeated:
        _change_list(draw, getattr(part, field.name), field, whole)
    elif draw.random() < 0.15:
        part.ClearField(field.name)
    elif field.message_type is not None:
        getattr(part, field.name).SetInParent()
    else:
        _set(part, field, _other(draw, getattr(part, field.name), field, whole))


def _change_list(draw: Random, held: Any, field: Any, whole: Any) -> None:
    at = draw.randrange(len(held)) if held else 0
    chance = draw.random()
    if not held or chance < 0.15:
        if field.message_type is not None:
            held.add()
        else:
            _put(held, None, _other(draw, held[at] if held else _empty(field), field, whole))
    elif chance < 0.35:
        del held[at]
    elif field.message_type is not None:
        copied = type(held[at])()
        copied.CopyFrom(held[at])
        if chance < 0.7:
            held.append(copied)
        else:  # its content in another's place
            held[draw.randrange(len(held))].CopyFrom(copied)
    else:
        _put(held, at, _other(draw, held[at], field, whole))


def _put(held: Any, at: int | None, value: Any) -> None:
    try:
        if at is None:
            held.append(value)
        else:
            held[at] = value
    except (ValueError, TypeError):  # out of the field's range
        if held:
            del held[at or 0]


def _set(part: Any, field: Any, value: Any) -> None:
    try:
        setattr(part, field.name, value)
    except (ValueError, TypeError):  # out of the field's range
        part.ClearField(field.name)


def _empty(field: Any) -> Any:
    kinds = {field.TYPE_STRING: "", field.TYPE_BYTES: b"", field.TYPE_FLOAT: 0.0}
    return kinds.get(field.type, 0)


def _other(draw: Random, value: Any, field: Any, whole: Any) -> Any:
    if isinstance(value, bytes):
        return changed_bytes(draw, value)
    if isinstance(value, str):
        if draw.random() < 0.6:  # a name that stands somewhere else in the message
            return draw.choice(_texts(whole) or [""])
        return changed_text(draw, value).encode("utf-8", "replace").decode()
    if field.enum_type is not None and draw.random() < 0.8:
        return draw.choice(field.enum_type.values).number
    return changed_number(draw, value)


def _texts(message: Any) -> list[str]:
    found: list[str] = []
    for field, held in message.ListFields():
        for value in held if field.is_repeated else [held]:
            if field.message_type is not None:
                found += _texts(value)
            elif isinstance(value, str):
                found.append(value)
    return found
