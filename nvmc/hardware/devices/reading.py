"""Reading devices and noise sources from what people write: TOML files and options."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from nvmc.errors import DeviceError, OptionError
from nvmc.hardware.devices.device import Device
from nvmc.hardware.devices.noise import SOURCES, NoiseSource, Source

__all__ = ["as_noise", "device_names", "load_device", "parse_noise"]


def device_names() -> list[str]:
    """The names of the devices that come with nvmc, sorted."""
    folder = resources.files("nvmc.hardware.devices") / "library"
    return sorted(f.name[: -len(".toml")] for f in folder.iterdir() if f.name.endswith(".toml"))


def load_device(name: str | Path | Device) -> Device:
    """A device by library name, or from a user's own TOML file; a device is what it is.

    Args:
        name: A name of `device_names()`, or a path to a file ending in .toml.

    Raises:
        DeviceError: No such device or file, or the file is not valid.
    """
    if isinstance(name, Device):
        return name
    text = str(name)
    if text.endswith(".toml") or "/" in text:
        path = Path(name)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DeviceError(
                f"cannot read device file {text!r}: {error.strerror or error}; give the path of a "
                "TOML file, or one of the names in `nvmc devices`"
            ) from error
        return _parse_device(content, text)
    if text not in device_names():
        raise DeviceError(
            f"device {text!r} is unknown; expected one of {', '.join(device_names())}, or the path "
            "of a .toml file"
        )
    library = resources.files("nvmc.hardware.devices") / "library" / f"{text}.toml"
    return _parse_device(library.read_bytes(), text)


def _parse_device(content: bytes, where: str) -> Device:
    try:
        return Device.model_validate(tomllib.loads(content.decode()))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise DeviceError(f"device file {where!r} is not TOML: {error}") from error
    except ValidationError as error:
        raise DeviceError(f"device file {where!r}: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    """The first problem pydantic found, on one line, with the key that it is about."""
    first: Any = error.errors()[0]
    place = _place(first["loc"])
    match first["type"]:
        case "extra_forbidden":
            problem = "unknown key"
        case "missing":
            problem = "is missing"
        case "union_tag_not_found":
            problem = f"has no type; expected one of {', '.join(SOURCES)}"
        case "union_tag_invalid":
            kind = first["ctx"]["tag"]
            problem = f"type {kind!r} is unknown; expected one of {', '.join(SOURCES)}"
        case _:
            problem = str(first["msg"]).removeprefix("Value error, ")
            if isinstance(first["input"], str | int | float):
                problem += f" (got {first['input']!r})"
    return " ".join((f"{place}: {problem}" if place else problem).split())


_UNIONS = ("clip", "levels", "nu_mean", "nu_std", "weight_bits")  # keys of more than one form


def _place(location: tuple[int | str, ...]) -> str:
    """The dotted key a location stands for, without pydantic's names of union members."""
    parts: list[str] = []
    for before, part in zip((None, *location), location, strict=False):
        in_source = (before == "noise" or isinstance(before, int)) and part in SOURCES
        if before not in _UNIONS and not in_source:
            parts.append(str(part))
    return ".".join(parts)


def as_noise(source: NoiseSource | str) -> NoiseSource:
    """A noise source as it is, or from a text as `parse_noise` takes it."""
    return parse_noise(source) if isinstance(source, str) else source


def parse_noise(text: str) -> NoiseSource:
    """A noise source from `type:key=value,key=value`, as typed after `--noise`.

    Numbers in a list are separated by semicolons: `programming:sigma=0.1,profile=1;4;4;1`. A
    `programming`, `global` or `read` source acts in level steps where no basis is given.

    Raises:
        OptionError: Unknown type or key, or a value out of range.
    """
    kind, _, rest = text.partition(":")
    fields: dict[str, Any] = {"type": kind.strip()}
    for part in filter(None, rest.split(",")):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise OptionError(f"--noise {text!r}: {part!r} is not key=value")
        if key in fields:
            raise OptionError(f"--noise {text!r}: {key} is given twice")
        fields[key] = tuple(map(_number, value.split(";"))) if ";" in value else _number(value)
    if fields["type"] in ("programming", "global", "read"):
        fields.setdefault("basis", "level")
    try:
        return _NoiseHolder(noise=fields).noise  # pyright: ignore[reportArgumentType]
    except ValidationError as error:
        problem = _first_problem(error).removeprefix("noise.").removeprefix("noise: ")
        raise OptionError(f"--noise {text!r}: {problem}") from error


def _number(text: str) -> float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


class _NoiseHolder(BaseModel):
    noise: Source
