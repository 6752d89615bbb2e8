"""A device: one memory-cell technology, read from a TOML file; and a target: how it is used."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nvmc.devices.noise import NoiseSource, Programming, Source
from nvmc.encoding import Encoding, Layout
from nvmc.errors import DeviceError, OptionError

__all__ = ["Defaults", "Device", "Target", "device_names", "load_device", "parse_noise"]

MAX_CELL_BITS = 16


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Defaults(_Strict):
    """How the device's source uses it; options of `nvmc compile` override."""

    weight_bits: Annotated[int, Field(ge=1, le=16)] | Literal["none"] = "none"
    cell_bits: Annotated[int, Field(ge=1, le=MAX_CELL_BITS)] | None = None
    encoding: Encoding = "sign-magnitude"


class Device(_Strict):
    """One memory-cell technology.

    Attributes:
        name: Short name, as typed after `--device`.
        title: One line for people.
        source: Paper and equation, table or figure the numbers come from.
        levels: States a cell can be programmed to, or `continuous`.
        sigma: Default strength of every noise source that states none of its own, in that
            source's basis; `--sigma` overrides it.
        sigma_range: Range of sigma that the source vouches for.
        clip: Whether levels are clipped to 0 ... top after programming (physical conductances).
        defaults: How the device's source uses it.
        noise: Noise sources; code sources act first, then cell, then weight sources, each kind
            in the order written.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    title: str
    source: Annotated[str, Field(min_length=1)]
    levels: Annotated[int, Field(ge=2, le=2**MAX_CELL_BITS)] | Literal["continuous"]
    sigma: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    sigma_range: tuple[float, float] | None = None
    clip: bool = False
    defaults: Defaults = Defaults()
    noise: tuple[Source, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Device:
        for source in self.noise:
            if isinstance(source, Programming) and source.profile is not None:
                if self.levels != len(source.profile):
                    raise ValueError(
                        f"profile has {len(source.profile)} factors but the device has "
                        f"{self.levels} levels; give one factor a level"
                    )
        if self.sigma is None and self.needs_sigma:
            raise ValueError("a noise source states no sigma and the device has none; add sigma")
        if self.sigma_range is not None and self.sigma_range[0] > self.sigma_range[1]:
            raise ValueError("sigma_range must be [lowest, highest]")
        return self

    @property
    def needs_sigma(self) -> bool:
        """Whether some source takes its strength from the device."""
        return any(source.with_sigma(1.0) is not source for source in self.noise)

    @property
    def analog_top(self) -> float:
        """The level that the largest analog weight is programmed to, in level steps."""
        return 1.0 if self.levels == "continuous" else float(self.levels - 1)

    @property
    def max_cell_bits(self) -> int:
        """Whole bits that a cell can hold."""
        return MAX_CELL_BITS if self.levels == "continuous" else self.levels.bit_length() - 1

    def sources(self, sigma: float | None = None) -> tuple[NoiseSource, ...]:
        """The noise sources that change something, at `sigma` or the device's default.

        Raises:
            OptionError: `sigma` is negative or not finite, or no source takes it.
        """
        if sigma is not None:
            if not 0 <= sigma < float("inf"):
                raise OptionError(f"sigma is {sigma}; expected a finite number of at least 0")
            if sigma > 0 and not self.needs_sigma:
                raise OptionError(
                    f"device {self.name!r} has no noise source that takes sigma (got {sigma}); "
                    "leave --sigma out, or add a source with --noise"
                )
        strength = self.sigma if sigma is None else sigma
        settled = [s if strength is None else s.with_sigma(strength) for s in self.noise]
        return tuple(s for s in settled if not s.silent)

    def with_noise(self, extra: Iterable[NoiseSource]) -> Device:
        """This device with more noise sources behind its own."""
        added = tuple(extra)
        return self.model_copy(update={"noise": self.noise + added}) if added else self


class Target(_Strict):
    """A device and how its cells are used.

    Attributes:
        device: The cells.
        weight_bits: H, or None for analog weights.
        cell_bits: B.
        encoding: How the sign is represented.
        per_channel: One scale an output channel instead of one a tensor.
        rows: Word lines of a tile.
        cols: Bit lines of a tile.
    """

    device: Device
    weight_bits: Annotated[int, Field(ge=1, le=16)] | None
    cell_bits: Annotated[int, Field(ge=1, le=MAX_CELL_BITS)]
    encoding: Encoding
    per_channel: bool = False
    rows: Annotated[int, Field(ge=1)] = 128
    cols: Annotated[int, Field(ge=1)] = 128

    @classmethod
    def of(
        cls,
        device: Device,
        *,
        weight_bits: int | Literal["none"] | None = None,
        cell_bits: int | None = None,
        encoding: Encoding | None = None,
        per_channel: bool = False,
        rows: int = 128,
        cols: int = 128,
    ) -> Target:
        """A target with the device's defaults where an argument is None.

        Raises:
            OptionError: The bits do not fit the device or each other.
        """
        chosen = device.defaults.weight_bits if weight_bits is None else weight_bits
        bits = None if chosen == "none" else chosen
        if bits is not None and not 1 <= bits <= 16:
            raise OptionError(f"weight bits are {bits}; expected 1 to 16, or none for analog")
        cell = cell_bits
        if cell is None:
            cell = device.defaults.cell_bits or device.max_cell_bits
            cell = min(cell, bits if bits is not None else cell)
        if bits is not None and not 1 <= cell <= bits:
            raise OptionError(f"cell bits are {cell}; expected 1 to the weight bits ({bits})")
        if not 1 <= cell <= device.max_cell_bits:
            raise OptionError(
                f"cell bits are {cell}, but a cell of {device.name!r} has {device.levels} levels; "
                f"expected 1 to {device.max_cell_bits}"
            )
        if rows < 1 or cols < 1:
            raise OptionError(f"tile is {rows}x{cols}; expected at least 1x1")
        target = cls(
            device=device,
            weight_bits=bits,
            cell_bits=cell,
            encoding=encoding or device.defaults.encoding,
            per_channel=per_channel,
            rows=rows,
            cols=cols,
        )
        target.check_sources(device.noise)
        return target

    @property
    def layout(self) -> Layout:
        """How cells represent codes."""
        return Layout(self.weight_bits, self.cell_bits, self.encoding, self.device.analog_top)

    def check_sources(self, sources: Iterable[NoiseSource]) -> None:
        """Raise OptionError where a noise source cannot act on this target."""
        for source in sources:
            if source.quantized_only and self.weight_bits is None:
                raise OptionError(
                    f"noise source {source.type!r} acts on stored bits, but the weights are "
                    "analog; compile with --weight-bits 1 to 16"
                )


def device_names() -> list[str]:
    """The names of the devices that come with nvmc, sorted."""
    folder = resources.files("nvmc.devices") / "library"
    return sorted(f.name[: -len(".toml")] for f in folder.iterdir() if f.name.endswith(".toml"))


def load_device(name: str | Path) -> Device:
    """A device by library name, or from a user's own TOML file.

    Args:
        name: A name of `device_names()`, or a path to a file ending in .toml.

    Raises:
        DeviceError: No such device or file, or the file is not valid.
    """
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
    library = resources.files("nvmc.devices") / "library" / f"{text}.toml"
    return _parse_device(library.read_bytes(), text)


def _parse_device(content: bytes, where: str) -> Device:
    try:
        return Device.model_validate(tomllib.loads(content.decode()))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DeviceError(f"device file {where!r} is not TOML: {error}") from error
    except ValidationError as error:
        raise DeviceError(f"device file {where!r}: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    """The first problem pydantic found, on one line, with where it is."""
    first: Any = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "function-after")
    problem = "unknown key" if first["type"] == "extra_forbidden" else str(first["msg"])
    problem = problem.removeprefix("Value error, ")
    return f"{place}: {problem}" if place else problem


def parse_noise(text: str) -> NoiseSource:
    """A noise source from `type:key=value,key=value`, as typed after `--noise`.

    Raises:
        OptionError: Unknown type or key, or a value out of range.
    """
    kind, _, rest = text.partition(":")
    fields: dict[str, Any] = {"type": kind}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise OptionError(f"--noise {text!r}: {part!r} is not key=value")
        fields[key.strip()] = value.strip()
    if kind == "programming":
        fields.setdefault("basis", "level")
    try:
        return _NoiseHolder(noise=fields).noise  # pyright: ignore[reportArgumentType]
    except ValidationError as error:
        problem = _first_problem(error).removeprefix("noise.").removeprefix("noise: ")
        raise OptionError(f"--noise {text!r}: {problem}") from error


class _NoiseHolder(_Strict):
    noise: Source
