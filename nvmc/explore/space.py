"""A space of designs: what may differ between them, as people write it in TOML.

Every combination of the choices is a design. What a design may state is what a target file may
(`nvmc.hardware.devices.Settings`), and the rows of `_OTHERS`.
"""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from nvmc.compiled.options import CompileOptions
from nvmc.errors import ArtifactError, DeviceError, OptionError, unknown
from nvmc.explore.choices import Choice, parse_choice, text_of
from nvmc.hardware.devices import Device, Settings, Target, TargetFile, load_device
from nvmc.hardware.devices.sources.programming import Programming
from nvmc.hardware.options import problem

__all__ = ["CHOICES", "Design", "Space", "read_space"]

_OTHERS = {
    "device": "the cells: a name of `nvmc devices`, or a TOML file beside the space's",
    "tile": "ROWSxCOLS",
    "tolerance": "write-verify: the error that a programmed cell may have, or none",
    "max_pulses": "write-verify: the most pulses",
    "digital": "globs of layers that stay digital, or none",
    "clip": "how far weights reach, as `nvmc compile --clip`, or none",
    "activation_bits": "bits of what enters mapped layers, or none",
    "trained": "the same network with other weights: an ONNX file beside the space's, or none",
}
CHOICES: tuple[str, ...] = (
    *_OTHERS,
    *(name for name in Settings.model_fields if name not in ("rows", "cols", "adc")),
)
"""What designs may differ in."""

MAX_COMBINATIONS = 1_000_000_000
PULSES = 20
"""Of write-verify, where a space gives a tolerance and no number."""


@dataclass(frozen=True)
class Design:
    """One combination of a space's choices.

    Attributes:
        number: Its place among all combinations, from 1; the last choice of the file changes first.
        choices: What it states, by name of `CHOICES`.
    """

    number: int
    choices: Mapping[str, Choice]

    @property
    def name(self) -> str:
        """Its choices in a line, for people."""
        return ", ".join(f"{key} {text_of(value)}" for key, value in self.choices.items())

    def target(self) -> Target:
        """The cells, and how they are used.

        Raises:
            DeviceError, OptionError: Choices that do not fit one another.
        """
        given = dict(self.choices)
        stated: dict[str, Any] = {k: given[k] for k in given if k in Settings.model_fields}
        tile = given.get("tile")
        if tile is not None:
            rows, _, cols = str(tile).partition("x")
            stated |= {"rows": int(rows), "cols": int(cols)}
        device = load_device(str(given.get("device", "fefet2")))
        device = _verified(device, given.get("tolerance"), given.get("max_pulses"))
        try:
            return TargetFile(device=device.name, **stated).target(None, device)
        except ValidationError as error:
            raise OptionError(problem(error, Settings)) from error

    def options(self) -> CompileOptions:
        """How it is compiled.

        Raises:
            OptionError: By what is wrong.
        """
        given, own = self.choices, dict[str, Any]()
        for name in ("clip", "activation_bits"):
            value = given.get(name, "none")
            own[name] = None if value == "none" else value
        if own["clip"] is not None:
            own["clip"] = str(own["clip"])
        skip = given.get("digital", "none")
        own["skip"] = () if skip == "none" else (skip,) if isinstance(skip, str) else skip
        return CompileOptions(**own)

    def source(self, model: Path) -> Path:
        """The network's file: `model`, or that with other weights."""
        trained = self.choices.get("trained", "none")
        return model if trained == "none" else Path(str(trained))


@dataclass(frozen=True)
class Space:
    """What designs may differ in.

    Attributes:
        choices: The values of each choice, one where all designs have the same.
        title: One line for people.
    """

    choices: Mapping[str, tuple[Choice, ...]]
    title: str = ""

    def __post_init__(self) -> None:
        for name, values in self.choices.items():
            if name not in CHOICES:
                raise OptionError(unknown("choice", name, CHOICES))
            if not values:
                raise OptionError(f"choice {name!r} has no values; expected at least one")
            if len(set(values)) < len(values):
                raise OptionError(f"choice {name!r} has a value twice; give it once")
        if self.count > MAX_COMBINATIONS:
            raise OptionError(
                f"the space has {self.count:,} combinations; expected at most "
                f"{MAX_COMBINATIONS:,}: give fewer values"
            )

    @property
    def count(self) -> int:
        """How many combinations there are, those that cannot be among them."""
        return math.prod(len(values) for values in self.choices.values())

    @property
    def varied(self) -> tuple[str, ...]:
        """The choices with several values."""
        return tuple(name for name, values in self.choices.items() if len(values) > 1)

    def designs(self) -> Iterator[Design]:
        """Every combination."""
        values = self.choices.values()
        for number, each in enumerate(itertools.product(*values), start=1):
            yield Design(number, dict(zip(self.choices, each, strict=True)))

    def design(self, places: Mapping[str, int]) -> Design:
        """The combination of the values at some places of their choices."""
        number, chosen = 0, dict[str, Choice]()
        for name, values in self.choices.items():
            place = places.get(name, 0)
            number = number * len(values) + place
            chosen[name] = values[place]
        return Design(number + 1, chosen)


def read_space(path: str | Path) -> Space:
    """A space from a TOML file: `title`, and a table `[choices]` of values or lists of them.

    Raises:
        ArtifactError: There is no such file.
        OptionError: It is no space.
    """
    file = Path(path)
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(f"cannot read {str(file)!r}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{str(file)!r} is not valid TOML: {error}") from error
    try:
        return _space(content, file.parent)
    except (DeviceError, OptionError) as error:
        raise OptionError(f"space {str(file)!r}: {error}") from error


def _space(content: Mapping[str, Any], folder: Path) -> Space:
    for key in content:
        if key not in ("title", "choices"):
            raise OptionError(unknown("key", key, ("title", "choices")))
    stated: Any = content.get("choices", {})
    if not isinstance(stated, dict) or not stated:
        raise OptionError("there is no table [choices]; give what designs may differ in")
    title = content.get("title", "")
    if not isinstance(title, str):
        raise OptionError(f"title is {title!r}; expected a text")
    found: dict[str, tuple[Choice, ...]] = {}
    for name, given in cast(dict[str, Any], stated).items():
        if name not in CHOICES:
            raise OptionError(unknown("choice", name, CHOICES))
        values = cast(list[Any], given) if isinstance(given, list) else [given]
        found[name] = tuple(parse_choice(name, value, folder) for value in values)
    _check_there(found)
    return Space(found, title)


def _check_there(choices: Mapping[str, tuple[Choice, ...]]) -> None:
    """Complain of devices and networks that do not exist: a design that cannot be is another thing.

    Raises:
        DeviceError: There is no such device.
        OptionError: There is no such network.
    """
    for name in choices.get("device", ()):
        load_device(str(name))
    for name in choices.get("trained", ()):
        if name != "none" and not Path(str(name)).is_file():
            raise OptionError(f"trained is {str(name)!r}, and there is no such file")


def _verified(device: Device, tolerance: Choice | None, pulses: Choice | None) -> Device:
    """The device whose cells are programmed with another tolerance; None leaves its own.

    Raises:
        OptionError: None of its noise sources is one of programming that takes a tolerance.
    """
    if tolerance is None:
        if pulses is not None:
            raise OptionError("max_pulses is given without tolerance; give both, or neither")
        return device
    own: dict[str, Any] = {"tolerance": None, "max_pulses": None}
    if tolerance != "none":
        own = {"tolerance": tolerance, "max_pulses": PULSES if pulses is None else pulses}
    changed = [source for source in device.noise if isinstance(source, Programming)]
    if not changed and tolerance != "none":
        raise OptionError(
            f"tolerance is {tolerance}, but device {device.name!r} has no programming noise that "
            "write-verify could narrow; leave it out"
        )
    try:
        noise = tuple(
            Programming.model_validate({**source.model_dump(), **own})
            if isinstance(source, Programming)
            else source
            for source in device.noise
        )
    except ValidationError as error:
        raise OptionError(f"tolerance: {problem(error, Programming)}") from error
    return device.model_copy(update={"noise": noise})
