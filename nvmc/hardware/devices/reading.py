"""Reading devices and noise sources from what people write: TOML files and options."""

from __future__ import annotations

import inspect
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nvmc.arguments import checked
from nvmc.errors import DeviceError, OptionError, unknown
from nvmc.hardware.devices.device import Device
from nvmc.hardware.devices.importing import LAW, imported
from nvmc.hardware.devices.noise import SOURCES, NoiseSource, Own, Source
from nvmc.hardware.options import pairs, problem, value_of

__all__ = ["as_noise", "device_names", "load_device", "parse_device", "parse_noise"]

_SOURCE: TypeAdapter[NoiseSource] = TypeAdapter(Source)


def device_names() -> list[str]:
    """The names of the devices that come with nvmc, sorted."""
    folder = resources.files("nvmc.hardware.devices") / "library"
    return sorted(f.name[: -len(".toml")] for f in folder.iterdir() if f.name.endswith(".toml"))


@checked
def load_device(name: str | Path | Device) -> Device:
    """A device by library name, or from a user's own TOML file; a device is what it is.

    Args:
        name: A name of `device_names()`, a path to a file ending in .toml, or `module:attribute`
            of Python of one's own: a device, a function that gives one, or a law (`sources.own`).

    Raises:
        DeviceError: No such device or file, or the file is not valid.
        OptionError: No such module or law.
    """
    if isinstance(name, Device):
        return name
    text = str(name)
    if re.match(LAW, text):
        return _own_device(text)
    if text.endswith(".toml") or "/" in text:
        path = Path(name)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DeviceError(
                f"cannot read device file {text!r}: {error.strerror or error}; give the path of a "
                "TOML file, or one of the names in `nvmc devices`"
            ) from error
        return parse_device(content, text)
    if text not in device_names():
        raise DeviceError(unknown("device", text, [*device_names(), "FILE.toml"]))
    library = resources.files("nvmc.hardware.devices") / "library" / f"{text}.toml"
    return parse_device(library.read_bytes(), text)


def _own_device(law: str) -> Device:
    """The device that `module:attribute` is, or gives; analog cells with it where it is a law."""
    found, _ = imported(law)
    if inspect.isfunction(found) and not inspect.signature(found).parameters:
        try:
            found = found()
        except Exception as error:
            raise DeviceError(f"{law!r} failed: {type(error).__name__}: {error}") from error
        if not isinstance(found, Device):
            raise DeviceError(f"{law!r} gives {type(found).__name__}; expected a Device")
    if isinstance(found, Device):
        return found
    own = Own.of(law, {})
    name = law.partition(":")[2].strip("_") or "own"
    needs = ("sigma",) if own.with_sigma(1.0) is not own else ()
    return Device(
        name=name,
        title=f"analog cells with a law of one's own, {law}",
        source=f"{law}, SHA-256 {own.sha256}",
        levels="continuous",
        required=needs,
        noise=(own,),
    )


def parse_device(content: bytes, where: str) -> Device:
    """A device from the content of a TOML file; `where` is its name, for messages.

    Raises:
        DeviceError: It is not valid.
    """
    try:
        return Device.model_validate(tomllib.loads(content.decode()))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise DeviceError(f"device file {where!r} is not TOML: {error}") from error
    except ValidationError as error:
        raise DeviceError(f"device file {where!r}: {problem(error, Device)}") from error


def as_noise(source: NoiseSource | str) -> NoiseSource:
    """A noise source as it is, or from a text as `parse_noise` takes it."""
    return parse_noise(source) if isinstance(source, str) else source


@checked
def parse_noise(text: str) -> NoiseSource:
    """A noise source from `type:key=value,key=value`, as typed after `--noise`.

    `module:attribute,key=value` is a law of one's own (`sources.own`).

    Numbers in a list are separated by semicolons: `programming:sigma=0.1,profile=1;4;4;1`. A
    source whose `basis` has no default acts in level steps where none is given.

    Raises:
        OptionError: Unknown type or key, or a value out of range.
    """
    where = f"--noise {text!r}"
    kind, _, rest = text.partition(":")
    law, _, options = text.partition(",")
    if kind.strip() not in SOURCES and re.match(LAW, law.strip()):
        given = pairs(where, options.split(","), "scale=0.1")
        return Own.of(law.strip(), {key: value_of(value) for key, value in given.items()})
    if kind.strip() == "own":
        raise OptionError(f"{where}: write a law of your own as MODULE:NAME,key=value")
    given = pairs(where, rest.split(","), "sigma=0.1")
    fields: dict[str, Any] = {key: value_of(value) for key, value in given.items()}
    if "type" in fields:
        raise OptionError(f"{where}: 'type' is given twice; give it once")
    fields["type"] = kind.strip()
    basis = SOURCES[fields["type"]].model_fields.get("basis") if fields["type"] in SOURCES else None
    if basis is not None and basis.is_required():
        fields.setdefault("basis", "level")
    try:
        return _SOURCE.validate_python(fields)
    except ValidationError as error:
        raise OptionError(f"{where}: {problem(error, Source)}") from error
