"""A device: one memory-cell technology; and a target: how its cells are used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nvmc.errors import OptionError
from nvmc.hardware.devices.laws import Above, Conductance, Positive
from nvmc.hardware.devices.noise import BitFlip, NoiseSource, Source
from nvmc.hardware.devices.periphery import Periphery
from nvmc.hardware.encoding import Encoding, Layout

__all__ = ["Defaults", "Device", "Target"]

MAX_CELL_BITS = 16

Bits = Annotated[int, Field(ge=1, le=MAX_CELL_BITS, strict=True)]
Size = Annotated[int, Field(ge=1, strict=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Defaults(_Strict):
    """How the device's source uses it; options of `nvmc compile` override."""

    weight_bits: Bits | Literal["none"] = "none"
    cell_bits: Bits | None = None
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
        sigma_range: Range of sigma that the source vouches for. Shown to people, not enforced:
            the law holds outside, the source's word for it does not.
        clip: Whether levels are clipped to 0 ... top after all cell sources; `zero` clips only
            what would conduct less than nothing.
        conductance: What level 0 and the highest level conduct; needed by noise in microsiemens,
            by wires, and for a finite on/off ratio.
        time_s: Seconds since programming of a chip that is given no time of its own.
        time_limit_s: Longest time that the source vouches for; a later one is an error.
        required: Strengths that no source could be cited for, so that whoever simulates must state
            them: `sigma` (`--sigma`) and `bitflip` (`--noise bitflip:p=`).
        defaults: How the device's source uses it.
        noise: Noise sources; code sources act first, then cell, then weight sources, each kind
            in the order written.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    title: str
    source: Annotated[str, Field(min_length=1)]
    levels: Annotated[int, Field(ge=2, le=2**MAX_CELL_BITS, strict=True)] | Literal["continuous"]
    sigma: Positive | None = None
    sigma_range: tuple[Positive, Positive] | None = None
    clip: Annotated[bool, Field(strict=True)] | Literal["zero"] = False
    conductance: Conductance | None = None
    time_s: Above | None = None
    time_limit_s: Above | None = None
    required: tuple[Literal["sigma", "bitflip"], ...] = ()
    defaults: Defaults = Defaults()
    noise: tuple[Source, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Device:
        checks = (
            self._noise_problem,
            self._time_problem,
            self._sigma_problem,
            self._defaults_problem,
        )
        for check in checks:
            if problem := check():
                raise ValueError(problem)
        return self

    def _noise_problem(self) -> str | None:
        for source in self.noise:
            if source.needs_conductance and self.conductance is None:
                return (
                    f"noise source {source.type!r} is in microsiemens, but the device does not "
                    "say what its levels conduct; add conductance with min_us and max_us"
                )
            for profile in source.profiles:
                if self.levels != len(profile):
                    return (
                        f"profile has {len(profile)} factors but the device's levels are "
                        f"{self.levels}; give one factor a level"
                    )
        return None

    def _time_problem(self) -> str | None:
        for key, value in (("time_s", self.time_s), ("time_limit_s", self.time_limit_s)):
            if value is not None and not self.timed:
                return f"{key} is set, but no noise source depends on time; remove {key}"
        if self.time_s and self.time_limit_s and self.time_s > self.time_limit_s:
            return f"time_s is {self.time_s}, above time_limit_s {self.time_limit_s}; mend either"
        needing = next((s.type for s in self.noise if s.needs_time), None)
        if needing is not None and self.time_s is None:
            return f"noise source {needing!r} grows with time; add time_s, its default"
        return None

    def _sigma_problem(self) -> str | None:
        if self.sigma is None:
            if self.needs_sigma and "sigma" not in self.required:
                return "a noise source states no sigma and the device has none; add sigma"
        elif "sigma" in self.required:
            return "sigma is set, but also required from the user; remove either"
        elif not self.needs_sigma:
            return "sigma is set, but every noise source states its own strength; remove sigma"
        if self.sigma_range is not None:
            low, high = self.sigma_range
            if low > high:
                return f"sigma_range is {low} to {high}; expected [lowest, highest]"
            if self.sigma is not None and not low <= self.sigma <= high:
                return f"sigma is {self.sigma}, outside sigma_range {low} to {high}; mend either"
        return None

    def _defaults_problem(self) -> str | None:
        bits, cell = self.defaults.weight_bits, self.defaults.cell_bits
        if cell is not None and cell > self.max_cell_bits:
            return (
                f"defaults.cell_bits is {cell}, but {self.levels} levels hold "
                f"{self.max_cell_bits} whole bits; lower it"
            )
        if cell is not None and bits != "none" and cell > bits:
            return f"defaults.cell_bits is {cell}, above defaults.weight_bits {bits}; lower it"
        return None

    @property
    def needs_sigma(self) -> bool:
        """Whether some source takes its strength from the device."""
        return any(source.with_sigma(1.0) is not source for source in self.noise)

    @property
    def timed(self) -> bool:
        """Whether some source depends on the time since programming."""
        return any(source.timed for source in self.noise)

    def time(self, time_s: float | None = None) -> float | None:
        """Seconds since programming: `time_s`, or the device's default.

        Raises:
            OptionError: `time_s` is negative, not finite, or later than the device's source
                vouches for, or no source depends on time.
        """
        if time_s is None:
            return self.time_s
        if not 0 <= time_s < float("inf"):
            raise OptionError(f"time is {time_s} s; expected a finite number of at least 0")
        if not self.timed:
            raise OptionError(
                f"device {self.name!r} has no noise source that depends on time (got {time_s} s); "
                "leave the time out, or add a source such as --noise retention"
            )
        if self.time_limit_s is not None and time_s > self.time_limit_s:
            raise OptionError(
                f"time is {time_s:g} s; the source of device {self.name!r} vouches for at most "
                f"{self.time_limit_s:g} s: give an earlier time"
            )
        return time_s

    @property
    def analog_top(self) -> float:
        """The level that the largest analog weight is programmed to, in level steps."""
        return 1.0 if self.levels == "continuous" else float(self.levels - 1)

    @property
    def max_cell_bits(self) -> int:
        """Whole bits that a cell can hold."""
        return MAX_CELL_BITS if self.levels == "continuous" else self.levels.bit_length() - 1

    def sources(self, sigma: float | None = None) -> tuple[NoiseSource, ...]:
        """All noise sources, in the order written, at `sigma` or the device's default.

        Raises:
            OptionError: `sigma` is negative or not finite, no source takes it, one needs it and
                there is none, or a required source is missing.
        """
        if sigma is not None:
            if not 0 <= sigma < float("inf"):
                raise OptionError(f"sigma is {sigma}; expected a finite number of at least 0")
            if not self.needs_sigma and (self.noise or sigma > 0):
                raise OptionError(
                    f"device {self.name!r} has no noise source that takes sigma (got {sigma}); "
                    "leave --sigma out, or add a source with --noise"
                )
        strength = self.sigma if sigma is None else sigma
        if strength is None and self.needs_sigma:
            needing = next(s.type for s in self.noise if s.with_sigma(1.0) is not s)
            raise OptionError(
                f"noise source {needing!r} states no strength and device {self.name!r} has no "
                "sigma; give --sigma, or state it with the source, as in --noise TYPE:sigma=0.1"
            )
        if "bitflip" in self.required and not any(isinstance(s, BitFlip) for s in self.noise):
            raise OptionError(
                f"device {self.name!r} states no rate of flipped bits; give it as in "
                "--noise bitflip:p=1e-6 (p=0 for none)"
            )
        return tuple(s if strength is None else s.with_sigma(strength) for s in self.noise)

    def with_noise(self, extra: Iterable[NoiseSource]) -> Device:
        """This device with more noise sources behind its own.

        Raises:
            OptionError: A source's profile does not fit the device's levels, or it needs what the
                device does not state.
        """
        added = tuple(extra)
        if not added:
            return self
        device = self.model_copy(update={"noise": self.noise + added})
        if problem := device._noise_problem() or device._time_problem():
            raise OptionError(f"--noise: {problem}")
        return device


class Target(_Strict):
    """A device and how its cells are used.

    Attributes:
        device: The cells.
        weight_bits: H, or None for analog weights.
        cell_bits: B; not used by analog weights.
        encoding: How the sign is represented.
        per_channel: One scale an output channel instead of one a tensor.
        rows: Word lines of a tile.
        cols: Bit lines of a tile.
        periphery: What surrounds the tiles; ideal by default.
    """

    device: Device
    weight_bits: Bits | None
    cell_bits: Bits
    encoding: Encoding
    per_channel: bool = False
    rows: Size = 128
    cols: Size = 128
    periphery: Periphery = Periphery()

    @model_validator(mode="after")
    def _consistent(self) -> Target:
        limit = self.device.max_cell_bits
        if self.weight_bits is not None:
            limit = min(limit, self.weight_bits)
        if self.cell_bits > limit:
            raise ValueError(f"cell_bits is {self.cell_bits}; expected at most {limit}")
        return self

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
        periphery: Periphery | None = None,
    ) -> Target:
        """A target with the device's defaults where an argument is None.

        Raises:
            OptionError: The bits do not fit the device or each other, or an argument needs
                quantised weights and they are analog.
        """
        chosen = device.defaults.weight_bits if weight_bits is None else weight_bits
        bits = None if chosen == "none" else chosen
        if bits is not None and not 1 <= bits <= 16:
            raise OptionError(f"weight bits are {bits}; expected 1 to 16, or none for analog")
        if bits is None and (cell_bits is not None or per_channel):
            given = "channels have scales of their own" if per_channel else f"B is {cell_bits}"
            raise OptionError(
                f"{given}, but the weights are analog; give --weight-bits 1 to 16 as well"
            )
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
            periphery=periphery or Periphery(),
        )
        target.check_sources(device.noise)
        return target

    @property
    def layout(self) -> Layout:
        """How cells represent codes."""
        return Layout(self.weight_bits, self.cell_bits, self.encoding, self.device.analog_top)

    @property
    def highest_level(self) -> float:
        """Level of a cell at its highest conductance, in level steps.

        The device's highest level even where cells hold fewer bits and so never aim for it.
        """
        levels = self.device.levels
        return self.layout.highest_target if levels == "continuous" else float(levels - 1)

    @property
    def step_us(self) -> float | None:
        """Microsiemens in one level step; None where the device states no conductance."""
        range_us = self.device.conductance
        return (
            None if range_us is None else (range_us.max_us - range_us.min_us) / self.highest_level
        )

    @property
    def off_level(self) -> float:
        """What a cell at level 0 conducts, in level steps; 0 where the device does not say.

        Wires carry it for every cell; the nominal sum of a column is subtracted (docs/physics.md).
        """
        range_us, step = self.device.conductance, self.step_us
        return 0.0 if range_us is None or step is None else range_us.min_us / step

    def on(self, device: Device | None, noise: Iterable[NoiseSource] = ()) -> Target:
        """The same codes on another device (None: this one), or with more noise sources.

        Raises:
            OptionError: The cells hold more bits than the other device's, or a source cannot act
                on them.
        """
        chosen = (device or self.device).with_noise(noise)
        if chosen == self.device:
            return self
        return Target.of(
            chosen,
            weight_bits=self.weight_bits or "none",
            cell_bits=self.cell_bits if self.weight_bits else None,
            encoding=self.encoding,
            per_channel=self.per_channel,
            rows=self.rows,
            cols=self.cols,
            periphery=self.periphery,
        )

    def check_sources(self, sources: Iterable[NoiseSource]) -> None:
        """Raise OptionError where a noise source cannot act on this target."""
        for source in sources:
            if source.quantized_only and self.weight_bits is None:
                raise OptionError(
                    f"noise source {source.type!r} acts on stored bits, but the weights are "
                    "analog; compile with --weight-bits 1 to 16"
                )
            if isinstance(source, BitFlip) and source.bits == "sign" and not self.layout.signed:
                raise OptionError(
                    f"noise source 'bitflip' acts on sign bits, which encoding {self.encoding!r} "
                    "does not store; use sign-magnitude, or bits=cells"
                )
