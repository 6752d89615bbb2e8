"""A device: one memory-cell technology."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from nvmc.errors import OptionError
from nvmc.hardware.devices.currents import CurrentLaw
from nvmc.hardware.devices.laws import Conductance, Strict
from nvmc.hardware.devices.noise import BitFlip, NoiseSource, Source
from nvmc.hardware.devices.numbers import Above, Positive
from nvmc.hardware.devices.sources.thermal import TEMPERATURES_C
from nvmc.hardware.encoding import Encoding
from nvmc.hardware.options import OneLine

__all__ = ["Bits", "Defaults", "Device"]

MAX_CELL_BITS = 16

Bits = Annotated[int, Field(ge=1, le=MAX_CELL_BITS, strict=True)]


class Defaults(Strict, frozen=True):
    """How the device's source uses it; options of `nvmc compile` override.

    Attributes:
        weight_bits: H, `none` for analog weights; left out, that is what continuous levels are
            used for, and of a number of levels the user must choose.
        cell_bits: B; None for as many as the levels hold, at most H.
        encoding: How the sign is represented.
    """

    weight_bits: Bits | Literal["none"] | None = None
    cell_bits: Bits | None = None
    encoding: Encoding = "sign-magnitude"


class Device(OneLine, Strict, frozen=True):
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
        conductance: What level 0 and the highest level conduct, or every level where they are not
            evenly spaced; needed by noise in microsiemens, by wires, and for a finite on/off ratio.
        iv: The current of a cell at a voltage, where it is more than conductance times voltage;
            it counts where a target states a read voltage.
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
    iv: CurrentLaw | None = None
    time_s: Above | None = None
    time_limit_s: Above | None = None
    required: tuple[Literal["sigma", "bitflip"], ...] = ()
    defaults: Defaults = Defaults()
    noise: tuple[Source, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Device:
        checks = (
            self._levels_problem,
            self._noise_problem,
            self._time_problem,
            self._sigma_problem,
            self._defaults_problem,
        )
        for check in checks:
            if problem := check():
                raise ValueError(problem)
        if self.levels == "continuous" and self.defaults.weight_bits is None:
            analog = self.defaults.model_copy(update={"weight_bits": "none"})
            object.__setattr__(self, "defaults", analog)  # the model is frozen
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler):
        """Without `iv` where there is none; see `Periphery`."""
        found: dict[str, Any] = handler(self)
        return {name: v for name, v in found.items() if v is not None or name != "iv"}

    def headline(self) -> str:
        """Name, levels, strength and kinds of noise."""
        levels = "continuous levels" if self.levels == "continuous" else f"{self.levels} levels"
        sigma = [] if self.sigma is None else [f"sigma {self.sigma:g}"]
        kinds = " and ".join(dict.fromkeys(source.type for source in self.noise)) or "none"
        return f"{self.name}: {', '.join([levels, *sigma, f'noise {kinds}'])}"

    def _levels_problem(self) -> str | None:
        listed = None if self.conductance is None else self.conductance.levels_us
        if listed is not None and self.levels != len(listed):
            return (
                f"conductance.levels_us has {len(listed)} conductances but the device's levels are "
                f"{self.levels}; give one per level"
            )
        return None

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
                        f"{self.levels}; give one factor per level"
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
        if cell is not None and isinstance(bits, int) and cell > bits:
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
            self._check_age(self.time_s)
            return self.time_s
        if not 0 <= time_s < float("inf"):
            raise OptionError(f"time is {time_s} s; expected a finite number of at least 0")
        if not self.timed:
            raise OptionError(
                f"device {self.name!r} has no noise source that depends on time (got {time_s} s); "
                "leave the time out, or add a source such as --noise retention"
            )
        self._check_age(time_s)
        return time_s

    def _check_age(self, time_s: float | None) -> None:
        """Complain of a time that the device's source does not vouch for, hot cells' time included.

        Raises:
            OptionError: It is later.
        """
        if time_s is None or self.time_limit_s is None:
            return
        counted = max((source.aged(time_s) for source in self.noise if source.timed), default=0.0)
        if max(time_s, counted) > self.time_limit_s:
            hot = f" and counts as {counted:g} s at its temperature" if counted > time_s else ""
            raise OptionError(
                f"time is {time_s:g} s{hot}; the source of device {self.name!r} vouches for at "
                f"most {self.time_limit_s:g} s: give an earlier time"
            )

    @property
    def thermal(self) -> bool:
        """Whether some source depends on the temperature."""
        return any(source.thermal for source in self.noise)

    def at_temperature(self, celsius: float) -> Device:
        """This device with all that depends on the temperature at `celsius`, degrees Celsius.

        Raises:
            OptionError: Nothing depends on it, or it is out of range.
        """
        if not TEMPERATURES_C[0] <= celsius <= TEMPERATURES_C[1]:
            low, high = TEMPERATURES_C
            raise OptionError(f"temperature is {celsius} C; expected {low:g} to {high:g} C")
        if not self.thermal:
            raise OptionError(
                f"device {self.name!r} has no noise source that depends on temperature (got "
                f"{celsius:g} C); give its retention or table activation_ev and reference_c, add "
                "--noise temperature-coefficient, or leave --temperature out"
            )
        hot = tuple(source.with_temperature(celsius) for source in self.noise)
        return self.model_copy(update={"noise": hot})

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
        if device.sigma is None and device.needs_sigma and "sigma" not in device.required:
            device = device.model_copy(update={"required": (*device.required, "sigma")})
        if problem := device._noise_problem() or device._time_problem():
            raise OptionError(f"--noise: {problem}")
        return device
